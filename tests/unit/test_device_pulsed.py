"""Pulsed-update devices: laws against their recurrences, variation, and write-verify."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor

from memristor_plugins.devices import pulse_laws
from memristor_plugins.devices._pulsed import PulsedDevice
from memristor_plugins.devices.curve import interpolate, trajectory
from memristor_plugins.devices.exp_step import ExpStep
from memristor_plugins.devices.linear_step import LinearStep
from memristor_plugins.devices.neurosim import NeuroSim
from memristor_plugins.devices.pow_step import PowStep
from memristor_plugins.devices.soft_bounds import SoftBounds
from memristor_plugins.devices.write_verify import Written, write_verify
from memristor_plugins.errors import ConfigError
from memristor_plugins.interfaces.device import Cells

CLASSES = [NeuroSim, SoftBounds, LinearStep, ExpStep, PowStep]
QUIET: dict[str, Any] = {"c2c": 0.0, "d2d_step": 0.0, "d2d_bounds": 0.0}
STANDARD_ERRORS = 3.89  # 99.99 % confidence

each = pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)


def seeded(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


def cells_of(device: PulsedDevice, count: int, seed: int = 0) -> Cells:
    return device.fabricate((count,), generator=seeded(seed))


def tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def written(device: PulsedDevice, target: Tensor, seed: int = 0) -> Written:
    generator = seeded(seed)
    return write_verify(
        device,
        target,
        cells=device.fabricate(target.shape, generator=generator),
        generator=generator,
        tolerance=device.tolerance * (device.g_max - device.g_min),
        rounds=device.rounds,
        verify_noise=device.verify_noise,
        read_voltage=device.read_voltage,
        read_time=device.read_time,
        resolution=device.resolution,
    )


# --- the laws ----------------------------------------------------------------------------------------------


@each
@pytest.mark.parametrize("count", [1, 7, 60])
def test_many_pulses_at_once_are_as_many_single_pulses(cls: type[PulsedDevice], count: int) -> None:
    """Soft bounds keep shares a millionth below one, which no number of pulses reaches."""
    device = cls(**QUIET)
    low, high = device.bounds
    g = torch.linspace(low, high, 23, dtype=torch.float64)
    cells = cells_of(device, 23)
    for sign in (1.0, -1.0):
        at_once = device.pulse(g, torch.full_like(g, sign * count), cells=cells, generator=None)
        one_by_one = g
        for _ in range(count):
            one_by_one = device.pulse(one_by_one, torch.full_like(g, sign), cells=cells, generator=None)
        assert ((at_once - one_by_one) / (high - low)).abs().max().item() < 2e-6


@each
def test_potentiation_rises_depression_falls_and_bounds_hold(cls: type[PulsedDevice]) -> None:
    device = cls(**QUIET)
    low, high = device.bounds
    g = torch.linspace(low, high, 50, dtype=torch.float64)
    cells = cells_of(device, 50)
    up = device.pulse(g, torch.full_like(g, 5.0), cells=cells, generator=None)
    down = device.pulse(g, torch.full_like(g, -5.0), cells=cells, generator=None)
    assert bool((up[:-1] > g[:-1]).all())
    assert bool((down[1:] < g[1:]).all())
    rounding = 1e-6  # cells' constants are float32
    assert low * (1 - rounding) <= down.min().item() <= up.max().item() <= high * (1 + rounding)
    assert torch.equal(device.pulse(g, torch.zeros_like(g), cells=cells, generator=seeded()), g)


@each
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_the_wanted_number_of_pulses_reaches_the_target(cls: type[PulsedDevice], data: st.DataObject) -> None:
    device = cls(**QUIET)
    share = st.floats(0.02, 0.98)
    low, high = device.g_min, device.g_max
    g, target = (tensor(low + data.draw(share) * (high - low)) for _ in range(2))
    count = device.pulses_to(g, target)
    reached = device.pulse(g, count, cells=cells_of(device, 1), generator=None)
    assert abs(reached - target).item() < 1e-6 * (high - low)
    assert (count.item() >= 0) == (target.item() >= g.item())


@pytest.mark.parametrize("up", [True, False])
def test_neurosim_crosses_its_range_in_the_published_number_of_pulses(up: bool) -> None:
    device = NeuroSim(**QUIET)
    pulses = tensor(0.0, 97.0 if up else 100.0)
    torch.testing.assert_close(device.progress(pulses, up=up), tensor(0.0, 1.0))
    a = (0.499181 * 97) if up else (0.200303 * 100)
    half = pulses[1] / 2
    full = -math.expm1(-pulses[1].item() / a)
    assert device.progress(half, up=up).item() == pytest.approx(-math.expm1(-half.item() / a) / full, rel=1e-3)


def test_neurosim_depression_starts_at_the_upper_bound() -> None:
    """G(P) = B (1 - exp(-P / A)) + G_min down from P_max with a curve of its own: fastest at the top."""
    device = NeuroSim(**QUIET)
    low, high = device.bounds
    one = device.pulse(tensor(high), tensor(-1.0), cells=cells_of(device, 1), generator=None)
    last = device.pulse(tensor(low + 0.02 * (high - low)), tensor(-1.0), cells=cells_of(device, 1), generator=None)
    assert (high - one.item()) > 10 * (low + 0.02 * (high - low) - last.item())


@pytest.mark.parametrize("slope", [0.0, 0.3, 1.0])
def test_linear_step_is_its_recurrence(slope: float) -> None:
    u, step = 0.0, 0.013
    for n in range(200):
        law = pulse_laws.linear_step(tensor(float(n)), step, slope).item()
        assert law == pytest.approx(u, abs=1e-9)
        u = min(u + step * (1 - slope * (2 * u - 1)), 1.0)


def test_linear_step_with_full_slope_is_soft_bounds() -> None:
    p = torch.arange(0, 300.0, dtype=torch.float64)
    torch.testing.assert_close(pulse_laws.linear_step(p, 0.01, 1.0), pulse_laws.soft_bounds(p, 0.02))


def test_soft_bounds_leave_a_power_of_the_distance() -> None:
    device = SoftBounds(**QUIET, step_up=0.05, step_down=0.1)
    low, high = device.bounds
    cells = cells_of(device, 1)
    up = device.pulse(tensor(low), tensor(10.0), cells=cells, generator=None).item()
    assert (high - up) / (high - low) == pytest.approx(0.95**10)
    down = device.pulse(tensor(high), tensor(-10.0), cells=cells, generator=None).item()
    assert (down - low) / (high - low) == pytest.approx(0.9**10)


def test_exp_step_is_its_recurrence_in_both_directions() -> None:
    """w += 2 step max(1 - A exp(+-gamma z), 0), z = a w + b, in the published variable w in [-1, 1]."""
    device = ExpStep(**QUIET)
    low, high = device.bounds
    w = {1: -1.0, -1: 1.0}
    for _ in range(200):
        w[1] += 2 * 0.00085 * max(1 + 1.18445 * math.exp(5 * (-0.5 * w[1] - 0.5)), 0)
        w[-1] -= 2 * 0.000675 * max(1 + 0.081404 * math.exp(-5 * (-0.5 * w[-1] - 0.5)), 0)
    for sign, start in ((1, low), (-1, high)):
        g = device.pulse(tensor(start), tensor(200.0 * sign), cells=cells_of(device, 1), generator=None)
        expected = low + (high - low) * (w[sign] + 1) / 2
        assert g.item() == pytest.approx(expected, rel=1e-6)  # cells' bounds are float32


def test_pow_step_is_its_recurrence_and_soft_bounds_at_power_one() -> None:
    device = PowStep(**QUIET, gamma_up=2.0, gamma_down=1.0)
    u = 0.0
    for _ in range(100):
        u += 0.02 * (1 - u) ** 2
    assert device.progress(tensor(100.0), up=True).item() == pytest.approx(u, abs=1e-12)
    torch.testing.assert_close(
        device.progress(tensor(100.0), up=False), pulse_laws.soft_bounds(tensor(100.0), 0.02), atol=1e-9, rtol=0
    )


@given(label=st.floats(0.01, 9.0))
@settings(max_examples=40, deadline=None)
def test_curvature_and_nonlinearity_are_inverse(label: float) -> None:
    assert pulse_laws.nonlinearity(pulse_laws.curvature(label)) == pytest.approx(label, rel=1e-6)


def test_no_nonlinearity_is_a_straight_line() -> None:
    device = NeuroSim(**QUIET, nonlinearity_up=0.0)
    torch.testing.assert_close(device.progress(tensor(0.0, 9.7, 48.5, 200.0), up=True), tensor(0.0, 0.1, 0.5, 1.0))


# --- curves ------------------------------------------------------------------------------------------------


@given(
    steps=st.lists(st.floats(0.01, 2.0), min_size=1, max_size=8),
    x=st.lists(st.floats(-1.0, 20.0), min_size=1, max_size=8),
)
@settings(max_examples=50, deadline=None)
def test_interpolation_goes_through_the_points_and_is_inverted_exactly(steps: list[float], x: list[float]) -> None:
    xs = torch.cat((torch.zeros(1, dtype=torch.float64), torch.tensor(steps, dtype=torch.float64).cumsum(0)))
    ys = torch.linspace(0, 3, len(xs), dtype=torch.float64).square()
    torch.testing.assert_close(interpolate(xs, xs, ys), ys)
    inside = torch.tensor(x, dtype=torch.float64).clamp(0, xs[-1].item())
    torch.testing.assert_close(interpolate(interpolate(inside, xs, ys), ys, xs), inside, atol=1e-9, rtol=1e-9)
    assert interpolate(tensor(-5.0), xs, ys).item() == 0.0
    assert interpolate(tensor(1e3), xs, ys).item() == pytest.approx(9.0)


def test_a_trajectory_ends_at_the_bound_or_where_nothing_moves() -> None:
    pulses, shares = trajectory(lambda u: 0.3, longest=100)
    torch.testing.assert_close(shares, tensor(0.0, 0.3, 0.6, 0.9, 1.0))
    torch.testing.assert_close(pulses, tensor(0.0, 1.0, 2.0, 3.0, 3 + 1 / 3))
    _, stalled = trajectory(lambda u: max(0.25 - u, 0.0), longest=100)
    torch.testing.assert_close(stalled, tensor(0.0, 0.25))


# --- variation ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1.0, 16.0])
def test_cycle_to_cycle_deviation_grows_with_the_root_of_the_pulses(count: float) -> None:
    device = NeuroSim(c2c=0.01)
    low, high = device.bounds
    n = 200_000
    g = torch.full((n,), (low + high) / 2, dtype=torch.float64)
    exact = device.pulse(g, torch.full_like(g, count), cells=cells_of(device, n), generator=None)
    noisy = device.pulse(g, torch.full_like(g, count), cells=cells_of(device, n), generator=seeded(1))
    error = (noisy - exact) / (high - low)
    sigma = 0.01 * math.sqrt(count)
    assert abs(error.mean().item()) < STANDARD_ERRORS * sigma / math.sqrt(n)
    assert abs(error.std().item() / sigma - 1) < STANDARD_ERRORS / math.sqrt(2 * n)


def test_cells_differ_by_the_spreads_that_were_asked_for() -> None:
    device, n = SoftBounds(d2d_step=0.2, d2d_bounds=0.03), 200_000
    cells = cells_of(device, n)
    low, high = device.bounds
    for name in ("up", "down"):
        log = cells[name].double().log()
        assert abs(log.mean().item()) < STANDARD_ERRORS * 0.2 / math.sqrt(n)
        assert abs(log.std().item() / 0.2 - 1) < STANDARD_ERRORS / math.sqrt(2 * n)
    top = (cells["high"].double() - high) / (high - low)
    assert abs(top.std().item() / 0.03 - 1) < STANDARD_ERRORS / math.sqrt(2 * n)
    assert bool((cells["low"] >= 0).all())
    assert bool((cells["high"] > cells["low"]).all())
    correlation = torch.corrcoef(torch.stack((cells["up"].log(), cells["down"].log())))[0, 1].item()
    assert abs(correlation) < STANDARD_ERRORS / math.sqrt(n)


def test_without_spread_nothing_is_drawn() -> None:
    generator = seeded()
    before = generator.get_state()
    NeuroSim(**QUIET).fabricate((5,), generator=generator)
    assert torch.equal(generator.get_state(), before)


# --- write-verify ------------------------------------------------------------------------------------------


@each
def test_write_verify_stops_within_tolerance(cls: type[PulsedDevice]) -> None:
    device = cls()
    n = 20_000
    span = device.g_max - device.g_min
    target = device.g_min + span * torch.rand(n, generator=seeded(3), dtype=torch.float64)
    result = written(device, target)
    error = (result.g - target).abs()
    assert bool((error[result.verified] <= device.tolerance * span).all())
    assert bool((error[~result.verified] > device.tolerance * span).all())
    assert result.verified.double().mean().item() > 0.99
    assert bool((result.energy_j > 0).all())
    assert torch.equal(result.pulses, result.pulses.round())


def test_without_variation_one_burst_does() -> None:
    """NeuroSim without variation: round(P(target)) pulses, energy V^2 G width of them and two verifying reads."""
    device = NeuroSim(**QUIET)
    low, high = device.bounds
    target = low + (high - low) * torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
    result = written(device, target)
    assert bool(result.verified.all())
    torch.testing.assert_close(result.pulses, device.pulses_to(torch.full_like(target, low), target).round())
    pulses = 3.2**2 * 300e-6 * result.pulses * (low + result.g) / 2
    reads = 0.5**2 * 5e-9 * (low + result.g)
    torch.testing.assert_close(result.energy_j, pulses + reads, rtol=1e-6, atol=0)


def test_a_cell_that_starts_on_its_target_takes_no_pulse() -> None:
    device = SoftBounds()
    target = torch.full((4,), 10e-6, dtype=torch.float64)
    result = write_verify(
        device, target, cells=cells_of(device, 4), generator=seeded(), tolerance=1e-7, rounds=5, verify_noise=0.0,
        read_voltage=0.1, read_time=1e-8, start=target,
    )  # fmt: skip
    assert torch.equal(result.g, target)
    assert bool((result.pulses == 0).all())
    torch.testing.assert_close(result.energy_j, target * 0.1**2 * 1e-8)


def test_a_target_that_a_cell_cannot_reach_ends_at_its_bound_unverified() -> None:
    device = SoftBounds(**QUIET)
    cells = Cells(
        {"up": torch.ones(1), "down": torch.ones(1), "low": torch.tensor([1e-6]), "high": torch.tensor([8e-6])}
    )
    result = write_verify(
        device, tensor(15e-6), cells=cells, generator=seeded(), tolerance=1e-7, rounds=50, verify_noise=0.0,
        read_voltage=0.1, read_time=1e-8,
    )  # fmt: skip
    assert not bool(result.verified.any())
    assert result.g.item() == pytest.approx(8e-6, rel=1e-3)


def test_a_tighter_tolerance_costs_pulses_and_energy() -> None:
    target = torch.full((20_000,), 10e-6)
    loose, tight = (written(SoftBounds(tolerance=t, rounds=100), target) for t in (0.05, 0.005))
    assert tight.pulses.mean() > loose.pulses.mean()
    assert tight.energy_j.mean() > loose.energy_j.mean()
    assert (tight.g - target).std() < (loose.g - target).std() / 3


def test_verify_noise_spreads_what_is_accepted() -> None:
    target = torch.full((20_000,), 10e-6)
    blind = written(SoftBounds(tolerance=0.005, verify_noise=0.05, rounds=100), target)
    exact = written(SoftBounds(tolerance=0.005, rounds=100), target)
    assert (blind.g - target).std() > 3 * (exact.g - target).std()


def test_a_write_is_recorded_in_the_state_and_no_gradient_flows() -> None:
    device = NeuroSim()
    target = torch.full((10,), 20e-9, requires_grad=True)
    state = device.program(target, generator=seeded())
    assert state.pulses is not None
    assert state.energy_j is not None
    assert state.pulses.shape == state.energy_j.shape == (10,)
    assert not state.g.requires_grad
    moved = state.map(lambda t: t[:3])
    assert moved.pulses is not None
    assert moved.pulses.shape == (3,)
    again = device.program(target.detach(), generator=seeded(5), cells=state.cells)
    assert again.cells is state.cells


@pytest.mark.parametrize(
    ("settings", "option"),
    [
        ({"lowest": 2e-5, "highest": 1e-5}, "device.lowest"),
        ({"g_max": 30e-6}, "device.g_max"),
        ({"g_min": 0.5e-6}, "device.g_min"),
        ({"g_min": 10e-6, "g_max": 5e-6}, "device.g_min"),
    ],
)
def test_bounds_and_targets_out_of_order_are_errors(settings: dict[str, float], option: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SoftBounds(**settings)  # type: ignore[arg-type]
    assert caught.value.option == option
