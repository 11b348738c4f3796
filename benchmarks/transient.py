"""Device-steps a second of the transient integrator, at steps that agree with scipy within 1e-4 of full scale.

    python benchmarks/transient.py --json transient.json

1e5 devices that differ in every parameter named, over one loop, a triangle to either side, with fixed steps: the
fewest of a doubling sequence for which states and currents of the first 32 devices agree with `solve_ivp` (LSODA,
rtol 1e-10) at 100 instants of each straight line, relative to the range of the state and to each device's largest
current. The same for steps refined to a tolerance, where refinements count as steps.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import os
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from memristor_plugins.devices.transient import VTEAM, Adaptive2DTransient, Trajectory, simulate, triangle
from memristor_plugins.interfaces.transient import Number, TransientModel

DEVICES, SAMPLE, POINTS = 100_000, 32, 100
FULL_SCALE = 1e-4
TOLERANCE = 1e-5  # of refined steps


@dataclass(frozen=True)
class Case:
    """A model and its loop: volts to either side, seconds; lognormal sigma of what differs between devices."""

    model: TransientModel
    volts: float
    period: float
    spread: Mapping[str, float]


THRESHOLDS = {"k_off": 0.1, "k_on": 0.1, "v_off": 0.03, "v_on": 0.03, "r_on": 0.1, "r_off": 0.1}
CASES = {
    "vteam": Case(VTEAM(), 0.6, 2e-6, THRESHOLDS),
    "vteam, joglekar": Case(VTEAM(window="joglekar"), 0.24, 1e-6, THRESHOLDS),
    "adaptive_2d": Case(Adaptive2DTransient(), 0.8, 3.2, {"v_set0": 0.05, "v0": 0.02, "tau_s": 0.2, "g_on0": 0.1}),
}


@dataclass(frozen=True)
class Row:
    """What one way of stepping costs, and its largest errors over full scale; `steps` is per straight line."""

    case: str
    dtype: str
    stepping: str
    steps: int
    state_error: float
    current_error: float
    rate: float
    seconds: float


def first(model: TransientModel, count: int) -> TransientModel:
    """The model of the first `count` devices."""
    few: dict[str, Number] = {n: p[:count] if isinstance(p, Tensor) else p for n, p in model.parameters.items()}
    return model.with_parameters(few)


def reference(case: Case, model: TransientModel) -> tuple[Tensor, Tensor]:
    """States [4 POINTS, states, SAMPLE] and currents [4 POINTS, SAMPLE] by scipy, all devices as one banded system.

    A state that runs beyond an end is cut there: on a straight line it only moves one way, and where it has a hard
    end (VTEAM without a window) its rate does not depend on it.
    """
    count, bounds = len(model.states), model.bounds(model.parameters)
    low, high = (np.array([float(ends[i]) for ends in bounds])[:, None] for i in (0, 1))
    y = torch.stack(model.initial((SAMPLE,))).numpy()
    states, currents = [], []
    line = case.period / 4
    for a, b in itertools.pairwise([0.0, case.volts, 0.0, -case.volts, 0.0]):

        def slope(t: float, flat: np.ndarray, a: float = a, b: float = b) -> np.ndarray:
            now = torch.from_numpy(np.ascontiguousarray(flat.reshape(SAMPLE, count).T))
            # 0 V belongs to neither polarity.
            v = a + (b - a) * min(max(t / line, 1e-12), 1 - 1e-12)
            return torch.stack(model.rates(tuple(now), v)).numpy().T.ravel()

        times = np.linspace(0, line, POINTS + 1)
        found = solve_ivp(
            slope, (0, line), y.T.ravel(), method="LSODA", t_eval=times, rtol=1e-10, atol=1e-13,
            max_step=line / 1000, lband=count - 1, uband=count - 1,
        )  # fmt: skip
        assert found.success, found.message
        path = np.clip(found.y.T.reshape(-1, SAMPLE, count).transpose(0, 2, 1), low, high)
        y = path[-1]
        for t, at in zip(times[1:], path[1:], strict=True):
            tensors = torch.from_numpy(at)
            states.append(tensors)
            currents.append(model.current(tuple(tensors), a + (b - a) * float(t / line)))
    return torch.stack(states), torch.stack(currents)


def run(case: Case, model: TransientModel, steps: int, dtype: torch.dtype, refined: bool, traces: bool) -> Trajectory:
    """One loop in `steps` base steps a straight line."""
    return simulate(
        model,
        triangle(case.volts, -case.volts, case.period),
        dt=case.period / 4 / steps,
        tolerance=TOLERANCE if refined else None,
        record="steps" if traces else "none",
        dtype=dtype,
    )


def errors(
    case: Case, model: TransientModel, exact: tuple[Tensor, Tensor], steps: int, dtype: torch.dtype, refined: bool
) -> tuple[float, float]:
    """Largest error of a state over its range, and of a current over the device's largest."""
    found = run(case, model, steps, dtype, refined, traces=True)
    assert found.states is not None
    assert found.current is not None
    every = steps // POINTS
    state = torch.stack([found.states[name] for name in model.states], 1)[every::every].double()
    current = found.current[every::every].double()
    spans = torch.tensor([float(high) - float(low) for low, high in model.bounds(model.parameters)])
    state_error = (state - exact[0]).abs() / spans[:, None]
    current_error = (current - exact[1]).abs() / exact[1].abs().amax(0)
    return float(state_error.max()), float(current_error.max())


def measure(name: str, repeats: int) -> list[Row]:
    """The coarsest steps that suffice, and what they cost."""
    case = CASES[name]
    devices = case.model.varied(case.spread, (DEVICES,), generator=torch.Generator().manual_seed(0))
    sample = first(devices, SAMPLE)
    exact = reference(case, sample)
    rows = []
    for dtype, refined in itertools.product((torch.float32, torch.float64), (False, True)):
        for steps in (POINTS * 2**k for k in range(8)):
            state_error, current_error = errors(case, sample, exact, steps, dtype, refined)
            if max(state_error, current_error) < FULL_SCALE:
                break
        else:
            raise SystemExit(f"{name}, {dtype}: errors {state_error:.2g}, {current_error:.2g} with {steps} steps")
        seconds = float("inf")
        for _ in range(repeats):
            start = time.perf_counter()
            taken = run(case, devices, steps, dtype, refined, traces=False).steps
            seconds = min(seconds, time.perf_counter() - start)
        kind, stepping = str(dtype).removeprefix("torch."), "refined" if refined else "fixed"
        rows.append(Row(name, kind, stepping, steps, state_error, current_error, taken / seconds, seconds))
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES), help="others stay in the file")
    arguments = parser.parse_args()
    gc.disable()
    print(f"{'':18s}{'steps':>17s}{'a line':>8s}{'state':>9s}{'current':>9s}{'device-steps/s':>16s}{'s a loop':>10s}")
    results: dict[str, object] = {}
    if arguments.json and arguments.json.exists():
        results = json.loads(arguments.json.read_text())["results"]
    for name in arguments.cases:
        case = CASES[name]
        rows = measure(name, arguments.repeats)
        for r in rows:
            print(
                f"{r.case:18s}{r.dtype + ' ' + r.stepping:>17s}{r.steps:8d}{r.state_error:9.1e}{r.current_error:9.1e}"
                f"{r.rate:16.2e}{r.seconds:10.2f}"
            )
        results[name] = {
            "load_average_1_min": round(os.getloadavg()[0], 1),
            "loop": {"volts": case.volts, "seconds": case.period},
            "spread": case.spread,
            "runs": {
                f"{r.dtype} {r.stepping}": {
                    "base_steps_per_line": r.steps,
                    "step_seconds": case.period / 4 / r.steps,
                    "state_error": r.state_error,
                    "current_error": r.current_error,
                    "device_steps_per_second": r.rate,
                    "seconds_per_loop": r.seconds,
                }
                for r in rows
            },
        }
    if arguments.json:
        record = {
            "device": platform.processor() or "CPU",
            "threads": torch.get_num_threads(),
            "cores": os.cpu_count(),
            "torch": torch.__version__,
            "devices": DEVICES,
            "error_bound": FULL_SCALE,
            "refined_tolerance": TOLERANCE,
            "results": results,
        }
        arguments.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
