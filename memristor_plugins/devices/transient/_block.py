"""One block of devices through a whole waveform: base steps, refinement, cycles, noise, traces, energy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Generator, Tensor

from memristor_plugins.devices.transient._step import Drive, Law, Watch, step
from memristor_plugins.errors import SimulationError
from memristor_plugins.interfaces.transient import Number, State, TransientModel, clamp

TICKS = 2**31  # a base step is halved until 1 of these is left, then the solution is given up
# Where in a segment its ends are evaluated: a law that jumps at 0 V is that of the segment's own side.
EDGE = 1e-9

Node = tuple[Number, Drive]  # voltage, and what it drives
Quarters = tuple[Node, Node, Node, Node, Node]  # start, middle and end of both halves of a step
Record = Literal["none", "segments", "steps"]


@dataclass(frozen=True)
class Segment:
    """One straight piece of a waveform, floats or one number a device of the block.

    Args:
        duration: seconds.
        v, v_gate: volts at its start and end, the same object where constant.
        cycle: the cycle that it belongs to.
        steps: base steps, 0 for a segment without length.
    """

    duration: Number
    v: tuple[Number, Number]
    v_gate: tuple[Number, Number]
    cycle: int
    steps: int

    def map(self, f: Callable[[Number], Number]) -> Segment:
        """The segment for some of its devices."""

        def ends(pair: tuple[Number, Number]) -> tuple[Number, Number]:
            start = f(pair[0])
            return start, start if pair[1] is pair[0] else f(pair[1])

        return Segment(f(self.duration), ends(self.v), ends(self.v_gate), self.cycle, self.steps)

    def at(self, place: Number) -> tuple[Number, Number]:
        """Voltage and gate voltage at a place between 0, the start, and 1, the end."""
        (a, b), (c, d) = self.v, self.v_gate
        return _between(a, b, place), _between(c, d, place)


def _between(a: Number, b: Number, place: Number) -> Number:
    return a if a is b else (1 - place) * a + place * b


def _pick(value: Number, index: Tensor) -> Number:
    """What holds for some of the devices."""
    return value.index_select(0, index) if isinstance(value, Tensor) and value.dim() else value


def _row(value: Number, j: int) -> Number:
    """What holds at one of several instants, [instants, devices]."""
    return value[j] if isinstance(value, Tensor) and value.dim() == 2 else value


@dataclass
class Block:
    """The state of a run; `run` may be called once.

    Args:
        model: the model with the parameters of these devices, floats or [devices].
        tolerance, record, energy, cycle_spread: as of `simulate`.
        generator: shared with the other blocks.
    """

    model: TransientModel
    segments: list[Segment]
    tolerance: float | None
    record: Record
    energy: bool
    cycle_spread: Mapping[str, float]
    generator: Generator | None

    def __post_init__(self) -> None:
        self.currents: list[Tensor] = []
        self.states: list[State] = []
        self.dissipated: Tensor | float = 0.0
        self.steps = 0

    def run(self, state: State) -> State:
        """Takes `state` through the waveform; what was asked for is then in the attributes."""
        law, cycle = self._law(state[0], self.segments[0].cycle if self.segments else 0), None
        for segment in self.segments:
            if cycle not in (None, segment.cycle) and self.cycle_spread:
                law = self._law(state[0], segment.cycle)
            if cycle is None:
                self._note(law, state, segment, 0.0)
            cycle = segment.cycle
            state = self._through(law, state, segment)
            if self.record == "segments":
                self._note(law, state, segment, 1.0)
        if not all(bool(torch.isfinite(y).all()) for y in state):
            raise SimulationError(f"{type(self.model).__name__}: a state is no longer a number; take shorter steps")
        return state

    def _law(self, like: Tensor, cycle: int) -> Law:
        """The equations with this cycle's parameters."""
        values = dict(self.model.parameters)
        for name, sigma in self.cycle_spread.items():
            values[name] = values[name] * torch.exp(sigma * self._normal(like))
        return Law(self.model, self.model.prepare(values), self.model.bounds(values))

    def _normal(self, like: Tensor) -> Tensor:
        assert self.generator is not None  # `simulate` and `_shaken` have seen to it
        return torch.randn(like.shape, generator=self.generator, device=self.generator.device).to(like)

    def _node(self, law: Law, segment: Segment, place: float) -> Node:
        v, v_gate = segment.at(place)
        return v, self.model.drive(v, v_gate, law.p)

    def _note(self, law: Law, state: State, segment: Segment, place: float) -> None:
        if self.record != "none":
            drive = self._node(law, segment, place)[1]
            self.currents.append(torch.zeros_like(state[0]) + self.model.current_of(state, drive, law.p))
            self.states.append(state)

    def _through(self, law: Law, state: State, segment: Segment) -> State:
        n = segment.steps
        if n == 0:
            return state
        h = segment.duration / n
        flat = segment.v[0] is segment.v[1] and segment.v_gate[0] is segment.v_gate[1]
        start = self._node(law, segment, EDGE / n)
        for k in range(n):
            middle = start if flat else self._node(law, segment, (k + 0.5) / n)
            end = start if flat else self._node(law, segment, (k + 1) / n if k + 1 < n else 1 - EDGE / n)
            if self.tolerance is None:
                state = self._fixed(law, state, (start, middle, end), h)
            else:
                early, late = (start if flat else self._node(law, segment, (k + f) / n) for f in (0.25, 0.75))
                after, joules, rough = self._attempt(law, state, (start, early, middle, late, end), h)
                if bool(rough.any()):
                    after, joules = self._refined(law, state, after, joules, segment, k, rough)
                state, self.dissipated = after, self.dissipated + joules
            state = self._shaken(law, state, end[1], h)
            start = end
            if self.record == "steps":
                self._note(law, state, segment, (k + 1) / n)
        return state

    def _fixed(self, law: Law, state: State, nodes: tuple[Node, Node, Node], h: Number) -> State:
        after, middle = step(law, state, (nodes[0][1], nodes[1][1], nodes[2][1]), h)
        self.steps += state[0].numel()
        if self.energy:
            self.dissipated = self.dissipated + self._joules(law, (state, middle, after), nodes, h)
        return after

    def _attempt(self, law: Law, state: State, nodes: Quarters, h: Number) -> tuple[State, Tensor | float, Tensor]:
        """Two half steps, their dissipated energy, and for which devices a whole step differs from them too much."""
        assert self.tolerance is not None
        start, early, middle, late, end = nodes
        watch = Watch(self.tolerance)
        whole = step(law, state, (start[1], middle[1], end[1]), h)[0]
        half, first = step(law, state, (start[1], early[1], middle[1]), 0.5 * h, watch)
        after, second = step(law, half, (middle[1], late[1], end[1]), 0.5 * h, watch)
        self.steps += 2 * state[0].numel()
        joules: Tensor | float = 0.0
        if self.energy:
            joules = self._joules(law, (state, first, half), (start, early, middle), 0.5 * h)
            joules = joules + self._joules(law, (half, second, after), (middle, late, end), 0.5 * h)
        assert watch.bad is not None
        return after, joules, _rough(law, whole, after, self.tolerance) | watch.bad

    def _refined(
        self, law: Law, state: State, after: State, joules: Tensor | float, segment: Segment, k: int, rough: Tensor
    ) -> tuple[State, Tensor | float]:
        """Base step `k` once more for the `rough` devices: `after` and `joules` with theirs replaced.

        Steps of a device halve until they are fine and grow back as soon as they are aligned, to the longest binary
        fraction of the base step that divides the way gone: all devices take their next step together, each a step
        of its own.
        """
        index = rough.nonzero().squeeze(1)
        law, segment = law.map(partial(_pick, index=index)), segment.map(partial(_pick, index=index))
        state = tuple(y.index_select(0, index) for y in state)
        spent: Tensor | float = torch.zeros_like(state[0]) if self.energy else 0.0
        # In ticks of the base step, whose binary fractions are whole numbers.
        at, length = torch.zeros_like(index), torch.full_like(index, TICKS // 2)
        while len(index):
            h = (length.double() / TICKS).to(state[0]) * (segment.duration / segment.steps)
            found, more, rough = self._attempt(law, state, self._nodes(law, segment, k, at, length, state[0]), h)
            if bool((rough & (length == 1)).any()):
                raise SimulationError(
                    f"{type(self.model).__name__}: steps of {float(h.max()):.2g} s do not reach a "
                    f"tolerance of {self.tolerance:g}; raise it, or simulate in float64"
                )
            state = tuple(torch.where(rough, y, new) for y, new in zip(state, found, strict=True))
            if self.energy:
                spent = spent + torch.where(rough, 0.0, torch.as_tensor(more))
            at = torch.where(rough, at, at + length)
            length = torch.where(rough, length // 2, at & -at)
            gone = at == TICKS
            if bool(gone.any()):
                there, left = gone.nonzero().squeeze(1), (~gone).nonzero().squeeze(1)
                done = index.index_select(0, there)
                after = tuple(
                    y.index_copy(0, done, new.index_select(0, there)) for y, new in zip(after, state, strict=True)
                )
                if isinstance(joules, Tensor) and isinstance(spent, Tensor):
                    joules = joules.index_copy(0, done, spent.index_select(0, there))
                    spent = spent.index_select(0, left)
                law, segment = law.map(partial(_pick, index=left)), segment.map(partial(_pick, index=left))
                state = tuple(y.index_select(0, left) for y in state)
                index, at, length = (t.index_select(0, left) for t in (index, at, length))
        return after, joules

    def _nodes(self, law: Law, segment: Segment, k: int, at: Tensor, length: Tensor, like: Tensor) -> Quarters:
        """The five nodes of each device's step: `at` and `length` in ticks of base step `k`."""
        n = segment.steps
        if bool(((at == at[0]) & (length == length[0])).all()):
            # All take the same: a voltage that they share stays a float.
            begin, way = int(at[0]), int(length[0])
            start, early, middle, late, end = (
                self._node(law, segment, min(max((k + (begin + f * way) / TICKS) / n, EDGE / n), 1 - EDGE / n))
                for f in (0.0, 0.25, 0.5, 0.75, 1.0)
            )
            return start, early, middle, late, end
        quarters = torch.arange(5, dtype=torch.float64, device=at.device)[:, None] / 4
        places = ((k + (at + quarters * length) / TICKS) / n).clamp(EDGE / n, 1 - EDGE / n)
        v, v_gate = (x.to(like) if isinstance(x, Tensor) else x for x in segment.at(places))
        drive = self.model.drive(v, v_gate, law.p)
        if not any(isinstance(x, Tensor) and x.dim() == 2 for x in (v, v_gate)):
            return ((v, drive),) * 5
        first, second, third, fourth, fifth = (
            (_row(v, j), {name: _row(value, j) for name, value in drive.items()}) for j in range(5)
        )
        return first, second, third, fourth, fifth

    def _joules(
        self, law: Law, states: tuple[State, State, State], nodes: tuple[Node, Node, Node], h: Number
    ) -> Tensor:
        """Simpson's rule for v i."""
        watts = [
            v * self.model.current_of(state, drive, law.p) for state, (v, drive) in zip(states, nodes, strict=True)
        ]
        return (watts[0] + 4 * watts[1] + watts[2]) * (h / 6)

    def _shaken(self, law: Law, state: State, drive: Drive, h: Number) -> State:
        """The model's noise, Euler-Maruyama: strength sqrt(h) z, z standard normal, after every base step."""
        strength = self.model.diffusion(state, drive, law.p)
        if strength is None:
            return state
        if self.generator is None:
            raise SimulationError(f"{type(self.model).__name__} has state noise, which needs a generator")
        root = h**0.5
        return tuple(
            y if s is None else clamp(y + s * root * self._normal(y), low, high)
            for y, s, (low, high) in zip(state, strength, law.bounds, strict=True)
        )


def _rough(law: Law, whole: State, halves: State, tolerance: float) -> Tensor:
    """Where two solutions differ by more than `tolerance` of a state variable's range, or are no numbers."""
    fine = torch.ones_like(halves[0], dtype=torch.bool)
    for a, b, (low, high) in zip(whole, halves, law.bounds, strict=True):
        fine = fine & ((a.detach() - b.detach()).abs() <= tolerance * (high - low))
    return ~fine
