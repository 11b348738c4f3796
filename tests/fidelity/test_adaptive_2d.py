"""The headline device against the check values of its behavioural model.

Source of every figure: shared/design/physics.md, 'The headline device', 'Heterosynaptic dynamic kernels' and
'The headline stack'. They are the project's own reference solution of the assumed model (LSODA, rtol 1e-10),
not measurements: of the device of Hong et al. (10.1002/adfm.202422321) no figure is public. Here the
package's own right-hand side is integrated and must give the same.
"""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from memristor_plugins.devices import adaptive_2d_physics as physics
from memristor_plugins.devices.adaptive_2d import Adaptive2D

DEVICE = Adaptive2D()
NOMINAL = Adaptive2D(d2d_range=0.0, d2d_beta=0.0, retention_sigma=0.0)


def tensor(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


def conductance(x: float, v_gate: float) -> float:
    g_on = DEVICE.on_conductance(tensor(v_gate))
    return physics.conductance(tensor(x), g_on, g_off=DEVICE.g_off).item()


def integrate(
    voltage: Callable[[float], float],
    v_gate: float,
    start: tuple[float, float],
    seconds: float,
    until: tuple[float, int] | None = None,
) -> tuple[float, np.ndarray]:
    """Time and (x, w) after `seconds`, or where G crosses `until` = (siemens, +1 rising or -1 falling)."""

    def slope(t: float, y: np.ndarray) -> list[float]:
        dx, dw = DEVICE.rates(tensor(y[0]), tensor(y[1]), tensor(voltage(t)), tensor(v_gate))
        return [dx.item(), dw.item()]

    def crossing(t: float, y: np.ndarray) -> float:
        assert until is not None
        return float(np.log(conductance(y[0], v_gate) / until[0]))

    crossing.terminal = True  # type: ignore[attr-defined]
    crossing.direction = 0 if until is None else until[1]  # type: ignore[attr-defined]
    solution = solve_ivp(
        slope, (0.0, seconds), start, method="LSODA", rtol=1e-10, atol=1e-14,
        events=None if until is None else crossing,
    )  # fmt: skip
    assert solution.status == (0 if until is None else 1), solution.message
    return float(solution.t[-1]), solution.y[:, -1]


@pytest.mark.parametrize("v", [-0.5, -0.1, 0.0, 0.1, 0.5])
@pytest.mark.parametrize("v_gate", [-2.0, 0.0, 1.0])
def test_rates_are_the_equations_of_the_model(v: float, v_gate: float) -> None:
    """dx/dt and dw/dt, written out once more with the model's own units and default values."""
    x, w, kt = 0.7, 0.2, 8.617333262e-5 * 300
    n = 8.8541878128e-12 * 3.9 / 10e-9 / 1.602176634e-19 * v_gate / 1e16
    fermi = 0.1166 * n / (n**2 + 0.2**2) ** 0.25
    r = 1 / (0.04 * math.cosh(0.4 / 0.04)) * math.sinh(v / 0.04)
    r *= math.exp(0.6 * fermi / 0.04) if v > 0 else 1
    tau = 0.05 * (1e4 / 0.05) ** w * math.exp(0.15 * fermi / kt)
    dx = (r * (1 - x) if v > 0 else r * x) - x / tau
    dw = (5 * x * (1 - w) if v > 0 else r * w) - w / 1e4
    rates = DEVICE.rates(tensor(x), tensor(w), tensor(v), tensor(v_gate))
    assert [rate.item() for rate in rates] == pytest.approx([dx, dw], rel=1e-12)


@pytest.mark.parametrize(("v_gate", "v_set"), [(-2.0, 0.593), (0.0, 0.420), (2.0, 0.261)])
def test_set_voltage_where_a_ramp_of_1_volt_a_second_reaches_1_microsiemens(v_gate: float, v_set: float) -> None:
    time, _ = integrate(lambda t: t, v_gate, (0.0, 0.0), 1.0, until=(1e-6, 1))
    assert time == pytest.approx(v_set, rel=0.03)


@pytest.mark.parametrize(("v_gate", "g_lrs"), [(-2.0, 10e-6), (0.0, 20e-6), (2.0, 40e-6)])
def test_low_resistance_state_under_the_gate(v_gate: float, g_lrs: float) -> None:
    assert conductance(1.0, v_gate) == pytest.approx(g_lrs, rel=0.03)


def test_the_same_field_on_300_nm_takes_60_volts() -> None:
    thick = Adaptive2D(oxide_thickness=300e-9, gate_limit=60.0)
    torch.testing.assert_close(thick.fermi_level(tensor(60.0)), DEVICE.fermi_level(tensor(2.0)))


def test_reset_voltage_of_a_consolidated_cell() -> None:
    time, _ = integrate(lambda t: -t, 0.0, (1.0, 1.0), 1.0, until=(0.1e-6, -1))
    assert -time == pytest.approx(-0.39, abs=0.005)


def test_a_pulse_of_1_ms_at_600_mv_from_rest() -> None:
    _, (x, w) = integrate(lambda t: 0.6, 0.0, (0.0, 0.0), 1e-3)
    assert x == pytest.approx(0.971, abs=0.0005)
    assert w == pytest.approx(0.0037, abs=0.00005)


@pytest.mark.parametrize(("v_gate", "decay"), [(0.0, 14.3e-3), (2.0, 52.9e-3)])
def test_volatile_decay_to_a_tenth_after_that_pulse(v_gate: float, decay: float) -> None:
    """Pulse and decay under one gate voltage. The issue asks for 10 %; the same model must do better: 1 %."""
    _, (x, w) = integrate(lambda t: 0.6, v_gate, (0.0, 0.0), 1e-3)
    tenth = conductance(x, v_gate) / 10
    time, _ = integrate(lambda t: 0.0, v_gate, (x, w), 1.0, until=(tenth, -1))
    assert time == pytest.approx(decay, rel=0.01)


def test_gains_depend_on_the_programmed_state() -> None:
    levels = torch.tensor([20e-6, 4e-6, 0.4e-6])
    state = NOMINAL.hold(levels, generator=torch.Generator())
    gains = NOMINAL.gain(state, torch.tensor(-2.0))
    assert gains.tolist() == pytest.approx([0.27, 0.33, 0.45], abs=0.005)
    assert NOMINAL.gain_min == pytest.approx(0.25, abs=0.005)


def test_20_microsiemens_age_to_18_2_in_a_day() -> None:
    """18.2 uS is the mean over cells, whose retention times are lognormal; the median cell keeps 18.4 uS."""
    state = DEVICE.hold(torch.full((400_000,), 20e-6), generator=torch.Generator().manual_seed(0))
    aged = DEVICE.conductance(state, 86_400.0)
    # Standard error of the mean 0.002 uS, so that the first decimal is settled.
    assert round(aged.double().mean().item() * 1e6, 1) == 18.2
    assert aged.median().item() == pytest.approx(18.37e-6, rel=1e-3)
    state = NOMINAL.hold(torch.tensor([20e-6]), generator=torch.Generator())
    assert NOMINAL.conductance(state, 86_400.0).item() == pytest.approx(18.37e-6, rel=1e-3)


def test_with_the_volatile_lifetime_every_cell_is_gone_within_the_hour() -> None:
    """Sensitivity of the retention assumption: retention_tau = tau_l = 1e4 s instead of 1e7 s."""
    volatile = Adaptive2D(retention_tau=1e4)
    state = volatile.hold(torch.full((10_000,), 20e-6), generator=torch.Generator().manual_seed(0))
    assert volatile.conductance(state, 3600.0).median().item() < 0.1 * 20e-6
