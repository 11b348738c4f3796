"""Checks of a mapping."""

from __future__ import annotations

import torch
from torch import Tensor

from memristor_plugins.crossbar.convert import analogize, calibrate, program
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.devices.adaptive_2d import Adaptive2D
from memristor_plugins.devices.ideal import Ideal
from memristor_plugins.errors import SimulationError
from memristor_plugins.interfaces.mapping import Mapped, Mapping
from memristor_plugins.interfaces.nonideality import NonIdeality
from memristor_plugins.nonidealities.adc import ADC
from memristor_plugins.nonidealities.dac import DAC
from memristor_plugins.nonidealities.programming import Programming
from memristor_plugins.testing._core import Subject, check, expect
from memristor_plugins.testing._samples import (
    SIGMAS,
    copied,
    deviation_interval,
    images,
    numbers,
    same,
    small,
    static_network,
    train_one_batch,
)

DEVICES = (Ideal, Adaptive2D)
SHAPES = ((20, 5), (2, 1, 40, 9), (1, 2, 7, 3))


@check("mapping")
def array_attributes(subject: Subject) -> None:
    """Size of an array, cells of a weight and conversions of an output are possible"""
    mapping: Mapping = subject.instance
    for name in ("rows", "columns", "planes", "groups"):
        value = getattr(mapping, name, None)
        expect(isinstance(value, int) and value >= 1, f"{name} must be a whole number >= 1, got {value}")
    expect(mapping.columns >= mapping.planes, "an array is narrower than the cells of one weight")
    expect(mapping.subtract in ("analog", "digital"), f"subtract must be analog or digital, got {mapping.subtract}")


@check("mapping")
def targets_within_range(subject: Subject) -> None:
    """Targets have the stated planes and lines, and lie within [g_min, g_max] of any device"""
    mapping: Mapping = subject.instance
    for kind in DEVICES:
        device = kind()
        for shape in SHAPES:
            for dtype in (torch.float32, torch.float64):
                for weight in (numbers(*shape, dtype=dtype), torch.zeros(shape, dtype=dtype)):
                    mapped = mapping.to_conductance(weight, device)
                    wanted = (mapping.planes, *shape[:-1], mapping.lines(shape[-1]))
                    expect(tuple(mapped.g.shape) == wanted, f"g has shape {tuple(mapped.g.shape)}, must be {wanted}")
                    expect(mapped.g.dtype == dtype, f"g is {mapped.g.dtype} of {dtype} weights")
                    expect(mapped.g.isfinite().all() and mapped.scale.isfinite().all(), "g or scale is not finite")
                    slack = 1e-6 * device.g_max
                    inside = bool(((mapped.g >= device.g_min - slack) & (mapped.g <= device.g_max + slack)).all())
                    expect(
                        inside, f"targets leave [g_min, g_max]: {float(mapped.g.min()):g} to {float(mapped.g.max()):g}"
                    )
                    expect((mapped.scale > 0).all(), "scale must be positive")
                    torch.broadcast_shapes(mapped.scale.shape, (*shape[:-1], mapping.lines(shape[-1])))


@check("mapping")
def exact_inverse(subject: Subject) -> None:
    """On an ideal device, arrays side by side and on top of one another give the matrix product"""
    mapping: Mapping = subject.instance
    for kind in DEVICES:
        for rows, cols in ((20, 5), (3 * mapping.rows - 1 if mapping.rows < 100 else 150, 7)):
            weight = numbers(1, 1, rows, cols, dtype=torch.float64)
            x = numbers(6, rows, seed=8, dtype=torch.float64)
            mapped = mapping.to_conductance(weight, kind())
            y, wanted = _product(mapping, mapped, x), x @ weight[0, 0]
            rounded = mapping.weight_error * float(weight.abs().max() * x.abs().sum(dim=1).max())
            off, largest = float((y - wanted).abs().max()), float(wanted.abs().max())
            allowed = 1e-9 * largest + 1.0001 * rounded
            expect(off <= allowed, f"outputs differ from x @ W by {off / largest:.2g} ({rows} x {cols} weights)")


def _product(mapping: Mapping, mapped: Mapped, x: Tensor) -> Tensor:
    """What arrays give for inputs x [n, rows], partial sums of each array's rows converted by themselves."""
    effective = mapping.to_effective(mapped.g, mapped.scale)[:, 0, 0]
    y = torch.zeros((), dtype=x.dtype)
    for first in range(0, x.shape[1], mapping.rows):
        last = first + mapping.rows
        # [groups, n, lines]
        y = y + mapping.from_current(x[:, first:last] @ effective[:, first:last])
    if mapped.offset is not None:
        y = y - x.sum(dim=1, keepdim=True) * mapped.offset.reshape(-1)[: 1 if mapped.offset.numel() == 1 else None]
    return y


@check("mapping")
def is_linear(subject: Subject) -> None:
    """`to_effective` is linear in g, `from_current` in the partial sums: errors pass through as they are"""
    mapping: Mapping = subject.instance
    mapped = mapping.to_conductance(numbers(1, 1, 20, 5, dtype=torch.float64), Adaptive2D())
    one, other = mapped.g, mapped.g.flip(-2) * 1.3

    def effective(g: Tensor) -> Tensor:
        return mapping.to_effective(g, mapped.scale)

    expect(_linear(effective, one, other), "to_effective is not linear in g")
    partial = effective(one).sum(dim=-2)
    expect(_linear(mapping.from_current, partial, partial.flip(-1) * 0.7), "from_current is not linear")
    groups = effective(one).shape[0]
    expect(groups == mapping.groups, f"to_effective gives {groups} groups, and groups = {mapping.groups}")


def _linear(f: object, x: Tensor, y: Tensor) -> bool:
    assert callable(f)
    left, right = f(0.3 * x + 0.5 * y), 0.3 * f(x) + 0.5 * f(y)
    return bool(torch.allclose(left, right, rtol=1e-9, atol=1e-9 * float(right.abs().max())))


@check("mapping")
def deviation_of_errors(subject: Subject) -> None:
    """`effective_std` is the deviation that independent errors of the cells have after `to_effective`"""
    mapping: Mapping = subject.instance
    count = 20000
    mapped = mapping.to_conductance(numbers(1, 1, 4, 3, dtype=torch.float64), Adaptive2D())
    # Each cell has a deviation of its own.
    std = mapped.g * (0.02 + 0.1 * numbers(*mapped.g.shape, seed=4, dtype=torch.float64).abs())
    stated = mapping.effective_std(std, mapped.scale)
    seen = mapping.to_effective(mapped.g, mapped.scale)
    expect(
        stated.shape == seen.shape, f"effective_std has shape {tuple(stated.shape)}, to_effective {tuple(seen.shape)}"
    )
    noise = numbers(*mapped.g.shape, count, seed=5, dtype=torch.float64)
    # The cells' errors one draw after another, in the place of a bank.
    g = (mapped.g.unsqueeze(-1) + std.unsqueeze(-1) * noise).movedim(-1, 1)[:, :, 0]
    change = mapping.to_effective(g, mapped.scale) - seen
    for place in range(int(stated[:, 0, 0].numel())):
        found, error = deviation_interval(change.movedim(1, -1).reshape(-1, count)[place])
        wanted = float(stated[:, 0, 0].reshape(-1)[place])
        expect(
            abs(found - wanted) <= SIGMAS * error + 1e-12, f"errors deviate by {found:.4g}, and it states {wanted:.4g}"
        )


@check("mapping")
def lines_and_arrays(subject: Subject) -> None:
    """Outputs have lines of their own, and arrays hold all cells"""
    mapping: Mapping = subject.instance
    for cols in (1, 5, mapping.columns, 3 * mapping.columns + 1):
        lines, outputs = mapping.lines(cols), mapping.output_lines(cols)
        expect(lines >= cols, f"{cols} outputs take {lines} lines")
        expect(
            len(outputs) == len(set(outputs)) == cols, f"output_lines names {len(set(outputs))} lines of {cols} outputs"
        )
        expect(all(0 <= line < lines for line in outputs), "output_lines names a line that there is not")
        use = mapping.utilisation(2 * mapping.rows + 1, cols)
        expect(use.arrays >= 3, f"{2 * mapping.rows + 1} rows cannot stand on {use.arrays} arrays of {mapping.rows}")
        expect(0 < use.cells_used <= use.cells_total, f"{use.cells_used} cells used of {use.cells_total}")
        expect(
            use.cells_total == use.arrays * mapping.rows * mapping.columns, "cells_total is not that of whole arrays"
        )


@check("mapping")
def weights_untouched(subject: Subject) -> None:
    """No method changes what it is given"""
    mapping: Mapping = subject.instance
    weight = numbers(1, 1, 20, 5)
    mapped = mapping.to_conductance(weight, Adaptive2D())
    partial = mapping.to_effective(mapped.g, mapped.scale).sum(dim=-2)
    kept = copied([weight, mapped, partial])
    mapping.to_conductance(weight, Ideal())
    mapping.to_effective(mapped.g, mapped.scale)
    mapping.effective_std(mapped.g, mapped.scale)
    mapping.from_current(partial)
    expect(same(kept, [weight, mapped, partial]), "a method changed its arguments in place")


@check("mapping")
def ideal_layer(subject: Subject) -> None:
    """A network on ideal cells computes what it did, with converters of 16 bits where the mapping needs them"""
    mapping: Mapping = subject.make()
    network, x = static_network().eval(), images()
    converters: dict[str, NonIdeality] = {"dac": DAC(16, range="max"), "adc": ADC(16, range="max")}
    for effects in ({}, converters):
        analog = analogize(network, Stack(Ideal(), mapping, effects)).eval()
        try:
            calibrate(analog, [x])
            program(analog)
            with torch.no_grad():
                y, wanted = analog(x), network(x)
        except SimulationError:
            if effects:
                raise
            continue
        off = float((y - wanted).abs().max() / wanted.abs().max())
        expect(
            off < (5e-3 if effects else 1e-4) + 10 * mapping.weight_error,
            f"outputs differ from the digital network's by {off:.2g}",
        )


@check("mapping")
def mapping_trains(subject: Subject) -> None:
    """A small network trains a batch on it and runs on chips"""
    effects = {"programming": Programming(), "dac": DAC(), "adc": ADC()}
    wrong = train_one_batch(small(), Stack(Adaptive2D(), subject.make(), effects))
    expect(not wrong, "; ".join(wrong))
