"""DAC and ADC: codes, saturation, gradient, range."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from memristor_plugins.devices.ideal import Ideal
from memristor_plugins.errors import ConfigError, SimulationError
from memristor_plugins.interfaces.nonideality import Context
from memristor_plugins.nonidealities._quantise import codes, observed_range, quantise
from memristor_plugins.nonidealities.adc import ADC
from memristor_plugins.nonidealities.dac import DAC


def between(low: float, high: float) -> Tensor:
    return torch.tensor([low, high])


@given(st.integers(1, 10), st.floats(1e-6, 1e6))
@settings(max_examples=40, deadline=None)
def test_unsigned_codes_are_all_of_them_from_zero_to_the_top(bits: int, high: float) -> None:
    scale = between(0.0, high)
    x = torch.linspace(-0.5, 1.5, 40_001) * high
    reported = quantise(x, bits, scale) / codes(bits, scale).step
    torch.testing.assert_close(reported, reported.round(), atol=1e-3, rtol=0)
    assert reported.round().unique().tolist() == list(range(2**bits))
    assert float(quantise(x, bits, scale).max()) == pytest.approx(high, rel=1e-5)
    assert torch.equal(quantise(torch.zeros(1), bits, scale), torch.zeros(1))


@given(st.integers(2, 10), st.floats(1e-6, 1e6))
@settings(max_examples=40, deadline=None)
def test_signed_codes_are_symmetric_about_zero(bits: int, high: float) -> None:
    scale = between(-high, high)
    x = torch.linspace(-1.5, 1.5, 40_001) * high
    y = quantise(x, bits, scale)
    reported = (y / codes(bits, scale).step).round()
    top = 2 ** (bits - 1) - 1
    assert reported.unique().tolist() == list(range(-top, top + 1))
    torch.testing.assert_close(y, -quantise(-x, bits, scale))
    assert torch.equal(quantise(torch.zeros(1), bits, scale), torch.zeros(1))


@given(st.integers(2, 12), st.booleans())
@settings(max_examples=40, deadline=None)
def test_error_inside_is_half_a_step_and_outside_the_converter_saturates(bits: int, signed: bool) -> None:
    scale = between(-2.0 if signed else 0.0, 2.0)
    step = codes(bits, scale).step
    x = torch.linspace(float(scale[0]), 2.0, 10_001)
    assert float((quantise(x, bits, scale) - x).abs().max()) <= step / 2 * (1 + 1e-3)
    outside = torch.tensor([-100.0, 100.0, -2.1, 2.1])
    expected = outside.clamp(float(scale[0]), 2.0)
    torch.testing.assert_close(quantise(outside, bits, scale), expected)


@given(st.integers(2, 12))
@settings(max_examples=20, deadline=None)
def test_quantising_twice_changes_nothing(bits: int) -> None:
    scale = between(-1.0, 1.0)
    x = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    once = quantise(x, bits, scale)
    torch.testing.assert_close(quantise(once, bits, scale), once, rtol=1e-6, atol=0)


def test_gradient_is_one_inside_and_zero_where_it_saturates() -> None:
    x = torch.tensor([-3.0, -0.7, 0.0, 0.31, 0.99, 1.01, 5.0], requires_grad=True)
    y = quantise(x, 4, between(-1.0, 1.0))
    (grad,) = torch.autograd.grad(y.sum(), x)
    assert grad.tolist() == [0, 1, 1, 1, 1, 0, 0]
    with torch.no_grad():
        torch.testing.assert_close(y, quantise(x.detach(), 4, between(-1.0, 1.0)))
    x = torch.tensor([-0.5, 0.5, 2.0], requires_grad=True)
    (grad,) = torch.autograd.grad(quantise(x, 4, between(0.0, 1.0)).sum(), x)
    assert grad.tolist() == [0, 1, 0]


def test_arguments_are_left_alone() -> None:
    x = torch.randn(50)
    kept = x.clone()
    quantise(x, 3, between(-0.1, 0.1))
    assert torch.equal(x, kept)


def test_a_range_of_zero_gives_zero_not_nan() -> None:
    x = torch.tensor([-1.0, 0.0, 1.0])
    for bits in (1, 8, 16):
        assert torch.equal(quantise(x, bits, between(0.0, 0.0)), torch.zeros(3))


@pytest.mark.parametrize("percentile", [50.1, 90.0, 99.0, 99.9, 100.0])
def test_the_range_covers_the_percentile_of_magnitudes(percentile: float) -> None:
    x = torch.randn(100_000, generator=torch.Generator().manual_seed(0))
    low, high = observed_range(x, percentile, "auto").tolist()
    assert low == -high
    assert float((x.abs() <= high).float().mean()) == pytest.approx(percentile / 100, abs=1e-5)
    low, high = observed_range(x.abs(), percentile, "auto").tolist()
    assert low == 0
    assert float((x.abs() <= high).float().mean()) == pytest.approx(percentile / 100, abs=1e-5)


def test_a_large_tensor_is_sampled_fairly() -> None:
    x = torch.rand(3_000_000, generator=torch.Generator().manual_seed(0))
    assert float(observed_range(x, 99.0, "auto")[1]) == pytest.approx(0.99, abs=4e-4)  # 4 standard errors of 1.5 M
    assert float(observed_range(x, 100.0, "auto")[1]) == float(x.max())


def test_signals_rarer_than_the_percentile_are_not_lost() -> None:
    x = torch.zeros(100_000)
    x[77] = 3.0
    assert observed_range(x, 99.9, "auto").tolist() == [0, 3]
    assert observed_range(torch.zeros(10), 99.9, "auto").tolist() == [0, 0]


def test_the_sign_is_asked_for_or_seen() -> None:
    positive, mixed = torch.tensor([0.5, 1.0]), torch.tensor([-2.0, 1.0])
    assert observed_range(positive, 100, "auto").tolist() == [0, 1]
    assert observed_range(positive, 100, "signed").tolist() == [-1, 1]
    assert observed_range(mixed, 100, "auto").tolist() == [-2, 2]
    assert observed_range(mixed, 100, "unsigned").tolist() == [0, 1]


@pytest.mark.parametrize("cls", [DAC, ADC])
def test_a_single_bit_cannot_be_signed(cls: type[DAC] | type[ADC]) -> None:
    name = cls.__name__.lower()
    with pytest.raises(ConfigError, match=rf"nonidealities\.{name}\.bits: .* nearest valid value is 2"):
        cls(bits=1, signed="signed")
    effect = cls(bits=1)
    x = torch.tensor([0.0, 0.4, 0.6, 2.0])
    assert effect.apply(x, None, Context(Ideal(), full_scale=between(0, 1))).tolist() == [0, 0, 1, 1]
    with pytest.raises(ConfigError, match=rf"nonidealities\.{name}\.bits"):
        effect.apply(x, None, Context(Ideal(), full_scale=between(-1, 1)))


def test_a_converter_without_a_range_says_so() -> None:
    with pytest.raises(SimulationError, match="DAC has no calibrated range"):
        DAC().apply(torch.ones(1), None, Context(Ideal()))
