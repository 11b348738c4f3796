"""Integrates any transient model over any number of devices.

A step is `_step.step`: fourth order, exact for the part of an equation that is linear in the state, so stable at
any length. Every device sees the same grid of base steps, laid on the waveform's segments; where `tolerance` is
told, a device whose base step differs from two half steps by more is stepped again in halves, that device alone,
as deep as it takes. So a switching event costs steps of the device that switches and of no other, and a
trajectory does not depend on which devices are simulated beside it. Without `tolerance` the steps are fixed:
least cost a step, no data-dependent work, for smooth problems and known step sizes.

Devices are worked on in blocks that stay in the processor's cache, on as many threads as torch has; a block runs
through the whole waveform before the next. Nothing is kept of past steps unless traces or gradients are asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from memristor_plugins.devices.transient._block import Block, Record, Segment
from memristor_plugins.devices.transient.waveform import Waveform
from memristor_plugins.errors import ConfigError, SimulationError, nearest
from memristor_plugins.interfaces.transient import Number, State, TransientModel, check_state

BLOCK = 16384  # devices whose dozen or so temporaries fit a core's cache


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
            at each cycle of the waveform (cycle to cycle variation).
        generator: draws cycle to cycle variation and the model's noise; needed where there is any. A block of
            devices has a stream of its own, so that samples depend on `block` and not on the number of threads.
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
    needs_grad = torch.is_grad_enabled() and any(
        isinstance(t, Tensor) and t.requires_grad
        for t in (*parameters.values(), *(state or ()), wave.v, wave.v_gate, wave.duration)
    )
    starts = list(range(0, count, block)) if count else [0]
    seeds: list[int | None] = [None] * len(starts)
    if generator is not None:
        drawn = torch.randint(2**62, (len(starts),), generator=generator, device=generator.device)
        seeds = [int(seed) for seed in drawn.tolist()]
    elif cycle_spread:
        raise SimulationError("cycle to cycle variation needs a generator")

    def run(start: int, seed: int | None) -> tuple[Block, State]:
        stop = min(start + block, count)

        def part(value: Number) -> Number:
            return value[..., start:stop] if isinstance(value, Tensor) and value.dim() else value

        few = model.with_parameters({name: part(value) for name, value in parameters.items()})
        source = few.start(few.parameters) if begin is None else tuple(part(y) for y in begin)
        first = tuple(torch.as_tensor(y, dtype=dtype, device=device).expand(stop - start) for y in source)
        own = None if seed is None else Generator(device=device).manual_seed(seed)
        pieces = [segment.map(part) for segment in segments]
        work = Block(few, pieces, tolerance, record, energy, cycle_spread or {}, own)
        # Threads do not inherit the mode of the one that starts them.
        with torch.set_grad_enabled(needs_grad):
            return work, work.run(first)

    workers = min(torch.get_num_threads(), len(starts))
    if workers > 1 and not needs_grad and torch.device(device).type == "cpu":
        with ThreadPoolExecutor(workers) as pool:
            results = list(pool.map(run, starts, seeds))
    else:
        results = [run(start, seed) for start, seed in zip(starts, seeds, strict=True)]
    blocks = [work for work, _ in results]

    def whole(parts: Sequence[Tensor]) -> Tensor:
        joined = parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=-1)
        return joined.reshape(*joined.shape[:-1], *size)

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

    durations, cycles = numbers(wave.duration), wave.cycles.tolist()
    starts, ends = numbers(wave.v[:, 0]), numbers(wave.v[:, 1])
    gate = torch.zeros(len(wave), 2, dtype=torch.float64) if wave.v_gate is None else wave.v_gate
    gate_starts, gate_ends = numbers(gate[:, 0]), numbers(gate[:, 1])
    return [
        Segment(durations[i], (starts[i], ends[i]), (gate_starts[i], gate_ends[i]), cycles[i], plan[i])
        for i in range(len(wave))
    ]


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
    for name in cycle_spread or {}:
        if name not in model.parameters:
            raise ConfigError(f"cycle_spread.{name}", f"no such parameter; {nearest(name, model.parameters)}")


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
