"""Statistical devices against the figures of their publications.

Where physics.md is named: shared/design/physics.md, 'Device models to reproduce'. Coefficients that are not there are
those of the public fits named beside each test; the value asserted is worked out here by hand from them.
"""

import math

import pytest
import torch
from torch import Tensor

from memristor_plugins.devices import pulse_laws
from memristor_plugins.devices.pcm_hermes import PCMHermes
from memristor_plugins.devices.pcm_joshi import PCMJoshi
from memristor_plugins.devices.rram_cmo import RRAMCMO
from memristor_plugins.devices.rram_milo import RRAMMilo
from memristor_plugins.devices.rram_wan import RRAMWan
from memristor_plugins.devices.sonos import SONOS
from memristor_plugins.errors import SimulationError
from memristor_plugins.interfaces.device import Cells, CellState

DAY = 86_400.0


def microsiemens(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64) * 1e-6


def state(g: Tensor, z: float = 0.0) -> CellState:
    """Cells that were written to exactly `g`, z standard deviations off the median in their ageing."""
    return CellState(g, g, Cells({"written": g}), torch.full_like(g, z))


# --- phase-change memory -----------------------------------------------------------------------------------


def test_programming_error_of_joshi() -> None:
    """physics.md: sigma_prog(0 / 0.5 / 1) = 0.2635 / 0.9527 / 1.0554 uS (10.1038/s41467-020-16108-9)."""
    sigma = PCMJoshi().programming_std(microsiemens(0, 12.5, 25)) * 1e6
    torch.testing.assert_close(sigma, torch.tensor([0.2635, 0.9527, 1.0554], dtype=torch.float64), atol=5e-5, rtol=0)


def test_read_noise_of_nandakumar() -> None:
    """physics.md: at x = 1, 3.68 % of G at t = t0 and 4.48 % at one day (10.1109/ICECS46596.2019.8964852)."""
    device, g = PCMJoshi(), microsiemens(25)
    for seconds, share in ((0.0, 0.0368), (DAY, 0.0448)):
        assert device.read_std(g, state(g), seconds).item() / g.item() == pytest.approx(share, abs=5e-5)


def test_read_noise_follows_what_was_written_and_saturates() -> None:
    """sigma / G = min(0.0088 / x^0.65, 0.2) sqrt(ln(...)): 0.0088 * 4^0.65 at a quarter, 0.2 below x = 0.0082."""
    device, growth = PCMJoshi(), math.sqrt(math.log((20 + 250e-9) / 500e-9))
    g = microsiemens(6.25, 0.02)
    ratio = device.read_std(g, state(g), 0.0) / g / growth
    torch.testing.assert_close(ratio, torch.tensor([0.0088 * 4**0.65, 0.2], dtype=torch.float64))
    drifted = g * 0.7  # the noise follows G(t), its relative size what was written
    torch.testing.assert_close(device.read_std(drifted, state(g), 0.0) / drifted / growth, ratio)


@pytest.mark.parametrize(
    ("x", "mean", "std"),
    [
        (1.0, 0.049, 0.008),  # both clipped: 0.0244 and -0.0059
        (0.1, 0.0155 * math.log(10) + 0.0244, 0.0125 * math.log(10) - 0.0059),  # 0.0601 and 0.0229
        (1e-4, 0.1, 0.045),  # both clipped
    ],
)
def test_drift_of_nandakumar(x: float, mean: float, std: float) -> None:
    """physics.md: mu_nu = clip(-0.0155 ln x + 0.0244, 0.049, 0.1), sigma_nu alike; G(t) = G (t / t0)^-nu, t0 20 s."""
    device, g = PCMJoshi(), microsiemens(25 * x)
    for z in (0.0, 1.0):
        nu = -math.log(device.conductance(state(g, z), DAY).item() / g.item()) / math.log((DAY + 20) / 20)
        assert nu == pytest.approx(mean + std * z, rel=1e-9)


def test_hermes_is_noisier_with_one_device_than_with_two() -> None:
    """Fit of aihwkit to 10.1038/s41928-023-01010-1: 1.0078 of 10.35 uS against 1.0927 of 20.7 uS at full range."""
    one, two = PCMHermes(devices_per_cell=1), PCMHermes()
    assert (one.g_max, two.g_max) == (10.35e-6, 20.7e-6)
    assert (one.t0, two.t0) == (200.0, 300.0)
    top = [device.programming_std(torch.tensor(device.g_max, dtype=torch.float64)).item() for device in (one, two)]
    assert top[0] * 1e6 == pytest.approx(0.15781817 + 2.32443916 - 2.16310839 + 0.68841818)
    assert top[1] * 1e6 == pytest.approx(0.16603222 + 4.71806468 - 8.48101252 + 4.68961419)
    assert top[0] / one.g_max > top[1] / two.g_max


def test_drift_and_noise_of_hermes() -> None:
    """Fits of aihwkit, at full range: mu = 0.0174, sigma = 0.0055 / 0.0048, q = 0.0168 / 0.0123; t_read 512 ns."""
    for device, std, q in ((PCMHermes(devices_per_cell=1), 0.0055, 0.0168), (PCMHermes(), 0.0048, 0.0123)):
        x = torch.ones(1, dtype=torch.float64)
        mean, spread = device.drift_exponent(x)
        assert mean.item() == pytest.approx(0.0174)
        assert spread.item() == pytest.approx(std)
        assert device.relative_noise(x).item() == pytest.approx(q)
        low_mean, low_spread = device.drift_exponent(torch.full((1,), 1e-3, dtype=torch.float64))
        assert (low_mean.item(), low_spread.item()) == (0.13, 0.04)
        g = torch.tensor([device.g_max], dtype=torch.float64)
        growth = math.sqrt(math.log((DAY + device.t0 + 512e-9) / 1024e-9))
        assert device.read_std(g, state(g), DAY).item() / g.item() == pytest.approx(q * growth)


@pytest.mark.parametrize("devices", [1, 2])
def test_pieces_of_the_hermes_fits_meet(devices: int) -> None:
    """The published branches are fits of their own; where they meet they differ by less than an eighth."""
    device = PCMHermes(devices_per_cell=devices)  # type: ignore[arg-type]
    for knot in (0.0945, 0.3039, 0.3055, 0.1591, 0.16):
        left, right = (torch.tensor([knot + d], dtype=torch.float64) for d in (-1e-6, 1e-6))
        for law in (
            lambda x: device.drift_exponent(x)[0],
            lambda x: device.drift_exponent(x)[1],
            device.relative_noise,
        ):
            assert law(left).item() == pytest.approx(law(right).item(), rel=0.125)


# --- resistive memory --------------------------------------------------------------------------------------


def test_deviation_of_neurram() -> None:
    """physics.md: at 1 s and x = 0.5, 2.023 uS (10.1038/s41586-022-04992-8)."""
    assert RRAMWan().deviation(microsiemens(20), 1.0).item() * 1e6 == pytest.approx(2.023, abs=5e-4)


def test_neurram_is_interpolated_in_log_time_between_its_measurements() -> None:
    device, g = RRAMWan(), microsiemens(20)
    first, day, two = (device.deviation(g, t).item() for t in (1.0, DAY, 2 * DAY))
    assert device.deviation(g, math.sqrt(DAY)).item() == pytest.approx((first + day) / 2)
    assert device.deviation(g, DAY * math.sqrt(2)).item() == pytest.approx((day + two) / 2)
    assert day * 1e6 == pytest.approx(0.701 + 11.043 - 12.69325 + 5.886875 - 1.028625, abs=1e-6)


@pytest.mark.parametrize("seconds", [0.5, 2 * DAY + 1, 1e9])
def test_neurram_outside_its_measurements_is_an_error(seconds: float) -> None:
    with pytest.raises(SimulationError, match=r"measured from 1 s to 172800 s .*; the nearest valid time is"):
        RRAMWan().deviation(microsiemens(20), seconds)


@pytest.mark.parametrize(("acceptance", "sigma"), [(0.002, 0.0542506), (0.02, 0.5757322)])
def test_programming_error_of_cmo(acceptance: float, sigma: float) -> None:
    """arXiv:2502.04524: 1.0687 G + 0.811 nS and 11.290 G + 11.218 nS, G in uS; at 50 uS."""
    assert RRAMCMO(acceptance=acceptance).programming_std(microsiemens(50)).item() * 1e6 == pytest.approx(
        sigma, rel=1e-5
    )


def test_relaxation_of_cmo() -> None:
    """arXiv:2502.04524: mean -0.089 ln t, deviation 0.042 ln t + 0.4118 uS; 0.83 uS spread after ten hours."""
    device, g, hours = RRAMCMO(), microsiemens(50), 36_000.0
    median, above = (device.conductance(state(g, z), hours).item() * 1e6 for z in (0.0, 1.0))
    assert median == pytest.approx(50 - 0.089 * math.log(hours), abs=1e-3)
    assert above - median == pytest.approx(0.042 * math.log(hours) + 0.4118, abs=1e-3)
    assert device.conductance(state(g), 0.0).item() == g.item()


def test_read_noise_of_cmo() -> None:
    """10.1109/DRC61706.2024.10643760: 0.0277 log10(G) sqrt(ln((t + t_r) / 2 t_r)) uS, t_r = 1 us; 10 s, 50 uS."""
    g = microsiemens(50)
    sigma = RRAMCMO().read_std(g, state(g), 10.0).item() * 1e6
    assert sigma == pytest.approx(0.0277 * math.log10(50) * math.sqrt(math.log(10 / 2e-6)), rel=2e-3)


def test_programming_error_of_milo() -> None:
    """physics.md: sigma = 4.782321 - 0.009107 G uS over 50 to 225 uS (10.1109/IRPS46558.2021.9405119, Fig. 4)."""
    sigma = RRAMMilo().programming_std(microsiemens(50, 225)) * 1e6
    torch.testing.assert_close(sigma, torch.tensor([4.326971, 2.733246], dtype=torch.float64), rtol=1e-6, atol=0)


def test_current_of_milo_is_ohmic_at_the_top_and_at_small_voltages() -> None:
    """Fig. 1: I-V curves become linear with conductance; by construction of the fit within 1 % at 225 uS, 0.5 V."""
    device = RRAMMilo()
    volts = torch.tensor([-0.5, 0.5], dtype=torch.float64)
    at_top, at_bottom = (device.current(g, volts) / (g * volts) for g in (microsiemens(225), microsiemens(62.5)))
    torch.testing.assert_close(at_top, torch.ones_like(at_top), atol=0.01, rtol=0)
    assert (at_bottom - 1).abs().max().item() > 0.05
    small = torch.tensor([1e-4], dtype=torch.float64)
    torch.testing.assert_close(device.current(microsiemens(62.5), small), 62.5e-6 * small, rtol=1e-3, atol=0)
    assert device.current(torch.zeros(1), torch.tensor([0.5])).item() == 0.0


# --- charge-trap memory ------------------------------------------------------------------------------------


def test_spread_and_noise_of_sonos() -> None:
    """Fit of CrossSim to 10.1109/IEDM45625.2022.10019564, nA: 19.887 (1 - e^(-I / 176)), 12.58 (1 - e^(-I / 215))."""
    device = SONOS()
    target = microsiemens(1, 16)  # 100 and 1600 nA
    sigma = device.programming_std(target) * 0.1 * 1e9
    torch.testing.assert_close(
        sigma, torch.tensor([19.88665 * -math.expm1(-i / 176.3115) for i in (100, 1600)], dtype=torch.float64)
    )
    noise = device.read_std(target, state(target), 0.0) * 0.1 * 1e9
    expected = [12.58037 * -math.expm1(-i / 215.36557) for i in (100, 1600)]
    torch.testing.assert_close(noise, torch.tensor(expected, dtype=torch.float64))


def test_drift_of_sonos_interpolates_between_days() -> None:
    """A cell's median moves by the polynomial of each day; between days linearly in time."""
    device, target = SONOS(), microsiemens(4)
    half, first, second = (device.conductance(state(target), t * DAY).item() for t in (0.5, 1.0, 2.0))
    assert half == pytest.approx((target.item() + first) / 2, rel=1e-9)
    current = 400.0
    day = (1.72684e-01, 5.72552e-02, -6.85715e-04, 3.50271e-06, -9.37682e-09, 1.40575e-11, -1.19803e-14,
           5.41293e-18, -8.85448e-22, -1.66869e-25, 5.95180e-29)  # fmt: skip
    shift = sum(c * current**i for i, c in enumerate(day))
    assert (first - target.item()) * 1e8 == pytest.approx(shift, rel=1e-6)
    assert second != first
    with pytest.raises(SimulationError, match="432000 s"):
        device.conductance(state(target), 6 * DAY)


# --- pulsed update -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("label", "a"), [(0.5, 2.519877), (1.0, 1.251653), (2.4, 0.499181), (4.88, 0.200303)])
def test_nonlinearity_label_of_neurosim(label: float, a: float) -> None:
    """NeuroSim's published list of A / P_max by label (10.1109/TCAD.2018.2789723) obeys NL = 10.10 max |f(p) - p|."""
    assert pulse_laws.curvature(label) == pytest.approx(a, rel=5e-4)
    p = torch.linspace(0, 1, 100_001, dtype=torch.float64)
    measured = 10.10 * (pulse_laws.exponential(p, a) - p).abs().max().item()
    assert measured == pytest.approx(label, abs=1e-3)
    assert pulse_laws.nonlinearity(a) == pytest.approx(measured, abs=1e-6)
