"""Hysteresis sweeps of a transient model: how far and how fast, and where the conductance switches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from memristor_plugins.devices._transient_cell import TransientCell
from memristor_plugins.devices.adaptive_2d import Adaptive2D
from memristor_plugins.devices.transient import Waveform, simulate, triangle
from memristor_plugins.errors import SimulationError
from memristor_plugins.interfaces.device import Device
from memristor_plugins.interfaces.transient import State, TransientModel

POINTS = 400  # base steps of a cycle
ATTEMPTS = 16
BATCH = 4  # of them at once
FINE = 32  # steps of the one in which a cell switches
TOLERANCE = 1e-4  # of a state's range; moves a voltage by less than 20 uV against 1e-6, at a third of the cost


@dataclass(frozen=True)
class Sweep:
    """0 -> positive -> 0 -> negative -> 0 volts at one ramp rate; the second of two such cycles is looked at.

    Args:
        positive, negative: volts, > 0 and < 0.
        period: seconds of a cycle.
        set_level, reset_level: conductances at the read voltage, siemens, whose crossing upwards and downwards is
            called set and reset.
    """

    positive: float
    negative: float
    period: float
    set_level: float
    reset_level: float

    @property
    def rate(self) -> float:
        """Volts a second."""
        return 2 * (self.positive - self.negative) / self.period

    @property
    def ramp(self) -> str:
        """The rate as people read it: "18 kV/s"."""
        factor, prefix = next(((f, p) for f, p in ((1e6, "M"), (1e3, "k")) if self.rate >= f), (1.0, ""))
        return f"{self.rate / factor:.3g} {prefix}V/s"


class Loop(NamedTuple):
    """One cycle.

    Args:
        time: seconds, of a nominal cell, [points].
        v: volts, [points].
        current, conductance: amperes and siemens, [points, *devices].
        states: state variables, each [points, *devices].
    """

    time: Tensor
    v: Tensor
    current: Tensor
    conductance: Tensor
    states: State


@dataclass(frozen=True)
class Cells:
    """What is swept.

    Args:
        model: its parameters may be tensors that broadcast with the gates.
        gates: gate volts, held throughout, of the devices' shape or broadcasting to it; None: 0 V.
        speeds: how much faster each cell moves at positive and at negative voltage, [cells] each; None: nominal.
    """

    model: TransientModel
    gates: Tensor | None = None
    speeds: tuple[Tensor, Tensor] | None = None

    def waveform(self, sweep: Sweep) -> Waveform:
        """Two cycles."""
        wave = triangle(sweep.positive, sweep.negative, sweep.period, 2)
        if self.speeds is not None:
            # Rates hold no time of their own: a cell that is m times as fast is one that is given m times as long.
            up, down = (s.double() for s in self.speeds)
            wave = Waveform(wave.duration[:, None] * torch.stack((up, up, down, down)).repeat(2, 1), wave.v)
        return wave if self.gates is None else wave.gated(self.gates)

    def conductance(self, states: State) -> Tensor:
        """Siemens at the read voltage, under the gate."""
        return self.model.conductance(states, v_gate=0.0 if self.gates is None else self.gates)


def run(cells: Cells, sweep: Sweep) -> Loop:
    """The second cycle of a sweep."""
    wave = cells.waveform(sweep)
    longest = float(wave.duration.max()) / (sweep.period / 4)
    dt = sweep.period / POINTS * max(longest, 1.0)
    shape = (1,) if wave.devices == () else None
    track = simulate(cells.model, wave, shape=shape, dt=dt, tolerance=TOLERANCE, record="steps")
    assert track.current is not None
    assert track.states is not None
    assert track.v is not None
    count = (len(track.v) - 1) // 2
    v, states = track.v[count:], tuple(y[count:] for y in track.states.values())
    travel = torch.cat((v.new_zeros(1), v.diff().abs().cumsum(0)))
    return Loop(travel / sweep.rate, v, track.current[count:], cells.conductance(states), states)


def voltages(cells: Cells, sweep: Sweep, loop: Loop) -> tuple[Tensor, Tensor]:
    """(set, reset) voltages of the devices, each [*devices]; nan where there are none."""
    v_set = _switched(cells, sweep, loop, sweep.set_level, rising=True)
    return v_set, _switched(cells, sweep, loop, sweep.reset_level, rising=False)


def _switched(cells: Cells, sweep: Sweep, loop: Loop, level: float, *, rising: bool) -> Tensor:
    """Voltage of a crossing, told from the step in which it lies, gone through again in finer ones.

    A cell may switch within a millivolt, which is a single step of the loop.
    """
    coarse = crossing(loop.v, loop.conductance, level, rising=rising)
    _, first = _hit(loop.conductance, level, rising=rising)
    begin, end = loop.v[first], loop.v[first + 1]
    duration = (end - begin).abs() / sweep.rate
    if cells.speeds is not None:
        up, down = (s.double() for s in cells.speeds)
        duration = duration * torch.where(begin + end > 0, up, down)
    gates = None if cells.gates is None else cells.gates.expand(1, 2, *begin.shape)
    wave = Waveform(duration[None], torch.stack((begin, end))[None], gates)
    state = tuple(y.gather(0, first[None])[0] for y in loop.states)
    dt = float(duration.max()) / FINE
    track = simulate(cells.model, wave, state=state, dt=dt, tolerance=TOLERANCE, record="steps")
    assert track.states is not None
    assert track.v is not None
    fine = crossing(track.v, cells.conductance(tuple(track.states.values())), level, rising=rising)
    # Finer steps may end on the other side of the level by as little as they differ.
    return torch.where(torch.isfinite(fine) & torch.isfinite(coarse), fine, coarse)


def crossing(v: Tensor, g: Tensor, level: float, *, rising: bool) -> Tensor:
    """Voltage of each device's first crossing of `level` siemens, [*devices]; nan where there is none.

    Args:
        v: volts, [points] or [points, *devices].
        g: siemens, [points, *devices], interpolated in its logarithm.
        level: siemens, > 0.
        rising: upwards or downwards.
    """
    hit, first = _hit(g, level, rising=rising)
    height = (g.clamp_min(1e-30) / level).log()
    volts = v.reshape(len(v), *v.shape[1:], *[1] * (g.dim() - v.dim())).expand(g.shape)
    a, b, start, stop = (x.gather(0, k[None])[0] for x in (height, volts) for k in (first, first + 1))
    return torch.where(hit, torch.lerp(start, stop, a / (a - b)), math.nan)


def _hit(g: Tensor, level: float, *, rising: bool) -> tuple[Tensor, Tensor]:
    """(whether a device crosses the level, the point before its first crossing), each [*devices]."""
    above = g >= level if rising else g <= level
    hit = ~above[:-1] & above[1:]
    return hit.any(0), hit.to(torch.int8).argmax(0)


def gates(device: Device, count: int) -> Tensor:
    """`count` gate voltages across the gate range, ascending; 0 V alone where there is no gate."""
    if not device.gated:
        return torch.zeros(1, dtype=torch.float64)
    low, high = sorted(device.gate_range)
    return torch.linspace(low, high, count, dtype=torch.float64)


def plan(device: Device, model: TransientModel) -> Sweep | None:
    """A sweep that takes a nominal cell through its range; None: none was found."""
    if isinstance(device, Adaptive2D):
        return _gated(device, model)
    if isinstance(device, TransientCell):
        return _cell(device)
    return None


def _gated(device: Adaptive2D, model: TransientModel) -> Sweep | None:
    """The ramp rate that its set voltage is told of, as far as it takes to set at every gate voltage."""
    reach = 2 * device.v_set0
    # 1 and 0.1 uS of a filament of 20 uS: the levels that the behavioural model tells its voltages of.
    sweep = Sweep(reach, -reach, 4 * reach / device.ramp, device.g_on0 / 20, device.g_on0 / 200)
    for _ in range(ATTEMPTS):
        loop = run(Cells(model, gates(device, 3)), sweep)
        if bool(torch.isfinite(crossing(loop.v, loop.conductance, sweep.set_level, rising=True)).all()):
            return sweep
        reach *= 1.1
        sweep = replace(sweep, positive=reach, negative=-reach, period=4 * reach / device.ramp)
    return None


def _cell(device: TransientCell) -> Sweep | None:
    """Between the voltages of its pulses, as fast as it still crosses nine tenths of its range."""
    positive, negative = max(device.pulse_voltage), min(device.pulse_voltage)
    if not negative < 0 < positive:
        return None
    low, high = device.bounds
    whole = torch.ones((), dtype=torch.float64)
    times = [
        float(device.pulses_at(whole, up=up)) * width
        for up, width in zip((True, False), device.pulse_width, strict=True)
    ]
    base = Sweep(positive, negative, 0.5 * sum(times), 0.0, 0.0)
    best, most = None, 0.5
    for k in range(0, ATTEMPTS, BATCH):
        factors = [2.0**j for j in range(k, k + BATCH)]
        for factor, loop in zip(factors, _slower(device.model, base, factors), strict=False):
            # On the way out: what only switches while the voltage returns tells little of a voltage.
            ends = loop.conductance[loop.v.argmax()], loop.conductance[loop.v.argmin()]
            covered = abs(float(ends[0] - ends[1])) / (high - low)
            if covered > most * 1.01:
                level = math.sqrt(float(loop.conductance.min() * loop.conductance.max()))
                best, most = replace(base, period=factor * base.period, set_level=level, reset_level=level), covered
            if covered >= 0.9:
                return best
    return best


def _slower(model: TransientModel, sweep: Sweep, factors: Sequence[float]) -> list[Loop]:
    """Loops of sweeps that take so many times as long, at once; ends before those too long for a stiff model."""
    speeds = torch.tensor(factors, dtype=torch.float64)
    try:
        loop = run(Cells(model, None, (speeds, speeds)), sweep)
    except SimulationError:
        half = len(factors) // 2
        first = _slower(model, sweep, factors[:half]) if half else []
        return first + (_slower(model, sweep, factors[half:]) if half and len(first) == half else [])
    return [
        Loop(loop.time, loop.v, loop.current[:, i], loop.conductance[:, i], tuple(y[:, i] for y in loop.states))
        for i in range(len(factors))
    ]
