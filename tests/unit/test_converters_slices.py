"""Bit-serial inputs: slices of a DAC's codes, driven one after another, converted, shifted and added."""

import math
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from memristor_plugins.api import analogize, calibrate, program
from memristor_plugins.crossbar.layer import AnalogLayer
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.devices.ideal import Ideal
from memristor_plugins.errors import ConfigError
from memristor_plugins.interfaces.nonideality import Context, NonIdeality
from memristor_plugins.mappings.differential import Differential
from memristor_plugins.nonidealities._quantise import codes, quantise
from memristor_plugins.nonidealities.adc import ADC
from memristor_plugins.nonidealities.dac import DAC


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def over(low: float, high: float) -> Context:
    return Context(Ideal(), full_scale=torch.tensor([low, high]))


def layer_of(digital: nn.Module, rows: int, **effects: NonIdeality) -> AnalogLayer:
    layer = analogize(digital, Stack(Ideal(), Differential(rows), effects))
    assert isinstance(layer, AnalogLayer)
    return layer.eval()


@given(st.integers(1, 12), st.integers(1, 12), st.booleans(), st.floats(1e-3, 1e3))
@settings(max_examples=80, deadline=None)
def test_slices_add_up_to_the_converted_input(bits: int, slice_bits: int, signed: bool, high: float) -> None:
    slice_bits, signed = min(bits, slice_bits), signed and bits > 1
    effect, context = DAC(bits, slice_bits=slice_bits), over(-high if signed else 0.0, high)
    x = effect.apply(high * numbers(300), None, context)
    kept = x.clone()
    slices, weights = effect.slices(x, context)
    assert torch.equal(x, kept)
    magnitude = bits - 1 if signed else bits
    assert slices.shape == (len(weights), 300)
    assert len(weights) == math.ceil(magnitude / slice_bits)
    total = sum(w * s.double() for w, s in zip(weights, slices, strict=True))
    torch.testing.assert_close(total, x.double(), rtol=3e-7, atol=0)
    # Every slice has 2^b - 1 codes over the whole range, and the sign of its input.
    driven = slices.double() / high * (2**slice_bits - 1)
    torch.testing.assert_close(driven, driven.round(), rtol=0, atol=1e-3)
    assert float(driven.abs().max()) <= 2**slice_bits - 1 + 1e-3
    assert bool((slices * x >= 0).all())
    # Binary weights, least significant first: codes of x in base 2^b.
    torch.testing.assert_close(
        torch.tensor(weights), weights[0] * (2.0**slice_bits) ** torch.arange(len(weights)), rtol=1e-6, atol=0
    )
    whole = (x / codes(bits, context.full_scale).step).abs().round()  # type: ignore[arg-type]
    for s in range(len(weights)):
        digit = whole.div(2 ** (s * slice_bits), rounding_mode="floor") % 2**slice_bits
        torch.testing.assert_close(driven[s].abs().round().float(), digit)


def test_slices_are_exact_where_the_step_is() -> None:
    effect, context = DAC(8, slice_bits=1), over(0, 255 / 64)
    x = effect.apply(3 * numbers(1000), None, context)
    slices, weights = effect.slices(x, context)
    total = torch.zeros(1000)
    for s, w in zip(slices, weights, strict=True):
        total += s * w
    torch.testing.assert_close(total, x, rtol=1.2e-7, atol=0)
    assert slices.unique().tolist() == [0, 255 / 64]


def test_slices_of_more_bits_than_there_are_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"nonidealities\.dac\.slice_bits: .* nearest value is 4"):
        DAC(4, slice_bits=5)


def test_without_a_range_inputs_are_driven_whole() -> None:
    x = numbers(10)
    slices, weights = DAC(4, slice_bits=1).slices(x, over(0, 0))
    assert torch.equal(slices[0], x)
    assert weights == [1.0]


@pytest.mark.parametrize("slice_bits", [1, 3, 8])
@pytest.mark.parametrize("signed", [False, True])
def test_where_nothing_converts_the_sums_slicing_changes_nothing(slice_bits: int, signed: bool) -> None:
    torch.manual_seed(0)
    conv, x = nn.Conv2d(4, 6, 3, padding=1), numbers(3, 4, 6, 6)
    x = x if signed else x.abs()
    y = []
    for sliced in (None, slice_bits):
        layer = layer_of(conv, 16, dac=DAC(8, slice_bits=sliced))
        calibrate(layer, [x, 2 * x])
        program(layer)
        with torch.no_grad():
            y.append(layer(x))
    torch.testing.assert_close(*y, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("signed", [False, True])
def test_each_slice_is_converted_over_one_range_then_shifted_and_added(signed: bool) -> None:
    torch.manual_seed(0)
    digital, batches = nn.Linear(10, 5), [numbers(50, 10, seed=s) * (1 + s) for s in range(2)]
    batches = batches if signed else [b.abs() for b in batches]
    dac = DAC(6, percentile=100, slice_bits=2)
    layer = layer_of(digital, 4, dac=dac, adc=ADC(5, percentile=100))
    calibrate(layer, batches)
    full = torch.tensor([-1.0 if signed else 0.0, 1.0]) * max(float(b.abs().max()) for b in batches)
    assert torch.equal(layer.ranges.input, full)
    context = Context(Ideal(), full_scale=full)
    w, seen, y = layer.weight.detach(), 0.0, torch.zeros(50, 5)
    for x in batches:
        slices, weights = dac.slices(dac.apply(x, None, context), context)
        sums = [[s[:, a : a + 4] @ w[:, a : a + 4].t() for a in range(0, 10, 4)] for s in slices]
        seen = max(seen, max(float(v.abs().max()) for part in sums for v in part))
        y = torch.zeros(50, 5)
        for part, weight in zip(sums, weights, strict=True):
            y = y + weight * sum(quantise(v, 5, layer.ranges.sum) for v in part)
    assert float(layer.ranges.sum[1]) == pytest.approx(seen, rel=1e-5)
    program(layer)
    with torch.no_grad():
        error = layer(batches[1]) - (y + digital.bias)
    # A sum on the edge between two codes, to the last digit of float32, may go either way.
    assert float((error.abs() > 1e-4).float().mean()) < 0.02


def test_training_goes_straight_through_slices() -> None:
    torch.manual_seed(0)
    digital, x = nn.Linear(10, 5), numbers(20, 10)
    grads = []
    for sliced in (None, 2):
        layer = layer_of(digital, 4, dac=DAC(6, percentile=100, slice_bits=sliced), adc=ADC(12, percentile=100))
        calibrate(layer, [x])
        layer.train()
        layer(x).sum().backward()
        grads.append(layer.weight.grad.clone())  # type: ignore[union-attr]
    torch.testing.assert_close(*grads)


def test_a_first_batch_sets_the_range_on_all_slices() -> None:
    torch.manual_seed(0)
    digital, x = nn.Linear(10, 5), numbers(50, 10).abs()
    found = []
    for calibrated in (True, False):
        layer = layer_of(digital, 4, dac=DAC(7, percentile=100, slice_bits=3), adc=ADC(6, percentile=100))
        if calibrated:
            calibrate(layer, [x])
        program(layer)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore" if not calibrated else "error")
            layer(x)
        found.append(layer.ranges.sum)
    torch.testing.assert_close(*found)
