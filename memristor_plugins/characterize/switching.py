"""Set and reset voltages of many cells, with the model's own variation and no other."""

from __future__ import annotations

import torch
from torch import Tensor

from memristor_plugins.characterize import sweep
from memristor_plugins.characterize.bench import Bench, gate_label, named
from memristor_plugins.characterize.result import Absent, Number, Shown, columns
from memristor_plugins.devices._transient_cell import TransientCell
from memristor_plugins.devices.adaptive_2d import Adaptive2D
from memristor_plugins.interfaces.transient import TransientModel
from memristor_plugins.reporting.figures import si
from memristor_plugins.reporting.panels import Axis, Panel, Series


def figure(bench: Bench) -> Shown | Absent:
    """Cumulative distributions of both voltages."""
    model = bench.model
    if model is None:
        return Absent("the model has no switching in time")
    chosen = bench.sweep
    if chosen is None:
        return Absent("no sweep between the voltages of its pulses switches the cell")
    gates = bench.gates(3)
    made = _vary(bench, model, gates)
    if made is None:
        return Absent("its cells switch alike: the model's spread of what sets their voltages is 0")
    varied, what = made
    panels: dict[str, list[Series]] = {"set": [], "reset": []}
    numbers: dict[str, Number] = {}
    rows: dict[str, list[Tensor]] = {"gate_voltage_v": [], "set_voltage_v": [], "reset_voltage_v": []}
    # Without a generator of its own a sweep is deterministic: cells differ by what `_vary` drew, alike at each gate.
    found = sweep.voltages(varied, chosen, sweep.run(varied, chosen))
    for k, gate in enumerate(gates):
        rows["gate_voltage_v"].append(gate.expand(bench.cells))
        for name, devices in zip(("set", "reset"), found, strict=True):
            volts = devices.reshape(len(gates), bench.cells)[k]
            rows[f"{name}_voltage_v"].append(volts)
            label = gate_label(bench, float(gate))
            switched = volts[torch.isfinite(volts)].sort().values
            middle = float(switched.quantile(0.5)) if len(switched) else None
            spread = float(switched.std()) if len(switched) > 1 else None
            numbers[named(f"median V_{name}", label)] = Number(middle, "V")
            numbers[named(f"std V_{name}", label)] = Number(spread, "V")
            share = 100 * (torch.arange(len(switched), dtype=torch.float64) + 0.5) / bench.cells
            if label is not None and middle is not None:
                switched, label = switched - middle, f"{label}, median {si(middle, 'V')}"
            panels[name].append(Series(switched, share, label, k, "both"))
    about = " voltage - its median" if bench.device.gated else " voltage"
    return Shown(
        "set and reset voltages",
        f"{bench.cells} cells that differ by {what}; second of two cycles to {chosen.positive:g} and "
        f"{chosen.negative:g} V at {chosen.ramp}. Set: the conductance rises through "
        f"{si(chosen.set_level, 'S')}; reset: it falls through {si(chosen.reset_level, 'S')}.",
        [Panel(Axis(name + about, "V"), Axis("cells switched", "%"), lines) for name, lines in panels.items()],
        columns(**rows),
        numbers,
    )


def _vary(bench: Bench, model: TransientModel, gates: Tensor) -> tuple[sweep.Cells, str] | None:
    """(cells of the model at each gate voltage, what differs between them); None: nothing does."""
    device = bench.device
    cells = device.fabricate((bench.cells,), generator=bench.generator("switching"))
    if isinstance(device, Adaptive2D):
        if device.d2d_range == 0 and device.d2d_beta == 0:
            return None
        reach = cells["reach"].double() / device.g_max
        varied = model.with_parameters({"g_on0": device.g_on0 * reach, "beta": cells["beta"].double()})
        return sweep.Cells(varied, gates[:, None]), "the conductance of a complete filament and the gate's effect on it"
    if not isinstance(device, TransientCell) or device.d2d_step == 0:
        return None
    up, down = cells["up"], cells["down"]
    speeds = (up, down) if device.pulse_voltage[0] > 0 else (down, up)
    return sweep.Cells(
        model, None, speeds
    ), f"their speed (lognormal, sigma {device.d2d_step:g}, up and down independently)"
