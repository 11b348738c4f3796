"""Statistical devices: what cells hold after a write and after a time is distributed as the publications say.

Means and deviations lie within 3.89 of their standard errors at 2e5 cells: 99.99 % confidence each; seeds are fixed.
"""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor

from memristor_plugins.devices import statistics
from memristor_plugins.devices.generic import Generic
from memristor_plugins.devices.pcm_hermes import PCMHermes
from memristor_plugins.devices.pcm_joshi import PCMJoshi
from memristor_plugins.devices.rram_cmo import RRAMCMO
from memristor_plugins.devices.rram_milo import RRAMMilo
from memristor_plugins.devices.rram_wan import RRAMWan
from memristor_plugins.devices.sonos import SONOS
from memristor_plugins.errors import ConfigError, SimulationError
from memristor_plugins.interfaces.device import CellState, Device

CELLS = 200_000
STANDARD_ERRORS = 3.89
DAY = 86_400.0


def seeded(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


def written(device: Device, g: float, seed: int = 0) -> CellState:
    return device.program(torch.full((CELLS,), g, dtype=torch.float64), generator=seeded(seed))


def assert_moments(sample: Tensor, mean: float, std: float) -> None:
    """Mean and deviation of a sample whose tails are no heavier than a normal's."""
    n = sample.numel()
    assert n >= 100_000
    assert abs(sample.mean().item() - mean) < STANDARD_ERRORS * std / math.sqrt(n)
    assert abs(sample.std().item() / std - 1) < STANDARD_ERRORS / math.sqrt(2 * n)


def assert_normal(sample: Tensor, mean: float, std: float) -> None:
    """A normal's moments, and its share beyond two deviations."""
    assert_moments(sample, mean, std)
    share = math.erfc(math.sqrt(2))
    outside = ((sample - mean).abs() > 2 * std).double().mean().item()
    assert abs(outside - share) < STANDARD_ERRORS * math.sqrt(share * (1 - share) / sample.numel())


@pytest.mark.parametrize(
    ("device", "g", "sigma"),
    [
        (PCMJoshi(), 12.5e-6, 0.952705e-6),
        (PCMHermes(devices_per_cell=1), 10.35e-6, 1.00776732e-6),
        (PCMHermes(), 20.7e-6, 1.09269858e-6),
        (RRAMWan(), 20e-6, 2.0228125e-6),
        (RRAMCMO(), 50e-6, 0.575732e-6),
        (RRAMCMO(acceptance=0.002), 50e-6, 0.05425057e-6),
        (RRAMMilo(), 100e-6, 3.871621e-6),
        (SONOS(), 4e-6, 19.88665e-8 * -math.expm1(-400 / 176.3115)),
    ],
    ids=lambda p: type(p).__name__ if isinstance(p, Device) else None,
)
def test_a_write_leaves_the_target_and_the_published_error(device: Device, g: float, sigma: float) -> None:
    assert_normal(written(device, g).g, g, sigma)


def test_errors_and_drift_of_a_phase_change_cell_are_independent() -> None:
    state = written(PCMJoshi(), 12.5e-6)
    assert state.ageing is not None
    correlation = torch.corrcoef(torch.stack((state.g, state.ageing)))[0, 1].item()
    assert abs(correlation) < STANDARD_ERRORS / math.sqrt(CELLS)


def test_phase_change_cells_drift_with_the_published_exponents() -> None:
    x = 0.3
    state = written(PCMJoshi(), 25e-6 * x)
    nu = -(PCMJoshi().conductance(state, DAY) / state.g).log() / math.log((DAY + 20) / 20)
    # The mean 0.0431 is raised to 0.049; a deviation of 0.0092 leaves no exponent below zero.
    assert_normal(nu, 0.049, -0.0125 * math.log(x) - 0.0059)


@given(x=st.floats(0.0, 1.0), first=st.floats(0.0, 1e6), then=st.floats(0.0, 1e6), two=st.booleans())
@settings(max_examples=60, deadline=None)
def test_phase_change_cells_only_lose_conductance(x: float, first: float, then: float, two: bool) -> None:
    for device in (PCMJoshi(), PCMHermes(devices_per_cell=2 if two else 1)):
        state = device.program(torch.full((50,), x * device.g_max), generator=seeded(3))
        early, late = sorted((first, then))
        a, b = device.conductance(state, early), device.conductance(state, late)
        assert bool((b <= a * (1 + 1e-6)).all())
        assert bool((device.read_std(b, state, late) >= 0).all())


@pytest.mark.parametrize("seconds", [1.0, 3600.0, DAY, 2 * DAY])
def test_neurram_cells_spread_as_measured_and_keep_their_rank(seconds: float) -> None:
    device = RRAMWan()
    state = written(device, 20e-6)
    aged = device.conductance(state, seconds)
    assert_normal(aged, 20e-6, device.deviation(torch.tensor(20e-6, dtype=torch.float64), seconds).item())
    order = state.g.argsort()
    assert bool((aged[order].diff() >= 0).all())


def test_a_neurram_cell_clipped_at_zero_is_distributed_as_the_clipped_deviation() -> None:
    device = RRAMWan(g_min=0.0)
    state = written(device, 0.4e-6)
    aged = device.conductance(state, DAY)
    sigma = device.deviation(torch.tensor(0.4e-6, dtype=torch.float64), DAY).item()
    share = 0.5 * math.erfc(0.4e-6 / sigma / math.sqrt(2))
    assert 0.1 < share < 0.5
    assert abs((aged == 0).double().mean().item() - share) < STANDARD_ERRORS * math.sqrt(share * (1 - share) / CELLS)


def test_cmo_cells_relax_by_the_published_law() -> None:
    device, year = RRAMCMO(acceptance=0.002), 365 * DAY
    state = written(device, 50e-6)
    moved = device.conductance(state, year) - state.g
    assert_normal(moved * 1e6, -0.08900206 * math.log(year), 0.04201137 * math.log(year) + 0.41183342)
    with pytest.raises(SimulationError, match="nearest valid time is 1 s"):
        device.conductance(state, 0.1)
    with pytest.raises(SimulationError, match=r"nearest valid time is 3\.1"):
        device.conductance(state, 1e10)


def test_sonos_cells_spread_about_their_drifted_mean() -> None:
    device = SONOS()
    state = written(device, 8e-6)
    mean = device.conductance(
        replace(state.map(lambda t: t[:1]), g=torch.tensor([8e-6], dtype=torch.float64), ageing=torch.zeros(1)), 3 * DAY
    ).item()
    std = 31.04318e-8 * -math.expm1(-mean * 1e8 / 198.90332)
    assert_normal(device.conductance(state, 3 * DAY), mean, std)


@pytest.mark.parametrize("device", [RRAMWan(), SONOS()], ids=["rram_wan", "sonos"])
def test_held_cells_move_by_what_time_adds(device: Device) -> None:
    """Without programming error a cell starts on its target and its spread grows from zero."""
    state = device.hold(torch.full((CELLS,), 8e-6, dtype=torch.float64), generator=seeded())
    assert torch.equal(device.conductance(state, 0.0), state.target)
    early, late = (device.conductance(state, t).std().item() for t in (0.5 * DAY, 2 * DAY))
    full = written(device, 8e-6)
    assert 0 < early < late < device.conductance(full, 2 * DAY).std().item()


@pytest.mark.parametrize("scaling", ["independent", "proportional", "inverse"])
@pytest.mark.parametrize("distribution", ["normal", "uniform", "lognormal"])
def test_generic_errors_have_the_size_and_the_shape_that_was_asked_for(distribution: str, scaling: str) -> None:
    device = Generic(distribution=distribution, scaling=scaling, std=0.03)  # type: ignore[arg-type]
    g = 5e-6
    sigma = {"independent": 0.03 * 20e-6, "proportional": 0.03 * g, "inverse": 0.03 * 20e-6 * 0.2e-6 / g}[scaling]
    sample = written(device, g).g
    # A lognormal this narrow has barely heavier tails: its kurtosis widens the error of the deviation by under 30 %.
    n = sample.numel()
    assert abs(sample.mean().item() - g) < STANDARD_ERRORS * sigma / math.sqrt(n)
    assert abs(sample.std().item() / sigma - 1) < 1.3 * STANDARD_ERRORS / math.sqrt(2 * n)
    z = (sample - g) / sigma
    beyond = (z.abs() > math.sqrt(3) * 1.001).double().mean().item()
    if distribution == "uniform":
        assert beyond == 0.0
        assert abs((z.abs() < math.sqrt(3) / 2).double().mean().item() - 0.5) < STANDARD_ERRORS * 0.5 / math.sqrt(n)
    else:
        assert beyond > 0.05
    skew = (z**3).mean().item()
    ratio = sigma / g
    expected = ratio * (3 + ratio**2) if distribution == "lognormal" else 0.0
    assert abs(skew - expected) < 5 * STANDARD_ERRORS * math.sqrt(6 / n)


def test_generic_inverse_scaling_needs_a_lowest_conductance() -> None:
    with pytest.raises(ConfigError, match=r"device\.scaling: inverse needs g_min > 0"):
        Generic(scaling="inverse", g_min=0.0)
    with pytest.raises(ConfigError, match=r"device\.read_scaling"):
        Generic(read_scaling="inverse", g_min=0.0)


def test_generic_lognormal_keeps_cells_at_zero_there_and_all_others_above() -> None:
    device = Generic(distribution="lognormal", g_min=0.0, std=0.3)
    state = device.program(torch.tensor([0.0, 1e-6, 20e-6]).repeat(1000, 1), generator=seeded())
    assert bool((state.g[:, 0] == 0).all())
    assert bool((state.g[:, 1:] > 0).all())


@pytest.mark.parametrize("acceptance", [0.001, 0.01, 0.5])
def test_an_acceptance_range_that_was_not_measured_is_an_error(acceptance: float) -> None:
    nearest = "0.002" if acceptance < 0.006 else "0.02"
    with pytest.raises(ConfigError, match=rf"device\.acceptance: .*the nearest is {nearest}$"):
        RRAMCMO(acceptance=acceptance)


def test_ranges_end_where_the_characterisation_does() -> None:
    with pytest.raises(ConfigError, match=r"device\.g_max: must be at most 1\.035e-05 S with devices_per_cell=1"):
        PCMHermes(devices_per_cell=1, g_max=20e-6)
    with pytest.raises(ConfigError, match=r"device\.g_max: must be at most 9e-06 S, 1800 nA at 0\.2 V"):
        SONOS(read_voltage=0.2)


def test_a_negative_time_is_an_error() -> None:
    for device in (PCMJoshi(), RRAMWan(), RRAMCMO(), SONOS(), Generic()):
        with pytest.raises(SimulationError, match="seconds must be >= 0"):
            device.conductance(device.program(torch.full((2,), 10e-6), generator=seeded()), -1.0)


@given(
    x=st.lists(st.floats(-3, 3), min_size=1, max_size=5),
    coefficients=st.lists(st.floats(-5, 5), min_size=1, max_size=6),
)
@settings(max_examples=50, deadline=None)
def test_polynomials_are_evaluated_from_ascending_coefficients(x: list[float], coefficients: list[float]) -> None:
    value = statistics.polynomial(torch.tensor(x, dtype=torch.float64), coefficients)
    expected = torch.tensor([sum(c * v**i for i, c in enumerate(coefficients)) for v in x], dtype=torch.float64)
    torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-9)
