"""Deviation of a read against conductance."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from memristor_plugins.characterize.bench import Bench
from memristor_plugins.characterize.result import Absent, Number, Shown, columns
from memristor_plugins.devices.statistics import DAY
from memristor_plugins.reporting.figures import si
from memristor_plugins.reporting.panels import Axis, Panel, Series

POINTS = 17
READS = 20


def figure(bench: Bench) -> Shown | Absent:
    """What the model states and what reads of it give."""
    device = bench.device
    low = max(device.g_min, device.g_max / 200)
    levels = torch.logspace(math.log10(low), math.log10(device.g_max), POINTS, dtype=torch.float64)
    generator = bench.generator("read_noise")
    state = device.hold(levels[:, None].expand(-1, bench.cells).contiguous(), generator=generator)
    g = state.g
    reads = torch.stack([device.read(g, state, generator=generator) for _ in range(READS)])
    sampled = (reads - g).square().mean((0, 2)).sqrt()
    if float(sampled.max()) == 0:
        return Absent("reads are exact: the model has no read noise, or it is set to 0")
    shown = [Series(levels, sampled, f"{READS} reads of {bench.cells} cells", 0, "points")]
    rows: dict[str, list[Tensor]] = {"conductance_s": [levels], "sampled_s": [sampled]}
    stated = device.read_std(g, state, 0.0)
    if stated is not None:
        shown.append(Series(levels, stated.mean(1), "model, right after programming"))
        rows["model_s"] = [stated.mean(1)]
        later = None if bench.aged(state, DAY) is None else device.read_std(g, state, DAY)
        if later is not None and not torch.allclose(later, stated, rtol=1e-3, atol=0):
            shown.append(Series(levels, later.mean(1), "model, the same conductance after a day", 3, "dashed"))
            rows["model_after_a_day_s"] = [later.mean(1)]
    curve = sampled if stated is None else stated.mean(1)
    span = {"multiply": "drawn anew at each multiply", "image": "one draw lasts for an image"}
    correlation = span.get(device.read_correlation, "one draw lasts for a whole evaluation")
    return Shown(
        "read noise",
        f"Standard deviation of a read at {device.read_voltage:g} V of cells that hold each conductance exactly; "
        f"{correlation} on an array. Points: simulated reads.",
        [
            Panel(Axis("conductance", "S", "log"), Axis("deviation of a read", "S", zero=True), shown),
            Panel(
                Axis("conductance", "S", "log"),
                Axis("deviation / conductance", "%", zero=True),
                [replace(series, y=100 * series.y / levels) for series in shown],
            ),
        ],
        columns(**rows),
        {
            f"sigma_read / G at {si(float(levels[k]), 'S')}": Number(100 * float(curve[k] / levels[k]), "%")
            for k in (POINTS - 1, POINTS // 2, 0)
        },
    )
