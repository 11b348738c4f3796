"""Conductance against time since programming."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from memristor_plugins.characterize.bench import Bench
from memristor_plugins.characterize.result import Absent, Number, Shown, columns
from memristor_plugins.devices.statistics import DAY
from memristor_plugins.devices.table import Table
from memristor_plugins.reporting.figures import si
from memristor_plugins.reporting.panels import Axis, Panel, Series
from memristor_plugins.reporting.table import duration

SHARES = (1.0, 0.5, 0.25)
# 1 s to about three years, eight times a decade, and the times that people ask for.
TIMES = sorted({*(10 ** (k / 8) for k in range(65)), 3600.0, DAY, 2 * DAY, 5 * DAY, 30 * DAY, 365 * DAY})


def figure(bench: Bench) -> Shown | Absent:
    """Median and quantiles of cells of three levels."""
    device = bench.device
    targets = bench.targets(*SHARES)
    state = device.program(targets, generator=bench.generator("retention"))
    start, sound = device.conductance(state, 0.0), bench.sound(state)
    measured = device.statistics.times if isinstance(device, Table) else ()
    times_asked = sorted({*TIMES, *(t for t in measured if t > 0)})
    found = {t: g for t in times_asked if (g := bench.aged(state, t)) is not None}
    if not found:
        return Absent("the model covers no time between 1 s and three years")
    g = torch.stack(list(found.values()))
    if bool((g == start).all()):
        return Absent("the model keeps conductances for ever: no retention is published, or its drift is set to 0")
    times = torch.tensor(list(found), dtype=torch.float64)
    asked = DAY if DAY in found else max(found)
    at = list(found).index(asked)
    numbers: dict[str, Number] = {}
    absolute, relative, rows = [], [], []
    for k in range(len(SHARES)):
        label = si(float(targets[k, 0]), "S")
        low, middle, high = _quantiles(g[:, k, sound[k]])
        held = sound[k] & (start[k] > 0)
        below, half, above = _quantiles(g[:, k, held] / start[k, held])
        absolute.append(Series(times, middle, f"target {label}", k, band=(low, high)))
        relative.append(Series(times, 100 * half, f"target {label}", k, band=(100 * below, 100 * above)))
        rows.append((targets[k, :1].expand(len(times)), times, low, middle, high, half))
        when = f"g({duration(asked)}) / g(0) of {label}"
        numbers[f"{when}, median"] = Number(float(half[at]))
        numbers[f"{when}, 5 % of cells below"] = Number(float(below[at]))
    exponent = _slope(found, g, start)
    if exponent is not None:
        numbers[f"d ln g / d ln t of {si(float(targets[0, 0]), 'S')}"] = Number(exponent)
    left_out = "" if bool(sound.all()) else " less the failed ones"
    names = ("target_s", "time_s", "quantile_5_s", "median_s", "quantile_95_s", "median_ratio")
    return Shown(
        "retention",
        f"{bench.cells} cells of each target{left_out}, followed from their programming to {_long(max(found))}. Lines: "
        "median; bands: 5 % to 95 % of cells. Right: over what each cell held right after programming.",
        [
            Panel(Axis("time since programming", "s", "log"), Axis("conductance", "S", zero=True), absolute),
            Panel(Axis("time since programming", "s", "log"), Axis("g(t) / g(0)", "%"), relative),
        ],
        columns(**{name: [row[i] for row in rows] for i, name in enumerate(names)}),
        numbers,
    )


def _quantiles(values: Tensor) -> Tensor:
    """5 %, median and 95 % over the last dimension, [3, times]; nan where there are no cells."""
    if not values.shape[-1]:
        return values.new_full((3, len(values)), math.nan)
    return torch.quantile(values, values.new_tensor([0.05, 0.5, 0.95]), dim=-1)


def _slope(found: dict[float, Tensor], g: Tensor, start: Tensor) -> float | None:
    """Mean slope of the highest level's median over the last two decades; None where it is gone or time is short."""
    times = list(found)
    early = next((i for i, t in enumerate(times) if t >= times[-1] / 100), 0)
    if not times[-1] >= 10 * times[early]:
        return None
    a, b = float(g[early, 0].median()), float(g[-1, 0].median())
    if not min(a, b) > 1e-3 * float(start[0].median()):
        return None
    return math.log(b / a) / math.log(times[-1] / times[early])


def _long(seconds: float) -> str:
    """A time in a sentence: "2 days", "3.2 years"."""
    if seconds >= 365.25 * DAY:
        return f"{seconds / (365.25 * DAY):.2g} years"
    if seconds >= 2 * DAY:
        return f"{seconds / DAY:.3g} days"
    return duration(seconds)
