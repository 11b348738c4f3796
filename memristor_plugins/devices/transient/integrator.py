"""Integrates any transient model over any number of devices.

A step is `_step.step`: fourth order, exact for the part of an equation that is linear in the state, so stable at
any length. Every device sees the same grid of base steps, laid on the waveform's segments; where `tolerance` is
told, a device whose base step differs from two half steps by more, or takes a state too far or against a bound
(`_step.Watch`), is stepped again in halves, that device alone, as deep as it takes. So a switching event costs steps
of the device that switches and of no other, and a trajectory does not depend on which devices are simulated beside
it. Without `tolerance` the steps are fixed: least cost a step, no data-dependent work, for smooth problems and known
step sizes.

Devices are worked on in blocks, each through the whole waveform before the next: large enough that torch shares
every operation among its threads, small enough that a block's states stay in the processor's last cache. (Smaller
blocks on threads of their own are slower: they wait for the interpreter.) Nothing is kept of past steps unless traces
or gradients are asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from memristor_plugins.devices.transient._block import Block, Record, Segment
from memristor_plugins.devices.transient.waveform import Waveform
from memristor_plugins.errors import ConfigError, SimulationError
from memristor_plugins.interfaces.transient import Number, State, TransientModel, check_spread, check_state, clamp

BLOCK = 131072


@dataclass(frozen=True)
class Trajectory:
    """What a simulation gives; n recorded instants, devices of any shape.

    Args:
        final: state variables after the waveform, each of the devices' shape; start of a further simulation.
        energy: joules dissipated in each device, [*devices]; None unless asked for.
        time: seconds, [n] ([n, *devices] where durations differ); None unless recorded, as all below.
        v, v_gate: volts at these times, [n] or [n, *devices].
        current: amperes, [n, *devices].
        states: state variables by name, each [n, *devices].
        steps: device-steps taken, refinements included.
    """

    final: State
    energy: Tensor | None
    time: Tensor | None
    v: Tensor | None
    v_gate: Tensor | None
    current: Tensor | None
    states: Mapping[str, Tensor] | None
    steps: int


def simulate(
    model: TransientModel,
    waveform: Waveform,
    *,
    shape: torch.Size | tuple[int, ...] | None = None,
    state: State | None = None,
    dt: float | None = None,
    tolerance: float | None = 1e-6,
    record: Record = "none",
    energy: bool = False,
    cycle_spread: Mapping[str, float] | None = None,
    generator: Generator | None = None,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
    block: int = BLOCK,
) -> Trajectory:
    """State and current of memristors under voltages.

    Args:
        model: the memristors; its parameters may be tensors that broadcast to the devices.
        waveform: voltages over time, the same for all devices or not.
        shape: the devices' shape; what parameters, waveform and state broadcast to where None.
        state: state at the start, one tensor a variable; fresh devices where None.
        dt: length of base steps, seconds (each segment has a whole number of them); where None a ramp has one
            for each `model.volts_per_step` and a constant voltage has one.
        tolerance: greatest difference between a step and its two halves, over a state variable's range, before
            it is refined; None for fixed steps.
        record: traces at the end of every segment or of every base step, and at the start.
        energy: also integrate v i, with the same steps.
        cycle_spread: lognormal sigma of parameters that are drawn anew, about their own values, for each device
            at each cycle of the waveform (cycle to cycle variation). For that of device to device see
            `TransientModel.varied`.
        generator: draws cycle to cycle variation and the model's noise; needed where there is any. Samples depend on
            `block`.
        dtype, device: of the simulation. float32 has a resolution of about 1e-6 of a state's range.
        block: devices that are worked on together.

    Gradients flow to parameters, state and voltages where any of them asks for them; memory then grows with the
    steps.

    Raises:
        SimulationError: shapes that do not fit; a state that is no number or cannot be resolved to `tolerance`;
            variation without a generator.
        ConfigError: `dt`, `tolerance` or `block` out of range; an unknown name in `cycle_spread`.
    """
    _check(model, dt, tolerance, dtype, cycle_spread, block)
    wave = waveform.split_at_zero()
    size = _shape(model, wave, state, shape)
    count = math.prod(size)

    def flat(value: Number) -> Number:
        """A float or a scalar tensor as it is, else all devices in one dimension."""
        if not isinstance(value, Tensor):
            return value
        value = value.to(device=device, dtype=dtype)
        return value.expand(size).reshape(count) if value.dim() else value

    plan = _plan(model, wave, dt)
    segments = _segments(wave, plan, flat)
    parameters = {name: flat(value) for name, value in model.parameters.items()}
    begin: list[Number] | None = None
    if state is not None:
        check_state(state, model)
        begin = [flat(y) for y in state]
    if cycle_spread and generator is None:
        raise SimulationError("cycle to cycle variation needs a generator")

    def run(start: int) -> tuple[Block, State]:
        stop = min(start + block, count)

        def part(value: Number) -> Number:
            return value[..., start:stop] if isinstance(value, Tensor) and value.dim() else value

        few = model.with_parameters({name: part(value) for name, value in parameters.items()})
        source = few.start(few.parameters) if begin is None else tuple(part(y) for y in begin)
        first = tuple(torch.as_tensor(y, dtype=dtype, device=device).expand(stop - start) for y in source)
        if begin is None:
            # Variation may have put the start of a device beyond its ends.
            first = tuple(clamp(y, *ends) for y, ends in zip(first, few.bounds(few.parameters), strict=True))
        pieces = [segment.map(part) for segment in segments]
        work = Block(few, pieces, tolerance, record, energy, cycle_spread or {}, generator)
        return work, work.run(first)

    results = [run(start) for start in range(0, max(count, 1), block)]
    blocks = [work for work, _ in results]

    def whole(parts: Sequence[Tensor]) -> Tensor:
        joined = parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=-1)
        return joined.reshape((*joined.shape[:-1], *size))

    final = tuple(whole([last[i] for _, last in results]) for i in range(len(model.states)))
    joules = None
    if energy:
        joules = whole([torch.zeros_like(last[0]) + work.dissipated for work, last in results])
    steps = sum(work.steps for work in blocks)
    if record == "none":
        return Trajectory(final, joules, None, None, None, None, None, steps)
    time, v, v_gate = _instants(wave, plan, record)
    time, v, v_gate = (t.to(device=device, dtype=dtype) for t in (time, v, v_gate))
    return Trajectory(
        final,
        joules,
        time,
        v,
        v_gate,
        whole([torch.stack(work.currents) for work in blocks]),
        {
            name: whole([torch.stack([state[i] for state in work.states]) for work in blocks])
            for i, name in enumerate(model.states)
        },
        steps,
    )


def _segments(wave: Waveform, plan: Sequence[int], flat: Callable[[Number], Number]) -> list[Segment]:
    """The waveform's numbers: floats where devices share them and nothing asks for their gradient."""

    def numbers(t: Tensor) -> list[Number]:
        if t.dim() == 1 and not t.requires_grad:
            return list(t.tolist())
        return [flat(row) for row in t]

    def ends(v: Tensor) -> list[tuple[Number, Number]]:
        """Start and end of each segment, one object where they are the same: what it drives is computed once."""
        constant = [not v.requires_grad and torch.equal(*pair) for pair in v]
        pairs = zip(numbers(v[:, 0]), numbers(v[:, 1]), constant, strict=True)
        return [(a, a) if same else (a, b) for a, b, same in pairs]

    gate = torch.zeros(len(wave), 2, dtype=torch.float64) if wave.v_gate is None else wave.v_gate
    durations, v, v_gate, cycles = numbers(wave.duration), ends(wave.v), ends(gate), wave.cycles.tolist()
    return [Segment(durations[i], v[i], v_gate[i], cycles[i], plan[i]) for i in range(len(wave))]


def _instants(wave: Waveform, plan: Sequence[int], record: Record) -> tuple[Tensor, Tensor, Tensor]:
    """Time, voltage and gate voltage at the recorded instants, the start first."""
    gate = torch.zeros(len(wave), 2, dtype=torch.float64) if wave.v_gate is None else wave.v_gate.detach()
    duration, volts = wave.duration.detach(), wave.v.detach()
    begin = duration.cumsum(0) - duration
    times, v, v_gate = [begin[0]], [volts[0, 0]], [gate[0, 0]]
    for i, steps in enumerate(plan):
        places = [1.0] if record == "segments" else [(k + 1) / steps for k in range(steps)]
        for place in places:
            times.append(begin[i] + place * duration[i])
            v.append(torch.lerp(volts[i, 0], volts[i, 1], place))
            v_gate.append(torch.lerp(gate[i, 0], gate[i, 1], place))
    return torch.stack(times), torch.stack(v), torch.stack(v_gate)


def _check(
    model: TransientModel,
    dt: float | None,
    tolerance: float | None,
    dtype: torch.dtype,
    cycle_spread: Mapping[str, float] | None,
    block: int,
) -> None:
    if dt is not None and not (dt > 0 and math.isfinite(dt)):
        raise ConfigError("dt", f"must be positive, got {dt:g} s")
    floor = 4 * torch.finfo(dtype).eps
    if tolerance is not None and not tolerance >= floor:
        raise ConfigError("tolerance", f"must be at least {floor:.1g} in {dtype}, got {tolerance:g}")
    if block < 1:
        raise ConfigError("block", f"must be at least 1, got {block}")
    check_spread(model, cycle_spread or {}, "cycle_spread")


def _shape(
    model: TransientModel, wave: Waveform, state: State | None, shape: torch.Size | tuple[int, ...] | None
) -> torch.Size:
    """The devices' shape; SimulationError where something does not broadcast to it."""
    shapes = {name: value.shape for name, value in model.parameters.items() if isinstance(value, Tensor)}
    shapes["the waveform"] = wave.devices
    for name, y in zip(model.states, state or (), strict=False):
        shapes[f"state {name}"] = y.shape
    try:
        common = torch.broadcast_shapes(*shapes.values())
        size = torch.Size(common if shape is None else torch.broadcast_shapes(common, torch.Size(shape)))
    except RuntimeError:
        told = ", ".join(f"{name} {list(s)}" for name, s in shapes.items() if len(s))
        raise SimulationError(f"shapes do not fit each other or {list(shape or ())}: {told}") from None
    if shape is not None and size != torch.Size(shape):
        raise SimulationError(f"parameters, waveform or state of shape {list(common)} do not fit {list(shape)}")
    return size


def _plan(model: TransientModel, wave: Waveform, dt: float | None) -> list[int]:
    """Base steps of each segment; 0 for one without length."""
    longest = wave.duration.detach().flatten(1).amax(1) if wave.duration.dim() > 1 else wave.duration.detach()
    if dt is not None:
        counts = longest / dt
    else:
        travel = (wave.v.detach()[:, 1] - wave.v.detach()[:, 0]).abs().reshape(len(wave), -1).amax(1)
        counts = travel.to(longest) / model.volts_per_step
    # Rounding must not make eleven steps of ten.
    counts = (counts * (1 - 1e-9)).ceil().clamp_min(1)
    return torch.where(longest > 0, counts, 0.0).long().tolist()
