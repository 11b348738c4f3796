"""Gain against gate voltage, of a nominal cell and of many."""

from __future__ import annotations

import torch

from memristor_plugins.characterize.bench import Bench, gate_label
from memristor_plugins.characterize.result import Absent, Number, Shown, columns
from memristor_plugins.reporting.figures import si
from memristor_plugins.reporting.panels import BLACK, Axis, Panel, Series


def figure(bench: Bench) -> Shown | Absent:
    """Median gain and quantiles of cells of three stored conductances."""
    device = bench.device
    if not device.gated:
        return Absent("the cell has no gate")
    v = bench.gates(101)
    nominal = device.nominal_gain(v)
    shares = [device.g_max / k for k in (1, 5, 50) if device.g_max / k >= device.g_min]
    stored = torch.tensor(shares, dtype=torch.float64)
    state = device.hold(stored[:, None].expand(-1, bench.cells).contiguous(), generator=bench.generator("gate"))
    gain = device.gain(state, v[:, None, None])
    numbers = {
        "smallest gain, nominal": Number(float(nominal.min())),
        "largest gain, nominal": Number(float(nominal.max())),
    }
    weakest = int(nominal.argmin())
    lines, spreads = [Series(v, nominal, "nominal", BLACK, "dashed")], []
    rows: list[tuple[torch.Tensor, ...]] = []
    for k, g in enumerate(stored):
        low, middle, high = torch.quantile(gain[:, k], torch.tensor([0.05, 0.5, 0.95], dtype=gain.dtype), dim=1)
        spread, mean, label = gain[:, k].std(1), gain[:, k].mean(1), si(float(g), "S")
        lines.append(Series(v, middle, f"cells of {label}", k, band=(low, high)))
        spreads.append(Series(v, 100 * spread / mean, f"cells of {label}", k))
        rows.append((g.expand(len(v)), v, nominal, low, middle, high, spread))
        at = f"{label} at {gate_label(bench, float(v[weakest]))}"
        numbers[f"gain of {at}, median"] = Number(float(middle[weakest]))
        numbers[f"spread of the gain of {at}"] = Number(100 * float(spread[weakest] / mean[weakest]), "%")
    names = ("stored_s", "gate_voltage_v", "nominal_gain", "quantile_5", "median_gain", "quantile_95", "deviation")
    return Shown(
        "gate gain",
        f"Conductance over that at {device.gate_range[1]:+g} V, where the gain is largest. Nominal: a cell in its most "
        f"conductive state. Lines and bands: median and 5 % to 95 % of {bench.cells} cells of each stored conductance.",
        [
            Panel(Axis("gate voltage", "V"), Axis("gain"), lines),
            Panel(Axis("gate voltage", "V"), Axis("std of the gain / mean", "%", zero=True), spreads),
        ],
        columns(**{name: [row[i] for row in rows] for i, name in enumerate(names)}),
        numbers,
    )
