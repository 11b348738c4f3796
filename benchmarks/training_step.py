"""What hardware-aware training costs: one step on freshly sampled chips beside the same network's digital step.

    python benchmarks/training_step.py --json training_step.json

A VGG8 of CIFAR-10's shape under `stack=headline`, heterosynaptic kernels of K banks; forward, cross-entropy, backward
and a step of SGD with momentum. `one gain a bank` leaves the effect `gate` out: every cell of a bank then has the gain
that its image wants. With it every cell has its own gain, at the batch's mean gate voltage (see README). The static
network of the same width stands beside them. Each precision runs in a process of its own.

`--cpu-time` counts processor seconds of all threads instead of the clock's: on a machine that others use as well, with
`OMP_WAIT_POLICY=passive`, so that a thread that waits is not counted.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from memristor_plugins.api import analogize, calibrate, compose_stack, set_mode
from memristor_plugins.cli.memory import keep_buffers
from memristor_plugins.crossbar.convert import analog_layers
from memristor_plugins.kernels.heterosynaptic import Heterosynaptic
from memristor_plugins.kernels.static import Static
from memristor_plugins.models.vgg import VGG

EFFECTS = ("programming", "levels", "read_noise", "drift", "stuck_at", "ir_drop", "dac", "adc")
GATE = ("gate", "gate_noise")
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def stepper(network: nn.Module, x: Tensor, labels: Tensor, precision: torch.dtype) -> Callable[[], None]:
    """One training step: a fresh chip, forward, backward and update."""
    network.train()
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, foreach=True)
    layers = list(analog_layers(network).values())

    def step() -> None:
        for layer in layers:
            layer.step += 1
        optimizer.zero_grad(set_to_none=True)
        low = precision is not torch.float32
        with torch.autocast(x.device.type, dtype=precision) if low else nullcontext():
            logits = network(x)
        F.cross_entropy(logits.float(), labels).backward()
        optimizer.step()
        if x.is_cuda:
            torch.cuda.synchronize()

    return step


def build(device: str, width: float, batch: int, banks: int, compiled: bool) -> dict[str, nn.Module]:
    """The networks that are compared; all of the same width."""
    torch.manual_seed(0)
    x = torch.randn(batch, 3, 32, 32, device=device)
    found: dict[str, nn.Module] = {}
    found["static, digital"] = VGG(Static(), (3, 32, 32), 10, depth=8, width=width).to(device)
    dynamic = VGG(Heterosynaptic(banks), (3, 32, 32), 10, depth=8, width=width).to(device)
    found["digital"] = dynamic
    stacks = {"one gain a bank": EFFECTS, "gains of each cell": EFFECTS + GATE}
    for name, effects in stacks.items():
        stack = compose_stack(["device=adaptive_2d", f"nonideality=[{','.join(effects)}]", "nonidealities.levels.n=32"])
        with torch.no_grad():
            network = analogize(dynamic, stack, compile=compiled)
        calibrate(network, [x], approximate=True)
        set_mode(network, "analog")
        for layer in analog_layers(network).values():
            layer.whole = True  # as `memristor train` has it
        found[name] = network
    return found


def part(given: argparse.Namespace) -> dict[str, float]:
    """Milliseconds of a step of each network, the fastest of several that take turns."""
    warnings.simplefilter("ignore")
    keep_buffers()
    networks = build(given.device, given.width, given.batch, given.banks, given.compile)
    torch.manual_seed(1)
    x = torch.randn(given.batch, 3, 32, 32, device=given.device)
    labels = torch.randint(10, (given.batch,), device=given.device)
    steps = {n: stepper(network, x, labels, PRECISIONS[given.precision]) for n, network in networks.items()}
    best = {name: float("inf") for name in steps}
    clock = time.process_time if given.cpu_time else time.perf_counter
    for _ in range(given.repeats + 1):  # the first one warms up, and its time is beaten
        for name, step in steps.items():
            start = clock()
            step()
            best[name] = min(best[name], clock() - start)
    return {name: seconds * 1e3 for name, seconds in best.items()}


def main() -> None:
    """Measure every precision in its own process and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--width", type=float, default=0.5)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--banks", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--compile", action="store_true", help="compile what the engine can")
    parser.add_argument("--cpu-time", action="store_true", help="processor seconds of all threads")
    parser.add_argument("--precision", choices=list(PRECISIONS), help="measure this one alone, and print JSON")
    given = parser.parse_args()
    if given.precision:
        print(json.dumps(part(given)))
        return
    found: dict[str, dict[str, float]] = {}
    for precision in PRECISIONS:
        options = [f"--{key}={getattr(given, key)}" for key in ("device", "width", "batch", "banks", "repeats")]
        command = [sys.executable, __file__, f"--precision={precision}", *options, *["--compile"] * given.compile]
        command += ["--cpu-time"] * given.cpu_time
        found[precision] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        print(f"\n{precision}: milliseconds, and over the digital step of the same kernels")
        for name, ms in found[precision].items():
            print(f"  {name:24s}{ms:10.1f}{ms / found[precision]['digital']:8.2f}x")
    if given.json:
        where = torch.cuda.get_device_name() if given.device == "cuda" else platform.processor() or "CPU"
        head = {"device": where, "threads": torch.get_num_threads(), "torch": torch.__version__}
        sizes = {"width": given.width, "batch": given.batch, "banks": given.banks, "compiled": given.compile}
        sizes["clock"] = "processor time of all threads" if given.cpu_time else "wall"
        given.json.write_text(json.dumps(head | sizes | {"step_ms": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
