"""One block of devices through a whole waveform: base steps, refinement, cycles, noise, traces, energy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor

from memristor_plugins.devices.transient._step import Drive, Law, Watch, step
from memristor_plugins.errors import SimulationError
from memristor_plugins.interfaces.transient import Number, State, TransientModel, clamp

DEEPEST = 30  # halvings of a base step before the solution is given up
# Where in a segment its ends are evaluated: a law that jumps at 0 V is that of the segment's own side.
EDGE = 1e-9

Node = tuple[Number, Drive]  # voltage, and what it drives
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

    def at(self, place: float) -> tuple[Number, Number]:
        """Voltage and gate voltage at a place between 0, the start, and 1, the end."""
        (a, b), (c, d) = self.v, self.v_gate
        return _between(a, b, place), _between(c, d, place)


def _between(a: Number, b: Number, place: float) -> Number:
    return a if a is b else (1 - place) * a + place * b


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
                whole = step(law, state, (start[1], middle[1], end[1]), h)[0]
                place = (k / n, (k + 1) / n)
                state, joules = self._refined(law, state, whole, segment, place, (start, middle, end), h, 0)
                self.dissipated = self.dissipated + joules
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

    def _refined(
        self,
        law: Law,
        state: State,
        whole: State,
        segment: Segment,
        place: tuple[float, float],
        nodes: tuple[Node, Node, Node],
        h: Number,
        depth: int,
    ) -> tuple[State, Tensor | float]:
        """Two half steps, and further halves for the devices for which they differ too much from `whole`."""
        assert self.tolerance is not None
        start, middle, end = nodes
        if start is middle:
            early, late = start, start
        else:
            early, late = (self._node(law, segment, place[0] + f * (place[1] - place[0])) for f in (0.25, 0.75))
        watch = Watch(self.tolerance)
        half, first = step(law, state, (start[1], early[1], middle[1]), 0.5 * h, watch)
        after, second = step(law, half, (middle[1], late[1], end[1]), 0.5 * h, watch)
        self.steps += 2 * state[0].numel()
        joules: Tensor | float = 0.0
        if self.energy:
            joules = self._joules(law, (state, first, half), (start, early, middle), 0.5 * h)
            joules = joules + self._joules(law, (half, second, after), (middle, late, end), 0.5 * h)
        rough = _rough(law, whole, after, self.tolerance)
        if watch.bad is not None:
            rough = rough | watch.bad
        if not bool(rough.any()):
            return after, joules
        if depth == DEEPEST:
            raise SimulationError(
                f"{type(self.model).__name__}: steps of {float(torch.as_tensor(h).max()):.2g} s do not reach a "
                f"tolerance of {self.tolerance:g}; raise it, or simulate in float64"
            )
        if bool(rough.all()):
            return self._halves(law, state, half, segment, place, nodes, (early, late), h, depth)
        index = rough.nonzero().squeeze(1)

        def pick(value: Number) -> Number:
            return value.index_select(0, index) if isinstance(value, Tensor) and value.dim() else value

        def pick_node(node: Node) -> Node:
            return pick(node[0]), {name: pick(value) for name, value in node[1].items()}

        few = Law(
            self.model,
            {name: pick(value) for name, value in law.p.items()},
            tuple((pick(low), pick(high)) for low, high in law.bounds),
        )
        picked = pick_node(start), pick_node(middle), pick_node(end)
        if start is middle:
            picked = (picked[0],) * 3
        better, more = self._halves(
            few,
            tuple(y.index_select(0, index) for y in state),
            tuple(y.index_select(0, index) for y in half),
            segment.map(pick),
            place,
            picked,
            (pick_node(early), pick_node(late)) if start is not middle else (picked[0],) * 2,
            pick(h),
            depth,
        )
        if isinstance(joules, Tensor):
            joules = joules.index_copy(0, index, torch.as_tensor(more).to(joules))
        return tuple(y.index_copy(0, index, b) for y, b in zip(after, better, strict=True)), joules

    def _halves(
        self,
        law: Law,
        state: State,
        half: State,
        segment: Segment,
        place: tuple[float, float],
        nodes: tuple[Node, Node, Node],
        quarters: tuple[Node, Node],
        h: Number,
        depth: int,
    ) -> tuple[State, Tensor | float]:
        """The two halves of a step, each refined. `half` is the first half taken as one step."""
        (start, middle, end), (early, late), cut = nodes, quarters, (place[0] + place[1]) / 2
        state, joules = self._refined(
            law, state, half, segment, (place[0], cut), (start, early, middle), 0.5 * h, depth + 1
        )
        whole = step(law, state, (middle[1], late[1], end[1]), 0.5 * h)[0]
        state, more = self._refined(
            law, state, whole, segment, (cut, place[1]), (middle, late, end), 0.5 * h, depth + 1
        )
        return state, joules + more

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
