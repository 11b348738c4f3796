"""What an analog layer costs beside the same `torch.nn` layer, in one run: ratios of the fastest of several times.

    python benchmarks/layers.py --json layers.json

The layer is a 3x3 convolution of 128 to 128 channels on 16x16 pixels, batch 32, float32: 1.2e9 multiply-accumulates,
4.2 MB of inputs and of outputs. On 128-row arrays nine partial sums of every output, 9.4e6 in all, are converted.

Where aihwkit-lightning is installed (`pip install --no-deps aihwkit-lightning`), its layer stands beside them: 8-bit
inputs, weight noise in training, rows unsplit and split; it has no noise of a read and no programmed chip.

`--cpu-time` counts processor seconds of all threads instead of the clock's: on a machine that others use as well, with
`OMP_WAIT_POLICY=passive`, so that a thread that waits is not counted.
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import os
import platform
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from memristor_plugins.api import AnalogLayer, Stack, analogize, calibrate, compose_stack, program
from memristor_plugins.cli.memory import keep_buffers

CONVERTERS = "nonideality=[dac,adc]"
NOISY = "nonideality=[programming,read_noise,dac,adc]"
ONE_ARRAY = "mapping.rows=1152"
CASES = {
    "collapsed: weight noise": ["nonideality=[programming]"],
    "boundary: weight noise, 8-bit DAC and ADC": ["nonideality=[programming,dac,adc]", ONE_ARRAY],
    "boundary + read noise": [NOISY, ONE_ARRAY],
    "tiled: 8-bit DAC and ADC": [CONVERTERS],
    "tiled, subtract=digital": [CONVERTERS, "mapping.subtract=digital"],
    "tiled + programming + read noise": [NOISY],
    "tiled + programming": ["nonideality=[programming,dac,adc]"],
    "tiled + programming + exact IR drop": ["nonideality=[programming,ir_drop,dac,adc]"],
}
COMPILED = ("tiled: 8-bit DAC and ADC", "tiled, subtract=digital", "tiled + programming + read noise")
WIRES = ("tiled + programming + exact IR drop", "tiled + programming")


@dataclass(frozen=True)
class Row:
    """Milliseconds of the digital layer and ratios to it."""

    case: str
    plan: str
    evaluation: float
    training: float


def best(functions: dict[str, Callable[[], object]], repeats: int, clock: Callable[[], float]) -> dict[str, float]:
    """Fastest time of each in seconds; they take turns, so that what disturbs one disturbs all."""
    times = {name: float("inf") for name in functions}
    for function in functions.values():
        function()
    for _ in range(repeats):
        for name, function in functions.items():
            start = clock()
            function()
            times[name] = min(times[name], clock() - start)
    return times


def evaluation(layer: nn.Module, x: Tensor) -> Callable[[], object]:
    """One forward pass without gradients."""

    def run() -> object:
        with torch.inference_mode():
            y = layer(x)
        if x.is_cuda:
            torch.cuda.synchronize()
        return y

    return run


def training(layer: nn.Module, x: Tensor) -> Callable[[], object]:
    """Forward and backward pass, gradients of inputs and weights."""
    x = x.clone().requires_grad_()

    def run() -> object:
        layer.zero_grad(set_to_none=True)
        x.grad = None
        layer(x).sum().backward()
        if x.is_cuda:
            torch.cuda.synchronize()
        return None

    return run


def layers(stack: Stack, x: Tensor, compiled: bool) -> tuple[nn.Module, nn.Module]:
    """The layer on a chip, and the same in training."""
    torch.manual_seed(0)
    conv = nn.Conv2d(128, 128, 3, padding=1, bias=False).to(x.device)
    chip = analogize(conv, stack, compile=compiled)
    calibrate(chip, [x])
    trained = analogize(conv, stack, compile=compiled).train()
    trained.load_state_dict(chip.state_dict())
    chip.eval()
    program(chip)
    return chip, trained


def peers(x: Tensor) -> dict[str, nn.Module]:
    """aihwkit-lightning's layers, where it is installed: an input range, weight noise, rows split every so many."""
    try:
        from aihwkit_lightning.nn import AnalogConv2d
        from aihwkit_lightning.simulator.configs import TorchInferenceRPUConfig, WeightNoiseInjectionType
    except ImportError:
        return {}
    found: dict[str, nn.Module] = {}
    for rows in (-1, 512, 128):
        config = TorchInferenceRPUConfig()
        config.forward.inp_res = 2**8 - 2
        config.pre_post.input_range.enable = True
        config.modifier.noise_type, config.modifier.std_dev = WeightNoiseInjectionType.ADDITIVE_NORMAL, 0.02
        config.mapping.max_input_size = rows
        layer = AnalogConv2d(128, 128, 3, padding=1, bias=False, rpu_config=config).to(x.device)
        layer(x)  # sets its input range
        found[f"aihwkit-lightning, {'rows unsplit' if rows < 0 else f'{rows} rows'}"] = layer
    return found


def measure(device: str, repeats: int, clock: Callable[[], float]) -> tuple[float, float, list[Row]]:
    """Milliseconds of the digital layer (evaluation, training step), and every case's ratios."""
    x = torch.rand(32, 128, 16, 16, device=device)
    digital = nn.Conv2d(128, 128, 3, padding=1, bias=False).to(device)
    stacks = {case: compose_stack(["device=adaptive_2d", *overrides]) for case, overrides in CASES.items()}
    built = {case: layers(stack, x, False) for case, stack in stacks.items()}
    built |= {f"{case}, compiled": layers(stacks[case], x, True) for case in COMPILED}
    others = {"": digital} | peers(x)
    networks = {name: (copy.deepcopy(layer).eval(), layer.train()) for name, layer in others.items()} | built
    gc.disable()
    evaluated = best({c: evaluation(chip, x) for c, (chip, _) in networks.items()}, repeats, clock)
    trained = best({c: training(t, x) for c, (_, t) in networks.items()}, repeats, clock)
    gc.enable()
    rows = []
    for case, (chip, _) in networks.items():
        if case:
            plan = chip.plan.kind if isinstance(chip, AnalogLayer) else "-"
            rows.append(Row(case, plan, evaluated[case] / evaluated[""], trained[case] / trained[""]))
    return evaluated[""] * 1e3, trained[""] * 1e3, rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--cpu-time", action="store_true", help="processor seconds of all threads")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    keep_buffers()  # as `memristor train` does; without it the digital layer itself is slower
    evaluated, trained, rows = measure(arguments.device, arguments.repeats, clock)
    print(f"torch.nn.Conv2d: evaluation {evaluated:.2f} ms, training step {trained:.2f} ms")
    print(f"{'':48s}{'plan':10s}{'evaluation':>11s}{'training':>10s}")
    for row in rows:
        print(f"{row.case:48s}{row.plan:10s}{row.evaluation:10.2f}x{row.training:9.2f}x")
    read = {row.case: row.evaluation for row in rows}
    wires = read[WIRES[0]] / read[WIRES[1]]
    print(f"exact IR drop, once programmed, over the same without: {wires:.3f}x")
    if arguments.json:
        name = torch.cuda.get_device_name() if arguments.device == "cuda" else platform.processor() or "CPU"
        record = {
            "device": name,
            "threads": torch.get_num_threads(),
            "clock": "processor time of all threads" if arguments.cpu_time else "wall",
            "cores": os.cpu_count(),
            "torch": torch.__version__,
            "digital_ms": {"evaluation": evaluated, "training": trained},
            "ir_drop_over_same_without": wires,
            "ratios": {r.case: {"plan": r.plan, "evaluation": r.evaluation, "training": r.training} for r in rows},
        }
        arguments.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
