"""Calibration looks at signals that no half-calibrated range has touched."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from memristor_plugins.crossbar.convert import analog_layers, analogize, calibrate
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.devices.adaptive_2d import Adaptive2D
from memristor_plugins.devices.ideal import Ideal
from memristor_plugins.mappings.differential import Differential
from memristor_plugins.nonidealities import ir_drop
from memristor_plugins.nonidealities.adc import ADC
from memristor_plugins.nonidealities.dac import DAC
from memristor_plugins.nonidealities.ir_drop import IRDrop

ROWS = 4


def batches() -> list[Tensor]:
    """Each much wider than those before it."""
    generator = torch.Generator().manual_seed(0)
    return [scale * torch.rand(8, 3, 6, 6, generator=generator) for scale in (0.1, 1.0, 10.0)]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3, bias=False), nn.ReLU(), nn.Conv2d(6, 5, 2), nn.Flatten(), nn.Linear(45, 4))


def ranges(module: nn.Module) -> list[list[float]]:
    return [[*layer.ranges.input.tolist(), *layer.ranges.sum.tolist()] for layer in analog_layers(module).values()]


def calibrated(xs: object, bits: int = 6) -> list[list[float]]:
    stack = Stack(Ideal(), Differential(ROWS), {"dac": DAC(bits, percentile=100), "adc": ADC(bits, percentile=100)})
    module = analogize(network(), stack)
    calibrate(module, xs)  # type: ignore[arg-type]
    return ranges(module)


def test_the_order_of_the_batches_does_not_matter() -> None:
    xs = batches()
    assert calibrated(xs) == calibrated(xs[::-1])


def test_an_iterator_gives_what_a_list_gives() -> None:
    assert calibrated(iter(batches())) == calibrated(batches())
    assert calibrated(x for x in batches()) == calibrated(batches())


def test_ranges_are_those_of_the_digital_signals_and_of_every_tile() -> None:
    """Every layer's input and largest share of a column on one array, from the digital network alone."""
    digital, xs = list(network().children()), torch.cat(batches())
    found = calibrated(batches(), bits=16)
    signals = {}
    for module in digital:
        if isinstance(module, nn.Conv2d | nn.Linear):
            signals[module] = xs
        xs = module(xs).detach()
    for (module, x), (low, high, sum_low, sum_high) in zip(signals.items(), found, strict=True):
        assert high == pytest.approx(float(x.abs().max()), rel=1e-3)
        assert low == (pytest.approx(-high) if bool((x < 0).any()) else 0)
        if isinstance(module, nn.Conv2d):
            # Word lines: kernel position first, input channel last.
            kh, kw = module.kernel_size
            rows = nn.functional.unfold(x, (kh, kw)).unflatten(1, (-1, kh * kw)).transpose(1, 2).flatten(1, 2)
            weight = module.weight.detach().permute(0, 2, 3, 1).flatten(1)
        else:
            rows, weight = x.unsqueeze(-1), module.weight.detach()
        tiles = zip(rows.split(ROWS, dim=1), weight.split(ROWS, dim=1), strict=True)
        largest = max(float((w @ r).abs().max()) for r, w in tiles)
        assert sum_high == -sum_low == pytest.approx(largest, rel=1e-3)


def test_frozen_parts_stay_in_the_mode_that_they_were_in() -> None:
    module = analogize(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), Stack(Ideal(), Differential()))
    module.train()[1].eval()  # type: ignore[index]
    stack = Stack(Ideal(), Differential(), {"dac": DAC()})
    module = analogize(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train(), stack)
    module[1].eval()  # type: ignore[index]
    before = {name: part.training for name, part in module.named_modules()}
    calibrate(module, batches())
    assert {name: part.training for name, part in module.named_modules()} == before
    assert set(before.values()) == {True, False}


def test_without_converters_no_batch_is_run() -> None:
    module = analogize(network(), Stack(Ideal(), Differential()))
    calibrate(module, [torch.rand(1, 99)])  # of a shape that the network would refuse
    assert ranges(module) == [[0, 0, 0, 0]] * 3


def test_ranges_of_training_steps_solve_no_array_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are those that the approximation gives, close to the exact ones; arrays are solved once for both passes."""
    solved: list[int] = []
    exact = ir_drop.effective_conductance

    def counted(g: Tensor, **ohm: float) -> Tensor:
        solved.append(len(g))
        return exact(g, **ohm)

    monkeypatch.setattr(ir_drop, "effective_conductance", counted)
    found = []
    for approximate in (False, True):
        effects = {"dac": DAC(8), "adc": ADC(8), "ir_drop": IRDrop(5.0, 5.0)}
        module = analogize(network(), Stack(Adaptive2D(), Differential(32, 32), effects))
        calibrate(module, batches(), approximate=approximate)
        found.append(ranges(module))
        assert len(solved) == (3 if not approximate else 0)
        solved.clear()
    for one, other in zip(*found, strict=True):
        assert other[1] == pytest.approx(one[1], rel=0.1)
        assert other[3] == pytest.approx(one[3], rel=0.1)
        assert other[3] != one[3]
