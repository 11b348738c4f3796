"""Checks of a device."""

from __future__ import annotations

import torch
from torch import Tensor

from memristor_plugins import registry
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.errors import SimulationError
from memristor_plugins.interfaces.device import CellState, Device
from memristor_plugins.interfaces.nonideality import NonIdeality
from memristor_plugins.nonidealities.drift import Drift
from memristor_plugins.nonidealities.programming import Programming
from memristor_plugins.nonidealities.read_noise import ReadNoise
from memristor_plugins.testing._core import CheckSkipped, Subject, check, expect
from memristor_plugins.testing._samples import (
    HOUR,
    SIGMAS,
    array_mapping,
    copied,
    deviation_interval,
    middle,
    same,
    seeded,
    small,
    targets,
    tensors,
    train_one_batch,
)

COUNT = 20000


def known_times(device: Device, state: CellState, seconds: tuple[float, ...]) -> list[float]:
    """Those of the times that the device does not refuse as unmeasured; 0 and an hour must be among them."""
    known = []
    for t in seconds:
        try:
            device.conductance(state, t)
        except SimulationError:
            expect(t not in (0.0, HOUR), f"knows no conductance after {t:g} s, which every evaluation asks for")
        else:
            known.append(t)
    return known


@check("device")
def operating_range(subject: Subject) -> None:
    """0 <= g_min < g_max; read voltage, read time and levels are possible"""
    device: Device = subject.instance
    expect(
        0 <= device.g_min < device.g_max < 1, f"needs 0 <= g_min < g_max < 1 S, got {device.g_min} and {device.g_max}"
    )
    expect(0 < device.read_voltage < 100, f"read_voltage must be positive, in volts, got {device.read_voltage}")
    expect(0 < device.read_time < 1, f"read_time must be positive, in seconds, got {device.read_time}")
    expect(device.levels is None or device.levels >= 2, f"levels must be None or at least 2, got {device.levels}")
    spans = ("multiply", "image", "evaluation")
    expect(device.read_correlation in spans, f"read_correlation must be one of {', '.join(spans)}")


@check("device")
def shapes_and_dtypes(subject: Subject) -> None:
    """Every method keeps shape and dtype of what it is given, scalars and empty tensors too"""
    device: Device = subject.instance
    for dtype in (torch.float32, torch.float64):
        for shape in ((), (0,), (5,), (2, 3, 4)):
            target = targets(device, *shape, dtype=dtype)
            cells = device.fabricate(shape, generator=seeded(1))
            for name, constant in cells.constants.items():
                fits = torch.broadcast_shapes(constant.shape, shape) == torch.Size(shape)
                expect(fits, f"fabricate: constant '{name}' has shape {tuple(constant.shape)}, cells {shape}")
                expect(constant.dtype != torch.float64, f"fabricate: constant '{name}' is float64; chips are float32")
            state = device.program(target, generator=seeded(2))
            g = device.conductance(state, HOUR)
            volts = torch.full(shape, device.read_voltage, dtype=dtype)
            found: dict[str, Tensor | None] = {
                "program().g": state.g,
                "program().target": state.target,
                "hold().g": device.hold(target, generator=seeded(2)).g,
                "conductance()": g,
                "read_std()": device.read_std(g, state, HOUR),
                "read()": device.read(g, state, generator=seeded(3), seconds=HOUR),
                "current()": device.current(g, volts),
            }
            for name, value in found.items():
                if value is None:
                    continue
                expect(value.shape == torch.Size(shape), f"{name} has shape {tuple(value.shape)}, asked for {shape}")
                expect(value.dtype == dtype, f"{name} is {value.dtype}, asked for {dtype}")


@check("device")
def values_are_physical(subject: Subject) -> None:
    """Conductances and deviations are finite and not negative, at any time"""
    device: Device = subject.instance
    for share in (0.0, 1.0, None):
        target = targets(device, 500) if share is None else torch.full((500,), device.g_min + share * _span(device))
        state = device.program(target, generator=seeded(1))
        for seconds in known_times(device, state, (0.0, 1e-6, 1.0, HOUR, 1e9)):
            g = device.conductance(state, seconds)
            expect(g.isfinite().all(), f"conductance is not finite after {seconds:g} s")
            expect((g >= 0).all(), f"conductance is negative after {seconds:g} s: {float(g.min()):g} S")
            std = device.read_std(g, state, seconds)
            expect(std is None or bool((std.isfinite() & (std >= 0)).all()), "read_std is negative or not finite")
        for name, count in (("pulses", state.pulses), ("energy_j", state.energy_j)):
            fine = count is None or (count.shape == state.g.shape and bool((count >= 0).all()))
            expect(fine, f"{name} must have the cells' shape and not be negative")


@check("device")
def arguments_untouched(subject: Subject) -> None:
    """No method changes what it is given"""
    device: Device = subject.instance
    target = targets(device, 40)
    state = device.program(target, generator=seeded(1))
    g, volts = device.conductance(state, HOUR), torch.full((40,), device.read_voltage)
    kept = copied([target, state, g, volts])
    cells = device.fabricate((40,), generator=seeded(2))
    kept_cells = copied(cells)
    device.program(target, generator=seeded(3), cells=cells)
    device.hold(target, generator=seeded(3))
    for seconds in (0.0, HOUR):
        device.conductance(state, seconds)
        device.read_std(g, state, seconds)
        device.read(g, state, generator=seeded(3), seconds=seconds)
    device.current(g, volts)
    if device.gated:
        device.gain(state, torch.tensor(device.gate_range[0]))
    expect(same(kept, [target, state, g, volts]), "a method changed its arguments in place")
    expect(same(kept_cells, cells), "program() changed the cells it was given in place")


@check("device")
def seeds(subject: Subject) -> None:
    """One seed gives one chip, another seed another, and cells may be fabricated beforehand"""
    device: Device = subject.instance
    target = targets(device, 9, 11)
    one, again, other = (device.program(target, generator=seeded(s)) for s in (1, 1, 2))
    expect(same(one, again), "one seed gives two chips")
    random = not torch.allclose(one.g, target, rtol=1e-6)
    expect(not random or not same(one.g, other.g), "another seed gives the same chip")
    expect(same(device.fabricate((9, 11), generator=seeded(1)), device.fabricate((9, 11), generator=seeded(1))),
           "one seed fabricates two sets of cells")  # fmt: skip
    generator = seeded(1)
    cells = device.fabricate((9, 11), generator=generator)
    beforehand = device.program(target, generator=generator, cells=cells)
    expect(same(beforehand.g, one.g), "cells fabricated beforehand from the same generator give another chip")


@check("device")
def hold_is_exact(subject: Subject) -> None:
    """Held cells hold their target, with everything that ageing and reading need"""
    device: Device = subject.instance
    target = targets(device, 50)
    held = device.hold(target, generator=seeded(1))
    expect(torch.equal(held.g, target), "hold() does not hold the target exactly")
    expect(torch.equal(device.conductance(held, 0.0), target), "held cells differ from their target at time 0")
    aged = device.conductance(held, HOUR)
    expect(aged.isfinite().all(), "held cells do not age to finite conductances")


@check("device")
def time_is_absolute(subject: Subject) -> None:
    """Conductance at a time depends on that time alone, and at time 0 is what programming left"""
    device: Device = subject.instance
    state = device.program(targets(device, 50), generator=seeded(1))
    known = known_times(device, state, (1.0, HOUR, 1e6))
    first, last = known[0], known[-1]
    late = device.conductance(state, last).clone()
    expect(torch.equal(device.conductance(state, 0.0), state.g), "at time 0 it is not what programming left")
    early = device.conductance(state, first).clone()
    expect(torch.equal(device.conductance(state, last), late), "it depends on which times were asked for before")
    expect(torch.equal(device.conductance(state, first), early), "it depends on which times were asked for before")


@check("device")
def cells_are_independent(subject: Subject) -> None:
    """Ageing, noise, current and gain of a cell depend on that cell alone, however cells are laid out"""
    device: Device = subject.instance
    state = device.program(targets(device, 6, 8), generator=seeded(1))
    volts = torch.linspace(0.1, 1, 48).view(6, 8) * device.read_voltage

    def results(s: CellState, v: Tensor) -> list[Tensor]:
        g = device.conductance(s, HOUR)
        std = device.read_std(g, s, HOUR)
        gains = [device.gain(s, torch.tensor(device.gate_range[0]))] if device.gated else []
        return [g, device.current(g, v), *([] if std is None else [std]), *gains]

    whole = results(state, volts)

    def part(t: Tensor) -> Tensor:
        return t.expand(6, 8)[1:4].flip(0).transpose(0, 1).contiguous()

    for a, b in zip(whole, results(state.map(part), part(volts)), strict=True):
        expect(torch.allclose(part(a), b, rtol=1e-5, atol=0.0), "a cell's result changes when cells are laid out anew")


@check("device")
def read_noise_statistics(subject: Subject) -> None:
    """Reads scatter around the conductance with the deviation that `read_std` states, and are Gaussian"""
    device: Device = subject.instance
    g = middle(device, COUNT)
    state = device.hold(g, generator=seeded(1))
    std = device.read_std(g, state, 0.0)
    read = device.read(g, state, generator=seeded(2))
    expect(same(read, device.read(g, state, generator=seeded(2))), "one seed gives two reads")
    if std is None:
        expect(read.isfinite().all(), "reads are not finite")
        raise CheckSkipped("states no deviation: its read noise is not Gaussian")
    if not bool(std.any()):
        expect(torch.equal(read, g), "states no read noise and reads with some")
        return
    z = ((read - g) / std).double()
    mean, (found, error) = float(z.mean()), deviation_interval(z)
    limit = SIGMAS * found / COUNT**0.5
    expect(abs(mean) < limit, f"the mean of reads is off by {mean:.3f} of the stated deviation (limit {limit:.3f})")
    expect(abs(found - 1) < SIGMAS * error, f"reads scatter {found:.3f} times what read_std states")
    excess = float((z**4).mean()) / found**4 - 3
    expect(abs(excess) < 2 * SIGMAS * (24 / COUNT) ** 0.5, f"noise is not Gaussian: excess kurtosis {excess:.2f}")


@check("device")
def read_correlation(subject: Subject) -> None:
    """Reads are as independent as `read_correlation` says"""
    device: Device = subject.instance
    g = middle(device, COUNT)
    state, generator = device.hold(g, generator=seeded(1)), seeded(2)
    one, other = (device.read(g, state, generator=generator) - g for _ in range(2))
    if not bool(one.any()):
        raise CheckSkipped("reads have no noise")
    if device.read_correlation != "multiply":
        raise CheckSkipped(f"a read stays for a whole {device.read_correlation}")
    found = float(torch.corrcoef(torch.stack((one, other)))[0, 1])
    limit = SIGMAS / COUNT**0.5
    expect(abs(found) < limit, f"says that each multiply reads anew; two reads are correlated by {found:.3f}")
    neighbours = float(torch.corrcoef(torch.stack((one[:-1], one[1:])))[0, 1])
    expect(abs(neighbours) < limit, f"noise of neighbouring cells is correlated by {neighbours:.3f}")


@check("device")
def current_law(subject: Subject) -> None:
    """No current at no voltage, in the voltage's direction, more through more conductance; G V where it is read"""
    device: Device = subject.instance
    g = targets(device, 30, 1, dtype=torch.float64).sort(dim=0).values + 1e-3 * device.g_max
    v = torch.linspace(-1, 1, 21, dtype=torch.float64) * device.read_voltage
    i = device.current(g, v)
    expect(i.shape == (30, 21), f"current of [30, 1] cells at [21] voltages has shape {tuple(i.shape)}")
    expect(i.isfinite().all(), "current is not finite")
    expect((device.current(g, torch.zeros_like(v)).abs() == 0).all(), "current flows at 0 V")
    expect((i.sign() == v.sign()).all(), "current flows against the voltage")
    expect((i[:, v > 0].diff(dim=0) >= 0).all(), "more conductance carries less current")
    expect((i.diff(dim=1) >= 0).all(), "more voltage drives less current")
    off = min(
        float((device.current(g, torch.tensor(volts, dtype=torch.float64)) / volts / g - 1).abs().max())
        for volts in (1e-4 * device.read_voltage, device.read_voltage)
    )
    expect(off < 0.02, f"neither at low field nor at the read voltage is I / V the conductance: off by {off:.1%}")


@check("device")
def current_gradients(subject: Subject) -> None:
    """Gradients of the current are finite and right"""
    device: Device = subject.instance
    scale = device.read_voltage
    # In units of g_max and of the read voltage, so that finite differences are well scaled.
    x = torch.linspace(0.2, 0.9, 6, dtype=torch.float64, requires_grad=True)
    v = torch.linspace(-0.8, 0.9, 6, dtype=torch.float64, requires_grad=True)

    def law(x: Tensor, v: Tensor) -> Tensor:
        return device.current(x * device.g_max, v * scale) / (device.g_max * scale)

    expect(
        torch.autograd.gradcheck(law, (x, v), eps=1e-5, atol=1e-5, rtol=1e-3, raise_exception=False),
        "the gradient of current() is not its slope",
    )


@check("device")
def gate(subject: Subject) -> None:
    """A gated cell's gain is in (0, 1], largest at one end of the range, and `gate_voltage` inverts it"""
    device: Device = subject.instance
    if not device.gated:
        overridden = [
            n for n in ("gain", "nominal_gain", "gate_voltage") if getattr(type(device), n) is not getattr(Device, n)
        ]
        expect(not overridden, f"says gated = False and implements {', '.join(overridden)}")
        return
    low, high = device.gate_range
    expect(low != high, "gated, and gate_range is empty")
    volts = torch.linspace(low, high, 33, dtype=torch.float64)
    curve = device.nominal_gain(volts)
    expect(((curve > 0) & (curve <= 1 + 1e-9)).all(), "nominal_gain leaves (0, 1]")
    expect((curve.diff() > 0).all(), "nominal_gain must rise from gate_range[0] to gate_range[1]")
    expect(abs(float(curve[-1]) - 1) < 1e-6, f"the largest nominal gain is {float(curve[-1]):g}, not 1")
    back = device.nominal_gain(device.gate_voltage(curve))
    expect(torch.allclose(back, curve, rtol=1e-4), "gate_voltage does not invert nominal_gain")
    expect(abs(device.gain_min - float(curve[0])) < 1e-6, "gain_min is not the gain at gate_range[0]")
    state = device.program(targets(device, 200), generator=seeded(1))
    for volt in (low, (low + high) / 2, high):
        gain = device.gain(state, torch.tensor(volt))
        expect(gain.shape == (200,), f"gain of 200 cells has shape {tuple(gain.shape)}")
        fine = bool(((gain > 0) & (gain <= 1 + 1e-5)).all())
        expect(fine, f"gain at {volt:g} V leaves (0, 1]: {float(gain.min()):g} to {float(gain.max()):g}")


@check("device")
def settled_keeps_conductance(subject: Subject) -> None:
    """What a chip keeps of a state ages, reads and gates as the whole state does"""
    device: Device = subject.instance
    state = device.program(targets(device, 30), generator=seeded(1))
    for gated in {False, device.gated}:
        kept = device.settled(state, gated=gated)
        for seconds in (0.0, HOUR):
            g = device.conductance(state, seconds)
            expect(same(device.conductance(kept, seconds), g), f"after settled() it ages differently ({seconds:g} s)")
            expect(same(device.read_std(g, kept, seconds), device.read_std(g, state, seconds)), "read_std differs")
        if gated:
            volts = torch.tensor(device.gate_range[0])
            expect(same(device.gain(kept, volts), device.gain(state, volts)), "after settled() its gain differs")


@check("device")
def temperature_is_taken(subject: Subject) -> None:
    """Programming, reading and the current take a temperature"""
    device: Device = subject.instance
    state = device.program(targets(device, 20), generator=seeded(1), temperature=350.0)
    read = device.read(state.g, state, generator=seeded(2), seconds=1.0, temperature=350.0)
    current = device.current(state.g, torch.tensor(device.read_voltage), temperature=350.0)
    for name, value in (("program", state.g), ("read", read), ("current", current)):
        expect(value.isfinite().all(), f"{name} at 350 K is not finite")


@check("device")
def included_effects_exist(subject: Subject) -> None:
    """`includes` names effects and switches that there are"""
    device: Device = subject.instance
    known = {name for name in registry.names("nonideality")}
    for effect, switch in device.includes.items():
        expect(effect in known, f"includes names '{effect}', which is no non-ideality")
        expect(switch in known, f"includes names '{switch}', which is no non-ideality")


@check("device")
def same_on_every_processor(subject: Subject) -> None:
    """A chip drawn on the CPU is the same on another device"""
    if not torch.cuda.is_available():
        raise CheckSkipped("there is no other device here")
    device: Device = subject.instance
    target = targets(device, 64)
    here = device.program(target, generator=seeded(1))
    there = device.program(target.cuda(), generator=seeded(1))
    for one, other in zip(tensors(here), tensors(there), strict=True):
        expect(torch.allclose(one, other.cpu(), rtol=1e-4), "one seed gives another chip on the other device")
    aged = device.conductance(there, HOUR)
    expect(aged.is_cuda, "conductance() leaves the device of its state")


@check("device")
def device_trains(subject: Subject) -> None:
    """A small network trains a batch on it and runs on its chips"""
    device: Device = subject.instance
    effects: dict[str, NonIdeality] = {"programming": Programming(), "drift": Drift()}
    g = middle(device, 4)
    std = device.read_std(g, device.hold(g, generator=seeded(1)), 0.0)
    if std is not None and device.read_correlation == "multiply":
        effects["read_noise"] = ReadNoise()
    wrong = train_one_batch(small(), Stack(device, array_mapping(), effects))
    expect(not wrong, "; ".join(wrong))


def _span(device: Device) -> float:
    return device.g_max - device.g_min
