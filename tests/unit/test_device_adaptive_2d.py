"""The headline device as an array cell: contract, statistics, ageing, gate.

Its physics: tests/fidelity/test_adaptive_2d.py.
"""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor

from memristor_plugins.devices import adaptive_2d_physics as physics
from memristor_plugins.devices.adaptive_2d import Adaptive2D
from memristor_plugins.errors import ConfigError, SimulationError
from memristor_plugins.interfaces.device import CellState
from memristor_plugins.signature import parameters

CELLS = 200_000
# Statistics lie within this many of their own standard errors: 99.99 % confidence each; seeds are fixed.
STANDARD_ERRORS = 3.89
DAY = 86_400.0
NO_SPREAD = {"d2d_range": 0.0, "d2d_beta": 0.0}

shapes = st.lists(st.integers(0, 4), max_size=4).map(tuple)
dtypes = st.sampled_from([torch.float32, torch.float64])
seeds = st.integers(0, 2**31)


def seeded(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


def targets(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(shape, generator=seeded(7), dtype=dtype) * 20e-6


def assert_mean(sample: Tensor, mean: float, std: float) -> None:
    assert sample.numel() >= 100_000
    assert abs(sample.double().mean().item() - mean) < STANDARD_ERRORS * std / math.sqrt(sample.numel())


def assert_normal(sample: Tensor, mean: float, std: float) -> None:
    """Mean and standard deviation are those of a normal, and so is the share beyond two deviations."""
    assert_mean(sample, mean, std)
    measured = sample.double().std().item()
    assert abs(measured / std - 1) < STANDARD_ERRORS / math.sqrt(2 * sample.numel())
    outside = ((sample.double() - mean).abs() > 2 * std).double()
    share = math.erfc(math.sqrt(2))
    assert_mean(outside, share, math.sqrt(share * (1 - share)))


# --- contract ------------------------------------------------------------------------------------------


@given(shape=shapes, dtype=dtypes, seed=seeds)
@settings(max_examples=50, deadline=None)
def test_every_method_keeps_shape_dtype_and_arguments(shape: tuple[int, ...], dtype: torch.dtype, seed: int) -> None:
    device, generator = Adaptive2D(), seeded(seed)
    target = targets(shape, dtype)
    cells = device.fabricate(shape, generator=generator)
    assert all(c.shape == torch.Size(shape) and c.dtype == torch.float32 for c in cells.constants.values())
    kept = target.clone(), cells.map(Tensor.clone)

    states = [
        device.program(target, generator=generator),
        device.program(target, generator=generator, cells=cells),
        device.hold(target, generator=generator),
    ]
    for state in states:
        assert state.ageing is not None
        before = state.map(Tensor.clone)
        g = device.conductance(state, DAY)
        v_gate = torch.full(shape, -1.0, dtype=dtype)
        for value in (
            state.g,
            state.target,
            state.ageing,
            g,
            device.read(g, state, generator=generator, seconds=DAY),
            device.read_std(g, state, DAY),
            device.current(g, torch.full(shape, 0.1, dtype=dtype)),
            device.gain(state, v_gate),
            device.nominal_gain(v_gate),
            device.gate_voltage(device.nominal_gain(v_gate)),
        ):
            assert value.shape == torch.Size(shape)
            assert value.dtype == dtype
            assert bool(torch.isfinite(value).all())
        assert bool((state.g >= 0).all())
        assert_same(state, before)
    assert torch.equal(target, kept[0])
    assert all(torch.equal(cells[name], kept[1][name]) for name in cells.constants)


def assert_same(a: CellState, b: CellState) -> None:
    assert torch.equal(a.g, b.g)
    assert torch.equal(a.target, b.target)
    assert a.ageing is not None
    assert b.ageing is not None
    assert torch.equal(a.ageing, b.ageing)
    assert a.cells.constants.keys() == b.cells.constants.keys()
    assert all(torch.equal(a.cells[name], b.cells[name]) for name in a.cells.constants)


@given(seed=seeds)
@settings(max_examples=20, deadline=None)
def test_one_seed_gives_one_chip_and_the_global_generator_stays_untouched(seed: int) -> None:
    device, target = Adaptive2D(), targets((3, 5))
    before = torch.random.get_rng_state()
    one = device.program(target, generator=seeded(seed))
    same = device.program(target, generator=seeded(seed))
    other = device.program(target, generator=seeded(seed + 1))
    assert_same(one, same)
    assert not torch.equal(one.g, other.g)
    assert torch.equal(device.read(one.g, one, generator=seeded(seed)), device.read(one.g, one, generator=seeded(seed)))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_writing_the_same_cells_again_keeps_the_cells_and_draws_a_new_error() -> None:
    device, generator, target = Adaptive2D(), seeded(), targets((100,))
    first = device.program(target, generator=generator)
    second = device.program(target, generator=generator, cells=first.cells)
    assert second.cells is first.cells
    assert not torch.equal(first.g, second.g)


def test_hold_is_exact_even_beyond_what_cells_reach() -> None:
    target = torch.full((1000,), 20e-6)
    state = Adaptive2D().hold(target, generator=seeded())
    assert torch.equal(state.g, target)
    assert bool((state.cells["reach"] < target).any())


def test_a_constant_without_spread_is_drawn_for_no_cell() -> None:
    device, generator = Adaptive2D(**NO_SPREAD, programming_std=0.0, retention_sigma=0.0), seeded()
    before, target = generator.get_state(), targets((4, 5))
    state = device.program(target, generator=generator)
    assert torch.equal(generator.get_state(), before)
    assert torch.equal(state.g, target)
    assert state.ageing is None
    assert state.cells["beta"].shape == (4, 5)
    nominal = device.conductance(state, DAY)
    median = device.conductance(replace(state, ageing=torch.zeros(4, 5)), DAY)
    torch.testing.assert_close(nominal, median)


# --- statistics ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [4e-6, 10e-6])
def test_programming_error_is_gaussian_of_2_percent_of_g_max(level: float) -> None:
    state = Adaptive2D().program(torch.full((CELLS,), level), generator=seeded(1))
    assert_normal(state.g.double() - level, 0.0, 0.02 * 20e-6)


def test_programming_clips_at_zero_and_never_at_g_max() -> None:
    device = Adaptive2D()
    low = device.program(torch.full((CELLS,), 0.1e-6), generator=seeded(2)).g
    clipped = 0.5 * math.erfc(0.1e-6 / 0.4e-6 / math.sqrt(2))
    assert_mean((low == 0).double(), clipped, math.sqrt(clipped * (1 - clipped)))
    assert low.min().item() == 0.0
    high = Adaptive2D(**NO_SPREAD).program(torch.full((CELLS,), 20e-6), generator=seeded(3)).g
    assert_normal(high.double() - 20e-6, 0.0, 0.4e-6)


def test_reach_is_lognormal_and_saturates_only_targets_above_it() -> None:
    device = Adaptive2D(programming_std=0.0)
    state = device.program(torch.full((CELLS,), 20e-6), generator=seeded(4))
    reach = state.cells["reach"]
    assert_normal((reach.double() / 20e-6).log(), 0.0, 0.1)
    assert torch.equal(state.g, reach.clamp_max(20e-6))
    inside = device.program(torch.full((CELLS,), 10e-6), generator=seeded(5), cells=state.cells)
    assert torch.equal(inside.g, inside.target), "a verified conductance has no device-to-device error"


def test_beta_is_lognormal_about_its_nominal_value_and_independent_of_reach() -> None:
    cells = Adaptive2D().fabricate((CELLS,), generator=seeded(6))
    beta, reach = (cells["beta"].double() / 0.3).log(), (cells["reach"].double() / 20e-6).log()
    assert_normal(beta, 0.0, 0.05)
    assert_mean(beta * reach, 0.0, 0.05 * 0.1)


@pytest.mark.parametrize(
    ("level", "relative"),
    [
        (20e-6, 0.01),
        (math.sqrt(20e-6 * 0.1e-6), 0.03),  # the middle of the range in ln G
        (0.1e-6, 0.05),
        (25e-6, 0.01),
        (0.01e-6, 0.05),
    ],
)
def test_read_noise_grows_from_1_percent_on_to_5_percent_off(level: float, relative: float) -> None:
    device = Adaptive2D()
    g = torch.full((CELLS,), level)
    state = device.hold(g, generator=seeded(8))
    torch.testing.assert_close(device.read_std(g, state, 0.0), torch.full((CELLS,), relative * level))
    first, second = (device.read(g, state, generator=seeded(s)).double() / level - 1 for s in (9, 10))
    assert_normal(first, 0.0, relative)
    assert_mean(first * second, 0.0, relative**2)


def test_read_std_of_no_conductance_is_zero() -> None:
    device, zero = Adaptive2D(), torch.zeros(2)
    assert device.read_std(zero, device.hold(zero, generator=seeded()), 0.0).tolist() == [0.0, 0.0]


def test_retention_times_are_lognormal() -> None:
    device = Adaptive2D()
    state = device.hold(torch.full((CELLS,), 10e-6, dtype=torch.float64), generator=seeded(11))
    left = (device.conductance(state, DAY) / 1e-9).log() / math.log(10e-6 / 1e-9)
    assert_normal((-DAY / left.log() / 1e7).log(), 0.0, 0.5)


# --- ageing --------------------------------------------------------------------------------------------


@given(
    g=st.floats(0.0, 40e-6),
    normal=st.floats(-4, 4),
    first=st.floats(0, 1e8),
    later=st.floats(0, 1e8),
)
@settings(deadline=None)
def test_all_times_lie_on_one_falling_trajectory(g: float, normal: float, first: float, later: float) -> None:
    device = Adaptive2D()
    target = torch.tensor([g], dtype=torch.float64)
    state = replace(device.hold(target, generator=seeded()), ageing=torch.tensor([normal], dtype=torch.float64))
    at_first = device.conductance(state, first)
    at_both = device.conductance(state, first + later)
    # Ageing on from an intermediate time arrives where ageing at once does; never below G_off, never rising.
    torch.testing.assert_close(device.conductance(replace(state, g=at_first), later), at_both, rtol=1e-9, atol=0)
    assert at_both.item() <= at_first.item() * (1 + 1e-12)
    assert at_both.item() >= min(g, 1e-9) * (1 - 1e-12)
    assert torch.equal(device.conductance(state, 0.0), target)
    assert torch.equal(device.conductance(state, first), at_first)


def test_a_larger_normal_is_a_longer_retention_time() -> None:
    device = Adaptive2D()
    state = replace(device.hold(torch.full((3,), 10e-6), generator=seeded()), ageing=torch.tensor([-1.0, 0.0, 1.0]))
    short, median, long = device.conductance(state, 1e6).tolist()
    assert short < median < long


@pytest.mark.parametrize("seconds", [-1.0, math.nan])
def test_no_time_before_programming(seconds: float) -> None:
    device = Adaptive2D()
    with pytest.raises(SimulationError, match="seconds must be >= 0"):
        device.conductance(device.hold(torch.ones(1), generator=seeded()), seconds)


# --- gate ----------------------------------------------------------------------------------------------


@given(
    beta=st.floats(0.05, 0.6),
    sign=st.sampled_from([-1.0, 1.0]),
    v_dirac=st.floats(-1.5, 1.5),
    share=st.floats(0, 1),
)
@settings(deadline=None)
def test_gate_voltage_inverts_nominal_gain(beta: float, sign: float, v_dirac: float, share: float) -> None:
    device = Adaptive2D(beta=sign * beta, v_dirac=v_dirac, g_on0=60e-6)
    low, high = device.gate_range
    v = torch.tensor([low + share * (high - low)], dtype=torch.float64)
    torch.testing.assert_close(device.gate_voltage(device.nominal_gain(v)), v, rtol=0, atol=1e-6)
    gain = device.gain_min + share * (1 - device.gain_min)
    wanted = torch.tensor([gain], dtype=torch.float64)
    torch.testing.assert_close(device.nominal_gain(device.gate_voltage(wanted)), wanted, rtol=0, atol=1e-9)


def test_gate_inverse_in_float32_and_any_shape() -> None:
    device = Adaptive2D()
    gain = torch.linspace(device.gain_min, 1.0, 1000).reshape(10, 100)
    torch.testing.assert_close(device.nominal_gain(device.gate_voltage(gain)), gain, rtol=0, atol=1e-6)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_gain_is_monotone_in_the_gate_range_and_one_at_its_end(sign: float) -> None:
    device = Adaptive2D(beta=sign * 0.3)
    assert device.gate_range == (-sign * 2.0, sign * 2.0)
    state = device.program(targets((1000,)), generator=seeded(12))
    voltages = torch.linspace(*device.gate_range, 101)[:, None]
    gain = device.gain(state, voltages)
    assert gain.shape == (101, 1000)
    assert bool((gain > 0).all())
    assert bool((gain <= 1).all())
    assert bool((gain[1:] >= gain[:-1] - 1e-6).all())
    assert torch.equal(gain[-1], torch.ones(1000))
    nominal = device.nominal_gain(voltages[:, 0])
    assert bool((nominal[1:] > nominal[:-1]).all())
    assert nominal[0].item() == pytest.approx(device.gain_min, rel=1e-6)


def test_gain_uses_each_cells_own_beta() -> None:
    device = Adaptive2D(d2d_range=0.0)
    g_on = device.on_conductance(torch.tensor(2.0, dtype=torch.float64)).item()
    g = torch.full((CELLS,), 20e-6, dtype=torch.float64)
    state = device.hold(g, generator=seeded(13))
    gain = device.gain(state, torch.tensor(-2.0))
    # Per cell, ln(gain) = -x beta (E_F(+2 V) - E_F(-2 V)) / 4kT with x from the cell's own G_on(+2 V).
    beta = state.cells["beta"].double()
    swing = -math.log(device.gain_min) / 0.3
    own_g_on = g_on * ((beta - 0.3) * swing / 2).exp()
    x = math.log(20e-6 / 1e-9) / (own_g_on / 1e-9).log()
    torch.testing.assert_close(gain, (-x * beta * swing).exp(), rtol=1e-6, atol=0)


def test_a_cell_that_reaches_higher_has_a_filament_further_from_complete_and_feels_the_gate_less() -> None:
    device = Adaptive2D(d2d_beta=0.0)
    state = device.hold(torch.full((1000,), 10e-6, dtype=torch.float64), generator=seeded(16))
    x = device.gain(state, torch.tensor(-2.0)).log() / math.log(device.gain_min)
    g_on = 10e-6 * (10e-6 / 1e-9) ** ((1 - x) / x)  # of the complete filament, from x at 10 uS
    top = device.on_conductance(torch.tensor(2.0, dtype=torch.float64))
    torch.testing.assert_close(g_on / top, state.cells["reach"].double() / 20e-6, rtol=1e-5, atol=0)


def test_a_cell_without_a_filament_does_not_feel_the_gate() -> None:
    device = Adaptive2D()
    state = device.hold(torch.tensor([0.0, 0.5e-9, 1e-9]), generator=seeded())
    assert device.gain(state, torch.tensor(-2.0)).tolist() == pytest.approx([1.0, 1.0, 1.0], abs=1e-6)


@given(x=st.floats(0, 1), v_gate=st.floats(-2, 2))
@settings(deadline=None)
def test_completion_inverts_conductance(x: float, v_gate: float) -> None:
    g_on = Adaptive2D().on_conductance(torch.tensor(v_gate, dtype=torch.float64))
    g = physics.conductance(torch.tensor(x, dtype=torch.float64), g_on, g_off=1e-9)
    assert physics.completion(g, g_on, g_off=1e-9).item() == pytest.approx(x, abs=1e-12)


def test_current_is_that_of_cell_and_series_resistance() -> None:
    device = Adaptive2D(r_series=5e3)
    g, v = torch.tensor([[0.0], [1e-6], [20e-6]]), torch.tensor([-0.1, 0.1])
    current = device.current(g, v)
    assert current.shape == (3, 2)
    assert current[2, 1].item() == pytest.approx(0.1 / (1 / 20e-6 + 5e3))
    assert torch.equal(current[:, 0], -current[:, 1])
    assert current[0].abs().tolist() == [0.0, 0.0]
    assert torch.equal(Adaptive2D().current(g, v), g * v)


# --- gradients -----------------------------------------------------------------------------------------


def test_gradients_are_finite_from_target_to_gain_and_pass_errors_unchanged() -> None:
    device = Adaptive2D()
    target = torch.cat((torch.zeros(50), torch.full((50,), 1e-9), targets((900,)))).requires_grad_()
    state = device.program(target, generator=seeded(14))
    free = (state.g > 0) & (target <= state.cells["reach"])
    (through_write,) = torch.autograd.grad(state.g.sum(), target, retain_graph=True)
    assert torch.equal(through_write[free], torch.ones(int(free.sum())))
    assert torch.equal(through_write[~free], torch.zeros(int((~free).sum())))

    g = device.conductance(state, DAY)
    v_gate = torch.full((1000,), -0.5, requires_grad=True)
    read = device.read(g, state, generator=seeded(15), seconds=DAY)
    out = device.current(read * device.gain(state, v_gate), torch.tensor(0.1)).sum()
    out = out + device.read_std(g, state, DAY).sum()
    for gradient in torch.autograd.grad(out, (target, v_gate)):
        assert bool(torch.isfinite(gradient).all())
        assert bool((gradient != 0).any())

    wanted = torch.linspace(device.gain_min, 1.0, 101, requires_grad=True)
    (slope,) = torch.autograd.grad(device.gate_voltage(wanted).sum(), wanted)
    assert bool(torch.isfinite(slope).all())


def test_gradient_at_g_max_without_spread_is_whole() -> None:
    target = torch.full((10,), 20e-6, requires_grad=True)
    state = Adaptive2D(**NO_SPREAD).program(target, generator=seeded())
    (gradient,) = torch.autograd.grad(state.g.sum(), target)
    assert gradient.tolist() == [1.0] * 10


# --- configuration -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"g_min": 20e-6}, r"device\.g_min: must be below g_max = 2e-05 S, got 2e-05 S"),
        ({"g_min": 1e-9}, r"device\.g_min: must be above g_off = 1e-09 S, got 1e-09 S"),
        ({"g_max": 50e-6}, r"device\.g_max: must be at most 4\.04e-05 S.*at \+2 V, got 5e-05 S"),
        ({"beta": 0.0}, r"device\.beta: must not be 0"),
        ({"tau_l": 0.01}, r"device\.tau_l: must be at least tau_s = 0\.05 s, got 0\.01 s"),
    ],
)
def test_inconsistent_parameters_are_refused_in_one_line(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Adaptive2D(**settings)


def test_every_parameter_says_what_it_is_and_where_its_default_is_from() -> None:
    for parameter in parameters(Adaptive2D, "adaptive_2d").values():
        assert parameter.type is float
        assert parameter.info.about
        assert parameter.info.source
        assert parameter.info.complaint(parameter.default) is None
