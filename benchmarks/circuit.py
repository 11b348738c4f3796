"""What the exact solution of an array with resistive wires costs, amortised over a batch of arrays.

    python benchmarks/circuit.py --json circuit.json

The floor is that of its matrix products, 7/3 n^4 operations for n x n cells, at the rate of one product of that size.
Beside it the adjoint (a solution and its gradient), the memory that it takes, and cells that are not ohmic, for each of
16 input vectors of an array.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import torch

from memristor_plugins.crossbar import effective_conductance, solve_nonlinear

WIRES = {"r_word": 1.0, "r_bit": 1.0, "r_source": 100.0, "r_sink": 100.0}
SIZES = {64: 32, 128: 16, 256: 4}


VECTORS, V0, V_READ = 16, 0.25, 0.1
MEMORY = """
import resource, sys, torch
from memristor_plugins.crossbar import effective_conductance
def gradient(size):
    g = (torch.rand(size, size, dtype=torch.float64) * 20e-6).requires_grad_()
    effective_conductance(g, r_word=1.0, r_bit=1.0, r_source=100.0, r_sink=100.0).sum().backward()
gradient(32)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
gradient(int(sys.argv[1]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def seconds(function: object, repeats: int) -> float:
    """Fastest of several times."""
    assert callable(function)
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - start)
    return best


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    record: dict[str, object] = {"threads": torch.get_num_threads(), "cores": os.cpu_count(), "wires": WIRES}
    print(f"{'cells':>9s} {'dtype':>8s} {'ms an array':>12s} {'floor, ms':>10s}")
    for size, batch in SIZES.items():
        for dtype in (torch.float64, torch.float32):
            g = torch.rand(batch, size, size, dtype=dtype, device=arguments.device) * 20e-6
            spent = seconds(lambda g=g: effective_conductance(g, **WIRES), arguments.repeats) / batch  # type: ignore[misc]
            product = seconds(lambda g=g: g @ g, 20) / batch  # type: ignore[misc]
            floor = 7 / 3 * size**4 / (2 * size**3 / product)
            name = str(dtype).removeprefix("torch.")
            print(f"{size:4d}x{size:<4d} {name:>8s} {spent * 1e3:12.2f} {floor * 1e3:10.2f}")
            record[f"{size}x{size} {name}"] = {"ms_per_array": spent * 1e3, "floor_ms": floor * 1e3, "batch": batch}
    for size in (128, 256):
        g = (torch.rand(4, size, size, dtype=torch.float64, device=arguments.device) * 20e-6).requires_grad_()

        def gradient(g: torch.Tensor = g) -> None:
            effective_conductance(g, **WIRES).sum().backward()

        spent = seconds(gradient, arguments.repeats) / len(g) * 1e3
        entry: dict[str, float] = {"ms_per_array": spent}
        if sys.platform == "linux":
            done = subprocess.run([sys.executable, "-c", MEMORY, str(size)], capture_output=True, text=True, check=True)
            entry["resident_mib_of_one_array"] = int(done.stdout) / 1024
        print(f"{size:4d}x{size:<4d} gradient {spent:12.2f}", entry)
        record[f"{size}x{size} gradient float64"] = entry
    g = torch.rand(2, 128, 128, dtype=torch.float64, device=arguments.device) * 20e-6
    v = torch.rand(2, VECTORS, 128, dtype=torch.float64, device=arguments.device) * V_READ

    def law(g: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        return g * (V_READ / math.sinh(V_READ / V0)) * torch.sinh(u / V0)

    spent = seconds(lambda: solve_nonlinear(g, v, law, **WIRES), arguments.repeats) / (2 * VECTORS) * 1e3
    print(f" 128x128  sinh cells {spent:10.2f} ms an input vector")
    record["128x128 sinh float64"] = {"ms_per_vector": spent, "vectors": VECTORS, "v_read_over_v0": V_READ / V0}
    if arguments.json:
        arguments.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
