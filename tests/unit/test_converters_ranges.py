"""Where the ranges of DAC and ADC come from: percentile, max, moving, learned, fixed; by themselves and in a layer."""

import copy
import math
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from memristor_plugins.api import analogize, calibrate, program
from memristor_plugins.crossbar import ranges as engine
from memristor_plugins.crossbar import sums
from memristor_plugins.crossbar.layer import AnalogLayer
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.devices.ideal import Ideal
from memristor_plugins.errors import ConfigError
from memristor_plugins.interfaces.nonideality import Context, NonIdeality
from memristor_plugins.mappings.differential import Differential
from memristor_plugins.nonidealities._quantise import codes, observed_range, quantise
from memristor_plugins.nonidealities.adc import ADC
from memristor_plugins.nonidealities.dac import DAC


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def layer_of(digital: nn.Module, rows: int = 4, subtract: str = "analog", **effects: NonIdeality) -> AnalogLayer:
    mapping = Differential(rows, subtract=subtract)  # type: ignore[arg-type]
    layer = analogize(digital, Stack(Ideal(), mapping, effects))
    assert isinstance(layer, AnalogLayer)
    return layer.eval()


def partial_sums(x: Tensor, layer: AnalogLayer, rows: int = 4) -> list[Tensor]:
    """Of a Linear, by hand."""
    return [a @ b.t() for a, b in zip(x.split(rows, 1), layer.weight.detach().split(rows, 1), strict=True)]


# -- the converters by themselves ------------------------------------------------------------------------------------


def merged(effect: NonIdeality, batches: list[Tensor]) -> list[float]:
    known = torch.zeros(2)
    for batch in batches:
        known = effect.merge(known, effect.calibrate(batch))
    return known.tolist()


@pytest.mark.parametrize("cls", [DAC, ADC])
def test_each_kind_of_range(cls: type[DAC] | type[ADC]) -> None:
    batches = [numbers(5000, seed=s).abs() * (1 + s) for s in range(4)]
    p = [float(observed_range(b, 99.0, "auto")[1]) for b in batches]
    assert merged(cls(percentile=99), batches) == [0, max(p)]
    assert merged(cls(range="learned", percentile=99), batches) == [0, max(p)]
    assert merged(cls(range="max"), batches) == [0, max(float(b.max()) for b in batches)]
    moving = p[0]
    for seen in p[1:]:
        moving = 0.7 * moving + 0.3 * seen
    assert merged(cls(range="moving", percentile=99, momentum=0.3), batches) == [0, pytest.approx(moving, rel=1e-6)]
    assert merged(cls(range="fixed", low=-0.5, high=2), batches) == [-0.5, 2]


def test_a_moving_range_forgets_and_turns_signed_with_its_signals() -> None:
    effect = DAC(range="moving", percentile=100, momentum=0.5)
    wide, narrow = 8 * torch.ones(3), torch.ones(3)
    assert merged(effect, [wide, narrow]) == [0, 4.5]
    assert merged(effect, [wide] + 40 * [narrow])[1] == pytest.approx(1)
    assert merged(effect, [wide, -narrow]) == [-4.5, 4.5]
    assert merged(effect, [wide, -narrow, narrow]) == [-2.75, 2.75]


@given(st.integers(2, 9), st.floats(-5, -1e-3), st.floats(1e-3, 5))
@settings(max_examples=60, deadline=None)
def test_a_fixed_range_has_all_codes_and_zero_among_them(bits: int, low: float, high: float) -> None:
    effect = ADC(bits, "fixed", low=low, high=high)
    to = codes(bits, torch.tensor(effect.fixed_range))
    x = torch.linspace(2 * low - high, 2 * high - low, 30_001)
    y = effect.apply(x, None, Context(Ideal(), full_scale=effect.calibrate(x)))
    reported = (y / to.step).round().unique()
    assert to.last - to.first == 2**bits - (2 if math.isclose(low, -high, rel_tol=1e-6) else 1)
    assert reported.tolist() == list(range(to.first, to.last + 1))
    assert abs(to.low - low) <= to.step * 0.51
    assert abs(to.high - high) <= to.step * 0.51
    assert effect.apply(torch.zeros(1), None, Context(Ideal(), full_scale=effect.calibrate(x))).item() == 0


@pytest.mark.parametrize("cls", [DAC, ADC])
def test_settings_that_cannot_be_used_are_refused(cls: type[DAC] | type[ADC]) -> None:
    name = f"nonidealities.{cls.__name__.lower()}"
    for arguments, option in (
        ({"low": 0.0}, "high"),
        ({"high": 1.0}, "low"),
        ({"low": -1.0, "high": 1.0, "signed": "unsigned"}, "low"),
        ({"low": 0.0, "high": 1.0, "signed": "signed"}, "low"),
        ({"low": -1.0, "high": 1.0, "bits": 1}, "bits"),
    ):
        with pytest.raises(ConfigError, match=f"{name}.{option}: "):
            cls(range="fixed", **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("cls", [DAC, ADC])
def test_settings_without_effect_warn_once(cls: type[DAC] | type[ADC]) -> None:
    for arguments, option in (
        ({"momentum": 0.5}, "momentum"),
        ({"range": "max", "percentile": 99.0}, "percentile"),
        ({"range": "max", "low": -1.0}, "low"),
        ({"high": 1.0}, "high"),
        ({"range": "fixed", "low": 0.0, "high": 1.0, "momentum": 0.5}, "momentum"),
    ):
        with pytest.warns(UserWarning, match=rf"{option} has no effect with nonidealities\.\w+\.range=") as caught:
            cls(**arguments)  # type: ignore[arg-type]
        assert len(caught) == 1


@pytest.mark.parametrize("signed", [False, True])
def test_the_gradient_of_a_learned_range_is_lsq_inside_and_pact_outside(signed: bool) -> None:
    bits, high = 4, 1.3
    full = torch.tensor([-high if signed else 0.0, high], requires_grad=True)
    x = (2 * numbers(1000)).requires_grad_()
    weight = numbers(1000, seed=1)
    grad_x, grad_full = torch.autograd.grad((quantise(x, bits, full) * weight).sum(), (x, full))
    last = 2 ** (bits - 1) - 1 if signed else 2**bits - 1
    first = -last if signed else 0
    v = x.detach().double() / (high / last)
    # LSQ, eq. 3: dq/ds with step s = high / last.
    by_step = torch.where(v <= first, first, torch.where(v >= last, last, v.round() - v))
    expected = (weight * by_step / last).sum()  # dq/dhigh = dq/ds / last
    torch.testing.assert_close(grad_full, torch.tensor([0.0, float(expected)]), rtol=1e-4, atol=1e-4)
    inside = (x.detach() > full[0].detach()) & (x.detach() < high)
    torch.testing.assert_close(grad_x, weight * inside)
    # PACT, eq. 3: 1 where the signal is above the range.
    (above,) = torch.autograd.grad(quantise(torch.full((5,), 9.0), bits, full).sum(), full)
    torch.testing.assert_close(above, torch.tensor([0.0, 5.0]))


# -- in a layer ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["percentile", "max", "moving"])
@pytest.mark.parametrize("subtract", ["analog", "digital"])
def test_a_batch_is_one_observation_however_its_sums_come(
    monkeypatch: pytest.MonkeyPatch, kind: str, subtract: str
) -> None:
    torch.manual_seed(0)
    digital, batches = nn.Linear(10, 6), [numbers(40, 10, seed=s) * (1 + s) for s in range(3)]
    found = []
    for in_flight in (1 << 19, 60):
        monkeypatch.setattr(sums, "IN_FLIGHT", in_flight)
        layer = layer_of(digital, subtract=subtract, adc=ADC(range=kind, percentile=90 if kind != "max" else 99.99))  # type: ignore[arg-type]
        calibrate(layer, batches)
        found.append(layer.ranges.sum.clone())
    torch.testing.assert_close(*found, rtol=1e-6, atol=0)
    if subtract == "analog":
        pooled = [torch.cat([s.flatten() for s in partial_sums(b, layer)]).abs() for b in batches]
        percentile = 1.0 if kind == "max" else 0.9
        seen = [float(p.kthvalue(max(1, round(percentile * p.numel()))).values) for p in pooled]
        expected = max(seen)
        if kind == "moving":
            expected = 0.9 * (0.9 * seen[0] + 0.1 * seen[1]) + 0.1 * seen[2]
        assert float(found[0][1]) == pytest.approx(expected, rel=1e-5)
        assert float(found[0][0]) == -float(found[0][1])


def test_a_large_batch_is_sampled_and_its_extremes_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "SEEN", 2000)
    monkeypatch.setattr(sums, "IN_FLIGHT", 300)
    torch.manual_seed(0)
    digital, x = nn.Linear(10, 6), numbers(4000, 10)
    pooled = torch.cat([s.flatten() for s in partial_sums(x, layer_of(digital, adc=ADC()))]).abs()
    layer = layer_of(digital, adc=ADC(range="max"))
    calibrate(layer, [x])
    assert float(layer.ranges.sum[1]) == pytest.approx(float(pooled.max()), rel=1e-6)
    layer = layer_of(digital, adc=ADC(percentile=90))
    calibrate(layer, [x])
    # Of at least 2000 sampled values a share of 0.9 +- 4.5 sqrt(0.9 0.1 / 2000) lies within.
    assert float((pooled <= layer.ranges.sum[1]).float().mean()) == pytest.approx(0.9, abs=0.03)


def test_a_first_batch_sets_the_range_of_sums_once() -> None:
    torch.manual_seed(0)
    layer, x = layer_of(nn.Linear(10, 6), adc=ADC(range="moving", percentile=100)), numbers(20, 10)
    program(layer)
    with pytest.warns(UserWarning, match="sum converters is not calibrated"):
        layer(x)
    high = float(layer.ranges.sum[1])
    assert high == pytest.approx(max(float(s.abs().max()) for s in partial_sums(x, layer)), rel=1e-6)
    layer(5 * x)
    assert float(layer.ranges.sum[1]) == high
    # Frozen, and saved.
    assert torch.equal(copy.deepcopy(layer).state_dict()["ranges.sum"], layer.ranges.sum)


def test_a_fixed_range_needs_no_calibration_and_nothing_changes_it() -> None:
    torch.manual_seed(0)
    digital, x = nn.Linear(10, 6), 3 * numbers(20, 10)
    dac, adc = DAC(5, "fixed", low=-1, high=1), ADC(6, "fixed", low=-0.4, high=0.6)
    layer = layer_of(digital, dac=dac, adc=adc)
    assert layer.calibrated
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("error")
        program(layer)
        y = layer(x)
    driven = quantise(x, 5, torch.tensor([-1.0, 1.0]))
    expected = sum(quantise(s, 6, torch.tensor([-0.4, 0.6])) for s in partial_sums(driven, layer)) + digital.bias
    torch.testing.assert_close(y, expected)
    calibrate(layer, [10 * x])
    other = layer_of(digital, dac=DAC(range="max"), adc=ADC(range="max"))
    calibrate(other, [x])
    layer.load_state_dict(other.state_dict())
    layer.load_state_dict(digital.state_dict())
    assert layer.ranges.input.tolist() == [-1, 1]
    torch.testing.assert_close(layer.ranges.sum, torch.tensor([-0.4, 0.6]))
    program(layer)
    assert torch.equal(layer(x), y)


def test_gradients_of_learned_ranges_in_a_layer_are_those_of_the_formula() -> None:
    torch.manual_seed(0)
    digital, x, weight = nn.Linear(10, 6), numbers(30, 10), numbers(30, 6, seed=1)
    layer = layer_of(digital, dac=DAC(4, "learned", percentile=80), adc=ADC(5, "learned", percentile=80))
    calibrate(layer, [x])
    layer.train()
    assert layer.ranges.input_factor is not None
    assert layer.ranges.sum_factor is not None
    with torch.no_grad():
        layer.ranges.input_factor.fill_(0.1)
        layer.ranges.sum_factor.fill_(-0.2)
    (layer(x) * weight).sum().backward()
    full_in, full_sum = layer.ranges.input * math.exp(0.1), layer.ranges.sum * math.exp(-0.2)
    driven = quantise(x, 4, full_in)
    by_sum = torch.zeros(())
    for s in partial_sums(driven, layer):
        by_sum = by_sum + (weight * (quantise(s, 5, full_sum) - s * (s.abs() < full_sum[1]))).sum()
    assert float(layer.ranges.sum_factor.grad) == pytest.approx(float(by_sum), rel=1e-4)  # type: ignore[arg-type]
    by_input = ((weight @ layer.weight.detach()) * (driven - x * (x.abs() < full_in[1]))).sum()
    assert float(layer.ranges.input_factor.grad) == pytest.approx(float(by_input), rel=1e-4)  # type: ignore[arg-type]


@pytest.mark.parametrize("start", [0.1, 10.0])
def test_training_finds_a_better_range_and_keeps_it(start: float) -> None:
    """From a tenth and ten times the calibrated range the layer's error falls; the factor survives calibration."""
    torch.manual_seed(0)
    digital, x = nn.Linear(12, 6), numbers(400, 12)
    layer = layer_of(digital, dac=DAC(4, "learned"), adc=ADC(4, "learned"))
    calibrate(layer, [x])
    factors = [layer.ranges.input_factor, layer.ranges.sum_factor]
    with torch.no_grad():
        for factor in factors:
            assert factor is not None
            factor.fill_(math.log(start))
        wanted = digital(x)
    optimizer = torch.optim.Adam([f for f in factors if f is not None], lr=0.05)
    layer.train()
    losses = []
    for layer.step in range(80):
        optimizer.zero_grad()
        loss = (layer(x) - wanted).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
    with torch.no_grad():
        learned = layer.ranges.known("input")
        calibrate(layer, [x])
        assert torch.equal(layer.ranges.known("input"), learned)
        layer.eval()
        program(layer)
        assert float((layer(x) - wanted).square().mean()) == pytest.approx(losses[-1], rel=0.2)
