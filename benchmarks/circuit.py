"""What the exact solution of an array with resistive wires costs, amortised over a batch of arrays.

    python benchmarks/circuit.py --json circuit.json

The floor is that of its matrix products, 4.3 n^4 operations for n x n cells, at the rate of one product of that size.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import torch

from memristor_plugins.crossbar import effective_conductance

WIRES = {"r_word": 1.0, "r_bit": 1.0, "r_source": 100.0, "r_sink": 100.0}
SIZES = {64: 32, 128: 16, 256: 4}


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
            floor = 4.3 * size**4 / (2 * size**3 / product)
            name = str(dtype).removeprefix("torch.")
            print(f"{size:4d}x{size:<4d} {name:>8s} {spent * 1e3:12.2f} {floor * 1e3:10.2f}")
            record[f"{size}x{size} {name}"] = {"ms_per_array": spent * 1e3, "floor_ms": floor * 1e3, "batch": batch}
    if arguments.json:
        arguments.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
