"""Static errors of DAC and ADC: statistics, transfer curves, and what the engine makes of them."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from memristor_plugins.api import analogize, calibrate, program
from memristor_plugins.crossbar.layer import AnalogLayer
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.devices.ideal import Ideal
from memristor_plugins.errors import SimulationError
from memristor_plugins.interfaces.nonideality import Context, NonIdeality
from memristor_plugins.mappings.differential import Differential
from memristor_plugins.nonidealities._capacitors import approximate, sample_capacitors
from memristor_plugins.nonidealities._quantise import codes, quantise
from memristor_plugins.nonidealities.adc import ADC
from memristor_plugins.nonidealities.dac import DAC

Z = 4.5  # standard errors: a right draw fails once in 1.5e5


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def over(low: float, high: float) -> Context:
    return Context(Ideal(), full_scale=torch.tensor([low, high]))


def layer_of(digital: nn.Module, effects: dict[str, NonIdeality], mapping: Differential, x: Tensor) -> AnalogLayer:
    layer = analogize(digital, Stack(Ideal(), mapping, effects))
    assert isinstance(layer, AnalogLayer)
    calibrate(layer, [x])
    layer.eval()
    program(layer, 3)
    return layer


def by_hand(x: Tensor, bits: int, context: Context, state: Tensor) -> Tensor:
    """One converter, in float64: every bit tried by itself, and the level that it leads to compared with the input."""
    assert context.full_scale is not None
    to = codes(bits, context.full_scale)
    signal = x.double() * (1 + state[0].double()) + state[1].double() * to.step
    weights = state[2:].double() if state.shape[0] > 2 else 2.0 ** torch.arange(bits).double()
    reported = []
    for v in signal.tolist():
        code = 0
        for bit in reversed(range(bits)):
            tried = code | 1 << bit
            level = sum(float(w) for i, w in enumerate(weights) if tried >> i & 1)
            code = tried if v / to.step - to.first + 0.5 >= level else code
        reported.append(min(code, to.last - to.first) + to.first)
    return torch.tensor(reported) * to.step


# -- drawn once a chip -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("effect", [DAC(), ADC(), ADC(share=8)])
def test_without_errors_nothing_is_drawn(effect: NonIdeality) -> None:
    assert effect.sample((3, 4), generator=generator()) is None


@pytest.mark.parametrize("cls", [DAC, ADC])
def test_gain_and_offset_are_normal_and_independent(cls: type[DAC] | type[ADC]) -> None:
    n = 200_000
    state = cls(gain_std=0.02, offset_std=0.7).sample((4, n // 4), generator=generator(1))
    assert state is not None
    assert state.shape == (2, 4, n // 4)
    for values, std in zip(state.flatten(1), (0.02, 0.7), strict=True):
        assert abs(float(values.mean())) < Z * std / math.sqrt(n)
        assert float(values.std()) == pytest.approx(std, rel=Z / math.sqrt(2 * n))
        assert float((values.abs() < std).float().mean()) == pytest.approx(0.6827, abs=Z * 0.466 / math.sqrt(n))
        assert abs(float(torch.corrcoef(torch.stack((values[1:], values[:-1])))[0, 1])) < Z / math.sqrt(n)
    assert abs(float(torch.corrcoef(state.flatten(1))[0, 1])) < Z / math.sqrt(n)


def test_one_error_alone_leaves_the_other_at_zero() -> None:
    for cls in (DAC, ADC):
        only_gain, only_offset = cls(gain_std=0.1), cls(offset_std=0.1)
        for effect, zero in ((only_gain, 1), (only_offset, 0)):
            state = effect.sample((50,), generator=generator())
            assert state is not None
            assert bool((state[zero] == 0).all())
            assert float(state[1 - zero].abs().min()) > 0


@pytest.mark.parametrize("share", [1, 3, 5, 8, 100])
def test_shared_converters_have_the_same_errors_and_only_they(share: int) -> None:
    state = ADC(4, share=share, gain_std=0.1, offset_std=1, capacitor_std=0.05).sample((2, 3, 8), generator=generator())
    assert state is not None
    assert state.shape == (6, 2, 3, 8)
    for number in state:
        groups = number.split(share, dim=-1)
        assert all(torch.equal(g, g[..., :1].expand_as(g)) for g in groups)
        assert len(number.unique()) == 2 * 3 * len(groups)


# -- nonlinearity ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bits", "std"), [(6, 0.02), (8, 0.01), (10, 0.003)])
def test_nonlinearity_has_the_deviation_of_its_formula(bits: int, std: float) -> None:
    """Over 1e5 converters; sample deviations are within Z / sqrt(2n) = 1 %, the formula within 1 / T and std^2."""
    n, top = 100_000, 2**bits - 1
    weights = sample_capacitors(bits, std, (n,), generator(2)).double()
    torch.testing.assert_close(weights.sum(dim=0), torch.full((n,), float(top)).double(), rtol=1e-6, atol=0)
    close = Z / math.sqrt(2 * n) + 1 / top
    middle = weights[-1] - weights[:-1].sum(dim=0)  # the step from 0111... to 1000..., ideally 1
    assert float((middle - 1).std()) == pytest.approx(std * math.sqrt(top), rel=close)
    assert abs(float((middle - 1).mean())) < Z * std * math.sqrt(top / n)
    for code in (1, top // 5, top // 3, 2 ** (bits - 1) - 1, 2 ** (bits - 1), top - 2):
        level = sum((weights[i] for i in range(bits) if code >> i & 1), torch.zeros(n).double())
        assert float((level - code).std()) == pytest.approx(std * math.sqrt(code * (top - code) / top), rel=close)
        assert abs(float((level - code).mean())) < Z * std * math.sqrt(code * (top - code) / top / n) + 1e-4


def test_without_mismatch_codes_are_those_of_the_ideal_converter() -> None:
    x = 3 * torch.randn(20_000, generator=generator())
    for bits, (low, high) in ((1, (0, 1)), (5, (0, 2)), (8, (-2, 2)), (8, (-0.7, 2.0)), (12, (-1, 1))):
        weights = (2.0 ** torch.arange(bits)).view(-1, 1)
        state = torch.cat((torch.zeros(2, 1), weights))
        context = over(low, high)
        assert context.full_scale is not None
        step = codes(bits, context.full_scale).step
        error = ADC(bits, capacitor_std=0.1).apply(x, state, context) - quantise(x, bits, context.full_scale)
        # A value half-way between two codes, to the last digit of float32, may go either way.
        assert int((error.abs() > step / 2).sum()) <= 20_000 * 2**bits * 1e-6


@given(st.integers(1, 9), st.floats(0, 0.2), st.booleans(), st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_every_converter_reports_the_code_that_its_own_bits_find(
    bits: int, std: float, signed: bool, seed: int
) -> None:
    signed = signed and bits > 1
    effect = ADC(bits, gain_std=0.05, offset_std=0.5, capacitor_std=max(std, 1e-3))
    state = effect.sample((3,), generator=generator(seed))
    assert state is not None
    context = over(-2.0 if signed else 0.0, 2.0)
    x = 1.5 * torch.randn(40, 3, generator=generator(seed + 1))
    kept = x.clone()
    y = effect.apply(x, state, context)
    assert torch.equal(x, kept)
    expected = torch.stack([by_hand(x[:, c], bits, context, state[:, c]) for c in range(3)], dim=1)
    assert int((y - expected).abs().gt(1e-5).sum()) <= 1  # on an edge, to the last digit of float32


def test_edges_of_a_ramp_lie_where_the_capacitors_say() -> None:
    """The measured transfer curve of a monotone converter: code k begins at level k - 1/2 LSB."""
    bits, fine = 6, 2000
    state = ADC(bits, capacitor_std=0.01).sample((1,), generator=generator(4))
    assert state is not None
    ramp = torch.arange(-fine, 64 * fine, dtype=torch.float64).div(fine).unsqueeze(1)
    y = ADC(bits, capacitor_std=0.01).apply(ramp, state, over(0, 63))[:, 0].round()
    levels = torch.tensor([sum(float(state[2 + i]) for i in range(bits) if k >> i & 1) for k in range(1, 64)]).double()
    assert bool((levels.diff() > 0).all())
    edges = ramp[torch.searchsorted(y, torch.arange(1, 64).double()), 0]
    torch.testing.assert_close(edges, levels - 0.5, rtol=0, atol=1.01 / fine)


def test_levels_out_of_order_are_missing_codes_and_never_a_step_back() -> None:
    weights = torch.tensor([1.0, 2.0, 4.0, 6.5])  # 0111 lies above 1000: codes from 1000 on hide it
    codes_seen = approximate(torch.linspace(-1, 16, 5000), weights.unsqueeze(1))
    assert bool((codes_seen.diff() >= 0).all())
    assert codes_seen.unique().tolist() == [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15]


def test_what_is_not_a_number_stays_none_and_what_is_too_large_saturates() -> None:
    x = torch.tensor([math.nan, math.inf, -math.inf])
    for effect in (ADC(), ADC(gain_std=0.1), ADC(capacitor_std=0.01)):
        state = effect.sample((1,), generator=generator())
        y = effect.apply(x, state, over(-1, 1))
        assert bool(y[0].isnan())
        torch.testing.assert_close(y[1:], torch.tensor([1.0, -1.0]))


def test_gain_and_offset_come_before_the_code() -> None:
    effect = ADC(5, gain_std=0.1, offset_std=2)
    state = effect.sample((2, 7), generator=generator())
    assert state is not None
    context, x = over(-1, 1), torch.randn(50, 2, 7, generator=generator(1))
    expected = torch.round((x * (1 + state[0]) + state[1] / 15).clamp(-1, 1) * 15) / 15
    torch.testing.assert_close(effect.apply(x, state, context), expected)


@pytest.mark.parametrize("effect", [ADC(4, gain_std=0.1), ADC(4, capacitor_std=0.05)])
def test_gradients_pass_straight_through_errors(effect: ADC) -> None:
    state = effect.sample((1,), generator=generator())
    assert state is not None
    x = torch.tensor([[-5.0], [0.3], [0.71], [5.0]], requires_grad=True)
    y = effect.apply(x, state, over(-1, 1))
    (grad,) = torch.autograd.grad(y.sum(), x)
    gain = 1 + float(state[0])
    torch.testing.assert_close(grad[:, 0], torch.tensor([0.0, gain, gain, 0.0]))
    with torch.no_grad():
        torch.testing.assert_close(y, effect.apply(x, state, over(-1, 1)))


@pytest.mark.parametrize("share", [1, 3])
def test_converting_in_place_gives_the_same(share: int) -> None:
    for effect in (ADC(6), ADC(6, gain_std=0.1, share=share), ADC(6, capacitor_std=0.01, share=share)):
        state = effect.sample((7,), generator=generator())
        x = torch.randn(20, 7, generator=generator())
        y = effect.apply(x, state, over(-1, 1))
        assert torch.equal(effect.apply_(x.clone(), state, over(-1, 1)), y)


# -- drivers ---------------------------------------------------------------------------------------------------------


def test_drivers_tell_gain_and_offset_in_input_units() -> None:
    effect = DAC(4, gain_std=0.1, offset_std=0.5)
    state = effect.sample((2, 3), generator=generator())
    assert state is not None
    for context, step in ((over(0, 3), 0.2), (over(-3, 3), 3 / 7)):
        gain, offset = effect.lines(state, context)
        torch.testing.assert_close(gain, 1 + state[0])
        torch.testing.assert_close(offset, state[1] * step)
    sliced = DAC(4, slice_bits=2, gain_std=0.1, offset_std=0.5)
    torch.testing.assert_close(sliced.lines(state, over(0, 3))[1], state[1] * 1.0)  # codes 0, 1, 2, 3 of a slice
    with pytest.raises(SimulationError, match="DAC has no calibrated range"):
        effect.lines(state, Context(Ideal()))
    gain, offset = DAC(4, gain_std=0.1).lines(state, Context(Ideal()))  # needs no range
    assert not bool(offset.any())


# -- through the engine ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("subtract", ["analog", "digital"])
@pytest.mark.parametrize("rows", [4, 100])
@pytest.mark.parametrize("share", [1, 2])
def test_each_array_column_has_the_errors_of_its_own_converter(subtract: str, rows: int, share: int) -> None:
    torch.manual_seed(0)
    digital, x = nn.Linear(10, 5, bias=False), torch.randn(60, 10, generator=generator())
    mapping = Differential(rows, subtract=subtract)  # type: ignore[arg-type]
    adc = ADC(6, percentile=100, gain_std=0.05, offset_std=0.5, capacitor_std=0.02, share=share)
    layer = layer_of(digital, {"adc": adc}, mapping, x)
    assert layer.chip is not None
    state = layer.chip.drawn["adc"]  # [numbers, converters, banks, groups, tiles, cols]
    converters, tiles = 1 if subtract == "analog" else 2, math.ceil(10 / rows)
    assert state.shape == (8, converters, 1, 1, tiles, 5)
    context = Context(Ideal(), full_scale=layer.ranges.sum)
    w = digital.weight.detach().double().t()
    expected = torch.zeros(60, 5).double()
    # Over the smallest conductance: what a pair subtracts digitally cancels but for rounding.
    g = layer.chip.mapped.g[:, 0, 0].double() * layer.chip.mapped.scale.double().reshape(-1)[0]
    for tile in range(tiles):
        part = slice(tile * rows, (tile + 1) * rows)
        for c in range(converters):
            cells = w[part] if subtract == "analog" else g[c, part]
            for col in range(5):
                one = by_hand(x[:, part].double() @ cells[:, col], 6, context, state[:, c, 0, 0, tile, col])
                expected[:, col] += one if c == 0 else -one
    with torch.no_grad():
        y = layer(x).double()
    step = codes(6, layer.ranges.sum).step
    wrong = (y - expected).abs() > step / 2
    assert float(wrong.double().mean()) < 0.01  # on an edge of float32
    assert float((y - x.double() @ w).abs().mean()) > step / 4  # the errors are there


def test_converters_belong_to_the_chip() -> None:
    torch.manual_seed(0)
    x = torch.randn(8, 6, generator=generator())
    effects: dict[str, NonIdeality] = {
        "dac": DAC(8, gain_std=0.02),
        "adc": ADC(8, gain_std=0.02, offset_std=1, capacitor_std=0.01),
    }
    layer = layer_of(nn.Linear(6, 4), effects, Differential(3), x)
    with torch.no_grad():
        y = layer(x)
        assert torch.equal(torch.cat([layer(part) for part in x.split(3)]), y)
        program(layer, 4)
        assert not torch.equal(layer(x), y)
        program(layer, 3)
        assert torch.equal(layer(x), y)
        layer.train()
        steps = []
        for layer.step in (0, 1):
            steps.append(layer(x))
    assert not torch.equal(*steps)


def test_a_driver_scales_what_its_word_line_carries_on_its_own_array() -> None:
    """Two arrays of two pairs side by side: each has its own drivers, here on 1e4 word lines."""
    torch.manual_seed(0)
    digital, x = nn.Linear(10_000, 4, bias=False), torch.eye(10_000)[:500]
    layer = layer_of(digital, {"dac": DAC(16, "max", gain_std=0.03)}, Differential(64, 4), x)
    assert layer.chip is not None
    gain = 1 + layer.chip.drawn["dac"][0, 0, 0]  # [rows, arrays]
    assert gain.shape == (10_000, 2)
    with torch.no_grad():
        y = layer(x)
    expected = digital.weight.detach().t()[:500] * gain[:500].repeat_interleave(2, dim=1)
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-7)
    n = gain.numel()
    assert float(gain.std()) == pytest.approx(0.03, rel=Z / math.sqrt(2 * n))
    assert float(gain.mean()) == pytest.approx(1, abs=Z * 0.03 / math.sqrt(n))
    assert abs(float(torch.corrcoef(gain.t())[0, 1])) < Z / math.sqrt(n / 2)


@pytest.mark.parametrize("effect", [ADC(6, gain_std=0.1, offset_std=1, capacitor_std=0.02), DAC(6, gain_std=0.1)])
def test_a_training_step_has_gradients(effect: NonIdeality) -> None:
    torch.manual_seed(0)
    x = torch.rand(4, 6, 5, 5, generator=generator())
    layer = layer_of(nn.Conv2d(6, 4, 3), {"effect": effect}, Differential(16), x)
    layer.train()
    x.requires_grad_()
    layer(x).square().sum().backward()
    assert isinstance(layer.weight, Tensor)
    for grad in (x.grad, layer.weight.grad):
        assert grad is not None
        assert bool(grad.isfinite().all())
        assert float(grad.abs().sum()) > 0


@pytest.mark.parametrize("slice_bits", [None, 2])
@pytest.mark.parametrize("subtract", ["analog", "digital"])
def test_offsets_of_drivers_flow_through_every_cell_of_their_word_lines(subtract: str, slice_bits: int | None) -> None:
    torch.manual_seed(0)
    digital, x = nn.Linear(10, 5), torch.rand(20, 10, generator=generator())
    mapping = Differential(4, 6, subtract=subtract)  # type: ignore[arg-type]
    dac = DAC(6, "max", slice_bits=slice_bits, gain_std=0.05, offset_std=0.5)
    layer = layer_of(digital, {"dac": dac}, mapping, x)
    assert layer.chip is not None
    state = layer.chip.drawn["dac"][:, 0, 0]  # [2, rows, arrays]: three pairs an array
    assert state.shape == (2, 10, 2)
    context = over(0, float(x.max()))
    driven = dac.apply(x, None, context)
    lsb, repeats = float(x.max()) / 63, 1.0
    if slice_bits is not None:
        lsb, repeats = float(x.max()) / 3, sum(dac.slices(driven, context)[1])
    gain, offset = (s.repeat_interleave(3, dim=1)[:, :5] for s in (1 + state[0], state[1] * lsb * repeats))
    w = digital.weight.detach().t()
    expected = driven @ (w * gain) + (w * offset).sum(dim=0) + digital.bias
    with torch.no_grad():
        torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-5)


def test_offsets_of_drivers_wait_for_the_input_range() -> None:
    layer = analogize(nn.Linear(4, 3), Stack(Ideal(), Differential(), {"dac": DAC(offset_std=0.5)}))
    with pytest.raises(SimulationError, match=r"layer 'layer': the offsets of its drivers .* call calibrate"):
        program(layer)
