"""Voltage and gate waveforms: straight segments, one after another, with jumps allowed between them.

A waveform may be the same for all devices or differ from one to the next (amplitudes, durations): every tensor
has the segments first and then, optionally, dimensions that broadcast against the devices' shape.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from memristor_plugins.errors import SimulationError


@dataclass(frozen=True)
class Waveform:
    """Piecewise linear voltages over time.

    Args:
        duration: seconds of each segment, [segments] or [segments, *devices], >= 0.
        v: volts at start and end of each segment, [segments, 2] or [segments, 2, *devices].
        v_gate: gate volts, likewise; None: 0 V throughout.
        cycle: which cycle each segment belongs to, non-decreasing, [segments] integers: parameters that vary from
            cycle to cycle are drawn anew where it changes.

    Raises:
        SimulationError: shapes that do not fit together; negative or infinite durations; a voltage that is no number.
    """

    duration: Tensor
    v: Tensor
    v_gate: Tensor | None = None
    cycle: Tensor | None = None

    def __post_init__(self) -> None:
        if self.duration.dim() < 1:
            raise SimulationError("a waveform's durations must have a dimension of segments")
        count = self.duration.shape[0]
        for name, tensor in (("voltages", self.v), ("gate voltages", self.v_gate)):
            if tensor is not None and tuple(tensor.shape[:2]) != (count, 2):
                raise SimulationError(
                    f"a waveform's {name} must have shape [{count}, 2, *devices], got {list(tensor.shape)}"
                )
            if tensor is not None and not bool(torch.isfinite(tensor).all()):
                raise SimulationError(f"a waveform's {name} must be finite numbers")
        if not bool((torch.isfinite(self.duration) & (self.duration >= 0)).all()):
            raise SimulationError("a waveform's durations must be finite and not negative")
        if self.cycle is not None and tuple(self.cycle.shape) != (count,):
            raise SimulationError(f"a waveform's cycles must have shape [{count}], got {list(self.cycle.shape)}")

    def __len__(self) -> int:
        return self.duration.shape[0]

    @property
    def cycles(self) -> Tensor:
        """Cycle of each segment, [segments]; all 0 where none is told."""
        return torch.zeros(len(self), dtype=torch.long) if self.cycle is None else self.cycle

    @property
    def devices(self) -> torch.Size:
        """The shape that the waveform's own differences between devices broadcast to; () where there are none."""
        shapes = [self.duration.shape[1:], self.v.shape[2:]]
        if self.v_gate is not None:
            shapes.append(self.v_gate.shape[2:])
        return torch.Size(torch.broadcast_shapes(*shapes))

    def gated(self, v_gate: float | Tensor) -> Waveform:
        """The same waveform under a constant gate voltage, a float or a tensor of the devices' shape."""
        gate = torch.as_tensor(v_gate, dtype=self.v.dtype, device=self.v.device)
        return Waveform(self.duration, self.v, gate.expand(len(self), 2, *gate.shape), self.cycle)

    def then(self, other: Waveform) -> Waveform:
        """This waveform followed by another; the other's cycles count on from here."""
        gates = None
        if self.v_gate is not None or other.v_gate is not None:
            gates = _join(
                *(torch.zeros_like(w.v[(...,) + (0,) * (w.v.dim() - 2)]) if w.v_gate is None else w.v_gate
                  for w in (self, other)),
                fixed=2,
            )  # fmt: skip
        after = int(self.cycles.max()) + 1 if self.cycle is not None or other.cycle is not None else 0
        cycle = torch.cat((self.cycles, other.cycles + after)) if after else None
        return Waveform(_join(self.duration, other.duration, fixed=1), _join(self.v, other.v, fixed=2), gates, cycle)

    def repeat(self, cycles: int) -> Waveform:
        """The waveform `cycles` times, each of them a cycle of its own."""
        if cycles < 1:
            raise SimulationError(f"a waveform must be repeated at least once, got {cycles}")

        def again(t: Tensor) -> Tensor:
            return t.repeat(cycles, *[1] * (t.dim() - 1))

        gates = None if self.v_gate is None else again(self.v_gate)
        index = torch.arange(cycles).repeat_interleave(len(self))
        return Waveform(again(self.duration), again(self.v), gates, index)

    def split_at_zero(self) -> Waveform:
        """The same voltages with segments that cross 0 V cut there, where a cell's law may change.

        Only where voltages and durations are the same for all devices: no step may be cut for one device alone.
        """
        if self.v.dim() > 2 or self.duration.dim() > 1:
            return self
        start, end = self.v[:, 0], self.v[:, 1]
        crossing = start * end < 0
        if not bool(crossing.any()):
            return self
        at = torch.where(crossing, start / torch.where(crossing, start - end, torch.ones_like(start)), 1.0)
        keep = torch.stack((torch.ones_like(crossing), crossing), dim=1).flatten()

        def cut(ends: Tensor, middle: Tensor) -> Tensor:
            pairs = torch.stack((torch.stack((ends[:, 0], middle), 1), torch.stack((middle, ends[:, 1]), 1)), 1)
            return pairs.flatten(0, 1)[keep]

        duration = torch.stack((self.duration * at, self.duration * (1 - at)), 1).flatten()[keep]
        v = cut(self.v, torch.where(crossing, torch.zeros_like(end), end))
        gates = None
        if self.v_gate is not None:
            weight = at.reshape(-1, *[1] * (self.v_gate.dim() - 2))
            gates = cut(self.v_gate, torch.lerp(self.v_gate[:, 0], self.v_gate[:, 1], weight))
        return Waveform(duration, v, gates, None if self.cycle is None else self.cycle.repeat_interleave(2)[keep])


def _join(first: Tensor, second: Tensor, *, fixed: int) -> Tensor:
    """The two along the segments, their device dimensions (from `fixed` on) broadcast to each other."""
    shape = torch.broadcast_shapes(first.shape[fixed:], second.shape[fixed:])
    parts = []
    for t in (first, second):
        padded = t.reshape(*t.shape[:fixed], *[1] * (len(shape) - (t.dim() - fixed)), *t.shape[fixed:])
        parts.append(padded.expand(*t.shape[:fixed], *shape))
    return torch.cat(parts)


def _tensor(value: float | Tensor | Sequence[float]) -> Tensor:
    return value if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)


def table(
    times: Sequence[float] | Tensor,
    v: Sequence[float] | Tensor,
    v_gate: Sequence[float] | Tensor | None = None,
) -> Waveform:
    """The straight lines through a measured or written table.

    Args:
        times: seconds, [points], non-decreasing; two points at one time are a jump.
        v: volts at these times, [points] or [points, *devices].
        v_gate: gate volts, likewise.

    Raises:
        SimulationError: fewer than two points, or times that go backwards.
    """
    t, volts = _tensor(times), _tensor(v)
    if t.dim() != 1 or t.shape[0] < 2 or volts.shape[0] != t.shape[0]:
        raise SimulationError(
            f"a table needs two points or more, as many times as voltages; got {len(t)}, {len(volts)}"
        )
    duration = t.diff()
    if bool((duration < 0).any()):
        raise SimulationError(f"times of a waveform go backwards after point {int((duration < 0).nonzero()[0]) + 1}")
    # A jump is the gap between two segments and no segment of its own.
    real = duration > 0

    def ends(values: Tensor) -> Tensor:
        return torch.stack((values[:-1], values[1:]), dim=1)[real]

    return Waveform(duration[real], ends(volts), None if v_gate is None else ends(_tensor(v_gate)))


def hold(v: float | Tensor, seconds: float | Tensor) -> Waveform:
    """One segment at a constant voltage; either argument may be a tensor of the devices' shape."""
    volts = _tensor(v)
    return Waveform(_tensor(seconds)[None], torch.stack((volts, volts))[None])


def ramp(start: float, stop: float, rate: float) -> Waveform:
    """One segment from `start` to `stop` volts at `rate` volts a second (> 0)."""
    if not rate > 0:
        raise SimulationError(f"a ramp's rate must be positive, got {rate:g} V/s")
    return table([0.0, abs(stop - start) / rate], [start, stop])


def triangle(positive: float, negative: float, period: float, cycles: int = 1) -> Waveform:
    """Hysteresis sweeps 0 -> `positive` -> 0 -> `negative` -> 0 volts at one ramp rate, `period` seconds each.

    `positive` and `negative` are signed: `triangle(1.0, -1.2, 1e-3)`; either may come first with its sign swapped.
    """
    travel = 2 * (abs(positive) + abs(negative))
    if not (travel > 0 and period > 0):
        raise SimulationError("a triangle needs an amplitude and a positive period")
    corners = [0.0, positive, 0.0, negative, 0.0]
    times = [0.0]
    for a, b in itertools.pairwise(corners):
        times.append(times[-1] + abs(b - a) / travel * period)
    return table(times, corners).repeat(cycles)


def sine(amplitude: float, period: float, cycles: int = 1, points: int = 200) -> Waveform:
    """A sine of `points` (a multiple of 2, so that zeros fall on corners) straight segments a period."""
    if points < 4 or points % 2:
        raise SimulationError(f"a sine needs an even number of points, at least 4, got {points}")
    t = torch.arange(points + 1, dtype=torch.float64) / points
    v = amplitude * torch.sin(2 * math.pi * t)
    v[:: points // 2] = 0.0
    return table(t * period, v).repeat(cycles)


def pulses(
    amplitude: float | Tensor,
    width: float | Tensor,
    *,
    count: int = 1,
    gap: float = 0.0,
    v_read: float | None = None,
    read_time: float = 0.0,
) -> Waveform:
    """`count` rectangular pulses, each followed by `gap` seconds at 0 V and, where `v_read` is told, a read.

    Args:
        amplitude, width: volts and seconds; floats, or tensors of the devices' shape (per-cell pulses).
        count: number of pulses; each is a cycle.
        gap: seconds at 0 V after each pulse.
        v_read, read_time: voltage and seconds of a read after each gap.
    """
    waveform = hold(amplitude, width)
    if gap > 0:
        waveform = waveform.then(hold(0.0, gap))
    if v_read is not None:
        waveform = waveform.then(hold(v_read, read_time))
    return Waveform(waveform.duration, waveform.v).repeat(count)
