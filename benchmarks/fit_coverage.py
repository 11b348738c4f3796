"""How often the stated 95 % intervals of `memristor fit` hold the truth: synthetic noisy measurements, fitted anew.

    python benchmarks/fit_coverage.py --json fit_coverage.json

Each kind of measurement is drawn from a device with known parameters, disturbed by 5 % noise, written as a CSV file and
fitted as a user would, `--repetitions` times with seeds of their own.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from memristor_plugins.api import compose_stack
from memristor_plugins.devices.transient import MODELS, simulate, table
from memristor_plugins.fitting.run import Options, fit_file
from memristor_plugins.fitting.subject import subject
from memristor_plugins.interfaces.pulsed import PulsedModel

NOISE = 0.05


def write(path: Path, header: str, rows: list[tuple[float, ...]]) -> None:
    """A CSV file."""
    path.write_text("\n".join([header, *(",".join(f"{v:.9g}" for v in row) for row in rows)]) + "\n")


def programming(path: Path, seed: int) -> dict[str, float]:
    """What writes of a generic cell left: the spread is the parameter, 5 % of g_max."""
    device = compose_stack(["device=generic", f"device.std={NOISE}"]).device
    target = torch.linspace(float(device.g_min), float(device.g_max), 9).repeat(60)
    g = device.program(target, generator=torch.Generator().manual_seed(seed)).g
    write(
        path, "target_us,conductance_us", [(t * 1e6, v * 1e6) for t, v in zip(target.tolist(), g.tolist(), strict=True)]
    )
    return {"std": NOISE}


def retention(path: Path, seed: int) -> dict[str, float]:
    """300 cells of the three-terminal device over a year: median lifetime and its spread."""
    truth = {"retention_tau": 1e7, "retention_sigma": 0.5}
    device = compose_stack(["device=adaptive_2d", "device.d2d_range=0", "device.programming_std=0"]).device
    source = torch.Generator().manual_seed(seed)
    state = device.program(torch.full((300,), 10e-6), generator=source)
    rows = []
    for seconds in (1.0, 1e4, 1e5, 1e6, 3e6, 1e7, 3e7):
        noise = 1 + NOISE * torch.randn(300, generator=source)
        values = (device.conductance(state, seconds) * noise).tolist()
        rows += [(seconds, value * 1e6, cell) for cell, value in enumerate(values)]
    write(path, "time_s,conductance_us,cell", rows)
    return truth


def pulses(path: Path, seed: int) -> dict[str, float]:
    """120 pulses up and 120 down on a soft-bounds cell without variation, noise of 5 % of its range."""
    truth = {"lowest": 5e-6, "highest": 25e-6, "step_up": 0.02, "step_down": 0.02}
    quiet = [
        "device.lowest=5e-6",
        "device.highest=25e-6",
        "device.g_min=8e-6",
        "device.c2c=0",
        "device.d2d_step=0",
        "device.d2d_bounds=0",
    ]
    device = compose_stack(["device=soft_bounds", *quiet]).device
    assert isinstance(device, PulsedModel)
    start = torch.tensor([6e-6], dtype=torch.float64)
    cells = device.fabricate((1,), generator=torch.Generator().manual_seed(0))
    levels, signs = [start], [0] + [1] * 120 + [-1] * 120
    for sign in signs[1:]:
        levels.append(device.pulse(levels[-1], torch.tensor([float(sign)]), cells=cells, generator=None))
    noise = NOISE * (truth["highest"] - truth["lowest"]) * np.random.default_rng(seed).standard_normal(len(levels))
    read = torch.cat(levels).numpy() + noise
    write(
        path,
        "pulse,conductance_us,polarity",
        [(i, g * 1e6, s) for i, (g, s) in enumerate(zip(read, signs, strict=True))],
    )
    return truth


def sweep(path: Path, seed: int) -> dict[str, float]:
    """Two periods of a triangle on a Yakopcic cell, noise of 5 % of the largest current."""
    truth = {"a": 0.17, "b": 0.05, "v_p": 0.16, "v_n": 0.15, "rate_p": 4000.0, "rate_n": 4000.0}
    model = MODELS["yakopcic"]()
    corners = [0.0, 0.45, -0.45, 0.45, -0.45, 0.0]
    times = np.cumsum([0.0, 1, 2, 2, 2, 1]) * 2.5e-3
    wave = table(list(times), corners)
    run = simulate(model, wave, dt=2e-4, record="steps", dtype=torch.float64)
    assert run.current is not None
    assert run.v is not None
    current, volts, at = (x.flatten().numpy() for x in (run.current, run.v, run.time))
    rng = np.random.default_rng(seed)
    noisy = current + NOISE * np.abs(current).max() * rng.standard_normal(len(current))
    write(path, "time_s,voltage_v,current_a", list(zip(at.tolist(), volts.tolist(), noisy.tolist(), strict=True)))
    return truth


KINDS: dict[str, tuple[str, Callable[[Path, int], dict[str, float]], Options]] = {
    "programming": ("device=generic", programming, Options(free=("std",))),
    "retention": ("device=adaptive_2d", retention, Options(free=("retention_tau", "retention_sigma"))),
    "pulses": ("device=soft_bounds", pulses, Options()),
    "iv": ("device=yakopcic", sweep, Options(starts=4)),
}


def main() -> None:
    """Fit every kind and print the share of intervals that hold the truth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS))
    given = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, dict[str, object]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in given.kinds:
            device, make, options = KINDS[kind]
            held: dict[str, list[bool | None]] = {}
            start = time.perf_counter()
            for seed in range(given.repetitions):
                path = Path(folder) / f"{kind}_{seed}.csv"
                truth = make(path, seed)
                outcome = fit_file(subject([device]), path, options)
                for estimate in outcome.found.inference.estimates:
                    if estimate.name not in truth:
                        continue
                    known = estimate.low is not None and estimate.high is not None
                    inside = estimate.low <= truth[estimate.name] <= estimate.high if known else None  # type: ignore[operator]
                    held.setdefault(estimate.name, []).append(inside)
            shares = {
                name: {
                    "held": sum(v is True for v in values),
                    "missed": sum(v is False for v in values),
                    "unidentifiable": sum(v is None for v in values),
                }
                for name, values in held.items()
            }
            found[kind] = {"parameters": shares, "seconds_a_fit": (time.perf_counter() - start) / given.repetitions}
            print(kind, json.dumps(found[kind]), flush=True)
    if given.json:
        head = {"cpu": platform.processor() or "CPU", "noise": NOISE, "repetitions": given.repetitions}
        given.json.write_text(json.dumps(head | {"kinds": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
