"""I-V hysteresis; where a model has no equations in time, the static curve of a nonlinear cell."""

from __future__ import annotations

import torch
from torch import Tensor

from memristor_plugins.characterize import sweep
from memristor_plugins.characterize.bench import Bench, gate_label, named
from memristor_plugins.characterize.result import Absent, Number, Shown, columns
from memristor_plugins.reporting.figures import si
from memristor_plugins.reporting.panels import Axis, Panel, Series

VOLTAGE, CURRENT = Axis("voltage", "V"), Axis("current", "A")


def figure(bench: Bench) -> Shown | Absent:
    """Current over a full cycle, linear and logarithmic."""
    if bench.model is None:
        return _static(bench)
    chosen = bench.sweep
    if chosen is None:
        return Absent("no sweep between the voltages of its pulses switches the cell")
    gates = bench.gates(5)
    cells = sweep.Cells(bench.model, gates)
    loop = sweep.run(cells, chosen)
    v_set, v_reset = sweep.voltages(cells, chosen, loop)
    labels = [gate_label(bench, float(v)) for v in gates]
    numbers: dict[str, Number] = {}
    for k, label in enumerate(labels):
        g = loop.conductance[:, k]
        numbers[named("V_set", label)] = _finite(v_set[k], "V")
        numbers[named("V_reset", label)] = _finite(v_reset[k], "V")
        numbers[named("G_high", label)] = Number(float(g.max()), "S")
        numbers[named("G_high / G_low", label)] = Number(float(g.max() / g.min()))
    count = len(loop.v)
    # At 0 V there is no current, and a logarithm none of it.
    away = (loop.v / torch.where(loop.v > 0, chosen.positive, -chosen.negative)).abs() > 0.02
    linear = [Series(loop.v, loop.current[:, k], label, k) for k, label in enumerate(labels)]
    nan = torch.full_like(loop.v, torch.nan)
    size = [torch.where(away, loop.current[:, k].abs(), nan) for k in range(len(labels))]
    return Shown(
        "I-V hysteresis",
        f"Second of two cycles 0 V, {chosen.positive:g} V, 0 V, {chosen.negative:g} V, 0 V at {chosen.ramp} "
        f"of a nominal cell. V_set: its conductance at {bench.model.read_voltage:g} V rises through "
        f"{si(chosen.set_level, 'S')}; V_reset: it falls through {si(chosen.reset_level, 'S')}.",
        [
            Panel(VOLTAGE, CURRENT, linear),
            Panel(
                VOLTAGE, Axis("|current|", "A", "log"), [Series(loop.v, y, labels[k], k) for k, y in enumerate(size)]
            ),
        ],
        columns(
            gate_voltage_v=[g.expand(count) for g in gates],
            time_s=[loop.time] * len(labels),
            voltage_v=[loop.v] * len(labels),
            current_a=list(loop.current.T),
            conductance_s=list(loop.conductance.T),
        ),
        numbers,
    )


def _static(bench: Bench) -> Shown | Absent:
    device = bench.device
    g = torch.tensor([device.g_max, (device.g_max + device.g_min) / 2, device.g_min], dtype=torch.float64)
    g = g[g > 0]
    v = torch.linspace(-1, 1, 101, dtype=torch.float64) * device.read_voltage
    current = device.current(g, v[:, None])
    bent = (current[-1] / (g * v[-1]) - 1).abs()
    if float(bent.max()) < 1e-6:
        return Absent("the model has no switching in time, and its cells are ohmic at the voltages of a read")
    return Shown(
        "I-V at the voltages of a read",
        "Cells that hold three conductances (low-field values). The model has no switching in time: no hysteresis.",
        [Panel(VOLTAGE, CURRENT, [Series(v, current[:, k], si(float(x), "S"), k) for k, x in enumerate(g)])],
        columns(
            low_field_conductance_s=[x.expand(len(v)) for x in g],
            voltage_v=[v] * len(g),
            current_a=list(current.T),
        ),
        {
            f"I / (G V) at {device.read_voltage:g} V, {si(float(x), 'S')}": Number(float(current[-1, k] / (x * v[-1])))
            for k, x in enumerate(g)
        },
    )


def _finite(value: Tensor, unit: str) -> Number:
    return Number(float(value) if bool(torch.isfinite(value)) else None, unit)
