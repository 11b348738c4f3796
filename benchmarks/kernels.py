"""What layers with modulated kernels cost by each exact route, beside the static layer: forward and backward pass.

    python benchmarks/kernels.py --json kernels.json

3x3 convolutions in the shapes of a VGG at several widths, with 2 and 4 banks under bank factors, and ODConv and
KernelWarehouse layers. On a CPU times are processor seconds of one thread: other programs on the machine do not enter
them. `chosen` is the route that the digital engine takes, `right` whether it is the fastest or within a tenth of it.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from memristor_plugins.cli.memory import keep_buffers
from memristor_plugins.crossbar.geometry import Geometry
from memristor_plugins.crossbar.modulated import modulated_conv2d
from memristor_plugins.crossbar.realisation import Route, cheapest, costs
from memristor_plugins.interfaces.kernel import Modulation

# channels, pixels a side, images
SHAPES = [(32, 32, 32), (64, 16, 32), (128, 16, 32), (128, 8, 64), (256, 8, 32), (256, 4, 64)]
ROUTES: tuple[Route, ...] = ("banks", "mixed")


def modulations(kind: str, batch: int, channels: int, device: str) -> tuple[Tensor, Modulation]:
    """Banks and factors of one layer."""
    if kind == "kernel_warehouse":
        weight = torch.randn(9, channels, channels, 1, 1, device=device) * 0.05
        return weight, Modulation(drive=torch.rand(batch, 9, 1, 3, 3, device=device))
    count = 4 if kind == "odconv" else int(kind.removeprefix("K = "))
    weight = torch.randn(count, channels, channels, 3, 3, device=device) * 0.05
    bank = torch.rand(batch, count, device=device)
    if kind == "odconv":
        return weight, Modulation(bank=bank, position=torch.rand(batch, 3, 3, device=device))
    return weight, Modulation(bank=bank)


def best(run: Callable[[], object], device: str, repeats: int) -> float:
    """Fastest of several times, seconds."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    times = []
    for _ in range(repeats + 1):
        if device == "cuda":
            torch.cuda.synchronize()
        start = clock()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(clock() - start)
    return min(times[1:])


def measure(kind: str, shape: tuple[int, int, int], device: str, dtype: torch.dtype, repeats: int) -> dict[str, Any]:
    """Milliseconds of the static layer and every route's ratio to it."""
    channels, side, batch = shape
    torch.manual_seed(0)
    x = torch.randn(batch, channels, side, side, device=device, dtype=dtype)
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    weight, m = modulations(kind, batch, channels, device)
    weight = weight.to(dtype).requires_grad_()
    factors = {n: getattr(m, n).to(dtype).requires_grad_() for n in m.factors}
    m = Modulation(**factors)
    conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False).to(device, dtype)
    ones = torch.ones_like(conv(x))

    def static() -> object:
        return torch.autograd.grad(conv(x), (x, conv.weight), ones)

    def by(route: Route) -> Callable[[], object]:
        def run() -> object:
            y = modulated_conv2d(x, weight, m, padding=1, route=route)
            return torch.autograd.grad(y, (x, weight, *factors.values()), ones)

        return run

    reference = best(static, device, repeats)
    ratios: dict[str, float] = {route: best(by(route), device, repeats) / reference for route in ROUTES}
    geometry = Geometry(channels, channels, (3, 3), padding=(1, 1))
    chosen = cheapest(x, weight, m, geometry)
    return {
        "kind": kind,
        "channels": channels,
        "pixels": side * side,
        "images": batch,
        "static_ms": 1e3 * reference,
        "ratios": ratios,
        "predicted": costs(weight, m, geometry, side, side),
        "chosen": chosen,
        "right": ratios[chosen] <= 1.1 * min(ratios.values()),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    keep_buffers()
    if given.device == "cpu":
        torch.set_num_threads(1)
    print(f"{'':18s}{'channels':>9s}{'pixels':>7s}{'static':>10s}{'banks':>15s}{'mixed':>15s}  chosen  right")
    rows = []
    for kind in ("K = 2", "K = 4", "odconv", "kernel_warehouse"):
        for shape in SHAPES:
            row = measure(kind, shape, given.device, getattr(torch, given.dtype), given.repeats)
            rows.append(row)
            told = "".join(f"{row['ratios'][r]:7.2f} ({row['predicted'][r]:5.2f})" for r in ROUTES)
            head = f"{kind:18s}{row['channels']:9d}{row['pixels']:7d}{row['static_ms']:8.1f}ms"
            print(f"{head} {told}  {row['chosen']:7s} {'yes' if row['right'] else 'NO'}", flush=True)
    print(f"right in {sum(r['right'] for r in rows)} of {len(rows)}")
    if given.json:
        where = torch.cuda.get_device_name() if given.device == "cuda" else platform.processor() or "CPU"
        head_of = {"device": where, "threads": torch.get_num_threads(), "torch": torch.__version__}
        given.json.write_text(json.dumps({**head_of, "dtype": given.dtype, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
