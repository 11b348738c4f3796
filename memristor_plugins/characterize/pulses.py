"""Potentiation and depression by identical pulses, and how far from a straight line."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from memristor_plugins.characterize.bench import Bench, gate_label, named
from memristor_plugins.characterize.result import Absent, Number, Shown, columns
from memristor_plugins.devices.adaptive_2d import Adaptive2D
from memristor_plugins.devices.transient import pulses, simulate
from memristor_plugins.interfaces.device import Cells
from memristor_plugins.interfaces.pulsed import PulsedModel
from memristor_plugins.interfaces.transient import TransientModel
from memristor_plugins.reporting.figures import si
from memristor_plugins.reporting.panels import Axis, Panel, Series

POINTS = 100  # most that are measured in each direction
TRAIN = 60  # pulses of a simulated train
AXES = Axis("pulse number"), Axis("conductance", "S")


def figure(bench: Bench) -> Shown | Absent:
    """Conductance against pulse number, up and then down."""
    device = bench.device
    if isinstance(device, PulsedModel):
        return _pulsed(bench, device)
    if bench.model is not None and isinstance(device, Adaptive2D):
        return _simulated(bench, device, bench.model)
    return Absent("the model tells what a verified write leaves, not what one pulse does")


def label_of(curve: Tensor) -> float | None:
    """NeuroSim's NL = 10.10 max |f(p) - p| on axes normalised to the curve's ends; None for a curve without a rise.

    `curve`: conductances at evenly spaced pulse numbers, [points]. 0 for a straight line. Source: Chen et al.,
    10.1109/TCAD.2018.2789723.
    """
    rise = float(curve[-1] - curve[0])
    if not abs(rise) > 0.05 * float(curve.abs().max()):
        return None
    p = torch.linspace(0, 1, len(curve), dtype=curve.dtype)
    return 10.10 * float(((curve - curve[0]) / rise - p).abs().max())


class Train(NamedTuple):
    """Pulses of one direction.

    Args:
        pulses: of nominal width that cross the range, or what is shown of it.
        endless: the law comes to its bound in no number of pulses.
        x: pulses before each point, [points].
        nominal: conductance of a nominal cell, siemens, [points].
        cells: of each cell, [points, cells].
    """

    pulses: float
    endless: bool
    x: Tensor
    nominal: Tensor
    cells: Tensor


def _train(model: PulsedModel, start: float, g: Tensor, cells: Cells, generator: Generator, *, up: bool) -> Train:
    """Bursts from `start` (a nominal cell) and `g` (the cells), siemens, to the bound."""
    low, high = model.bounds
    # A law that comes to its bound in no number of pulses is shown as far as 95 % of the range.
    total = float(model.pulses_at(_number(1.0), up=up))
    endless = float(model.progress(_number(total), up=up)) < 1 - 1e-7
    if endless:
        total = float(model.pulses_at(_number(0.95), up=up))
    burst = max(1, math.ceil(total / POINTS))
    x = torch.arange(math.ceil(total / burst - 1e-6) + 1, dtype=torch.float64) * burst
    already = model.pulses_at(_number((start - low if up else high - start) / (high - low)), up=up)
    reached = (high - low) * model.progress(already + x, up=up)
    track = [g]
    for _ in x[1:]:
        g = model.pulse(g, torch.full_like(g, burst if up else -burst), cells=cells, generator=generator)
        track.append(g)
    return Train(total, endless, x, low + reached if up else high - reached, torch.stack(track))


def _pulsed(bench: Bench, model: PulsedModel) -> Shown:
    generator = bench.generator("pulses")
    cells = model.fabricate((bench.cells,), generator=generator).map(lambda c: c.double())
    rise = _train(model, model.bounds[0], cells["low"].clone(), cells, generator, up=True)
    # From where potentiation ended, which a law without an end leaves short of the upper bound.
    fall = _train(model, float(rise.nominal[-1]), rise.cells[-1], cells, generator, up=False)
    numbers: dict[str, Number] = {}
    for k, (name, train) in enumerate((("up", rise), ("down", fall))):
        p = torch.linspace(0, train.pulses, 2001, dtype=torch.float64)
        numbers[f"NL_{name}"] = Number(label_of(model.progress(p, up=name == "up")))
        numbers[f"pulses_{name}"] = Number(train.pulses)
        numbers[f"pulse_{name}"] = Number(model.pulse_voltage[k], "V")
        numbers[f"width_{name}"] = Number(model.pulse_width[k], "s")
    numbers["spread between cells after potentiation"] = Number(float(rise.cells[-1].std()), "S")
    x = torch.cat((rise.x, float(rise.x[-1]) + fall.x))
    cloud = torch.cat((rise.cells, fall.cells))
    low, middle, high = torch.quantile(cloud, _number((0.05, 0.5, 0.95)), dim=1)
    count = len(rise.x)
    volts = " and ".join(f"{v:g} V, {si(t, 's')}" for v, t in zip(model.pulse_voltage, model.pulse_width, strict=True))
    short = "; the law has no end, so as far as 95 % of the range" if rise.endless or fall.endless else ""
    return Shown(
        "potentiation and depression",
        f"Pulses of {volts}. Points and band: median and 5 % to 95 % of {bench.cells} cells with the model's variation "
        f"between cells and cycles. NL = 10.10 max |f(p) - p| of the nominal curve (NeuroSim){short}.",
        [
            Panel(
                *AXES,
                [
                    Series(x, middle, f"{bench.cells} cells", 4, "points", band=(low, high)),
                    Series(x[:count], rise.nominal, _legend("potentiation", numbers, "NL_up"), 0),
                    Series(x[count:], fall.nominal, _legend("depression", numbers, "NL_down"), 3),
                ],
            )
        ],
        columns(
            pulse=[x],
            polarity=[torch.ones_like(rise.x), -torch.ones_like(fall.x)],
            nominal_s=[rise.nominal, fall.nominal],
            quantile_5_s=[low],
            median_s=[middle],
            quantile_95_s=[high],
        ),
        numbers,
    )


def _simulated(bench: Bench, device: Adaptive2D, model: TransientModel) -> Shown:
    """Trains at the set voltage of a ramp, pulses an eighth of the filament's time constant there."""
    width = device.v0 / device.ramp / 8
    gates = bench.gates(3)
    curves = []
    state = None
    for sign in (1.0, -1.0):
        train = pulses(sign * device.v_set0, width, count=TRAIN, gap=width).gated(gates)
        track = simulate(model, train, state=state, record="segments", shape=(len(gates),))
        assert track.states is not None
        states = tuple(y[::2] for y in track.states.values())
        curves.append(model.conductance(states, v_gate=gates))
        state = track.final
    x = torch.arange(TRAIN + 1, dtype=torch.float64)
    number, g = torch.cat((x, TRAIN + x)), torch.cat(curves)
    polarity = torch.cat((torch.ones_like(x), -torch.ones_like(x)))
    labels = [gate_label(bench, float(v)) for v in gates]
    numbers: dict[str, Number] = {}
    for k, label in enumerate(labels):
        numbers[named("NL_up", label)] = Number(label_of(curves[0][:, k]))
        numbers[named("NL_down", label)] = Number(label_of(curves[1][:, k]))
        numbers[named("highest G", label)] = Number(float(g[:, k].max()), "S")
    return Shown(
        "potentiation and depression",
        f"{TRAIN} pulses of {device.v_set0:+g} V and as many of {-device.v_set0:+g} V, {si(width, 's')} each and as "
        f"long apart, on a nominal cell, its gate held; read before the next pulse. NL = 10.10 max |f(p) - p| "
        f"(NeuroSim).",
        [
            Panel(AXES[0], y, [Series(number, g[:, k], label, k, "both") for k, label in enumerate(labels)])
            for y in (AXES[1], Axis("conductance", "S", "log"))
        ],
        columns(
            gate_voltage_v=[v.expand(len(number)) for v in gates],
            pulse=[number] * len(gates),
            polarity=[polarity] * len(gates),
            conductance_s=list(g.T),
        ),
        numbers,
    )


def _number(value: float | tuple[float, ...]) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def _legend(what: str, numbers: Mapping[str, Number], name: str) -> str:
    value = numbers[name].value
    return what if value is None else f"{what}, NL = {value:.2f}"
