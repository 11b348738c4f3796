"""Transient models: the three-terminal cell's check values, and two models against an independent integrator."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from memristor_plugins.devices.transient import (
    Adaptive2DTransient,
    TransientModel,
    Yakopcic,
    hold,
    ramp,
    simulate,
    triangle,
)


# Behavioural model (assumed), its own check values: at a 1 V/s ramp, G crosses 1 uS; LRS at the end.
@pytest.mark.parametrize(("gate", "v_set", "g_on"), [(-2.0, 0.593, 10e-6), (0.0, 0.420, 20e-6), (2.0, 0.261, 40e-6)])
def test_the_gate_moves_set_voltage_and_conductance(gate: float, v_set: float, g_on: float) -> None:
    run = simulate(Adaptive2DTransient(), ramp(0.0, 1.0, 1.0).gated(gate), shape=(1,), dt=1e-3, record="steps")
    assert run.v is not None
    assert run.current is not None
    v, i = run.v.flatten()[1:], run.current.flatten()[1:]
    g = i / v
    crossed = int((g > 1e-6).nonzero()[0])
    assert float(v[crossed]) == pytest.approx(v_set, rel=0.03)
    assert float(g[-1]) == pytest.approx(g_on, rel=0.03)


@pytest.mark.parametrize(("gate", "tenth"), [(0.0, 14.3e-3), (2.0, 52.9e-3)])
def test_a_fresh_filament_decays(gate: float, tenth: float) -> None:
    """After a 1 ms pulse of 0.6 V at V_g = 0, G under the gate falls to a tenth in this time (LSODA, rtol 1e-10)."""
    model = Adaptive2DTransient()
    written = simulate(model, hold(0.6, 1e-3).gated(0.0), shape=(1,)).final
    assert float(written[0]) == pytest.approx(0.971, abs=2e-3)
    assert float(written[1]) == pytest.approx(0.0037, abs=2e-4)
    after = simulate(model, hold(0.0, tenth).gated(gate), state=written).final
    before, left = (float(model.conductance(s, 0.05, gate)) for s in (written, after))
    # A tenth of the conductance within 10 % of the time: d ln G / dt from the two ends.
    rate = np.log(before / left) / tenth
    assert np.log(10) / rate == pytest.approx(tenth, rel=0.1)


CASES = [
    (Yakopcic(), triangle(0.45, -0.45, 1e-2)),
    (Adaptive2DTransient(), triangle(0.7, -0.7, 2.8).gated(0.0)),
]


@pytest.mark.parametrize(("model", "wave"), CASES, ids=lambda x: type(x).__name__)
def test_a_loop_agrees_with_an_independent_integrator(model: TransientModel, wave: object) -> None:
    run = simulate(model, wave, shape=(1,), record="segments")  # type: ignore[arg-type]
    assert run.time is not None
    assert run.states is not None
    times, volts = run.time.flatten().numpy(), run.v.flatten().numpy()  # type: ignore[union-attr]

    def rates(t: float, y: np.ndarray) -> list[float]:
        state = tuple(torch.tensor([float(value)], dtype=torch.float64) for value in y)
        return [float(r) for r in model.rates(state, float(np.interp(t, times, volts)), 0.0)]

    y = np.array([float(s[0]) for s in run.states.values()])
    for k in range(len(times) - 1):
        done = solve_ivp(rates, times[k : k + 2], y, method="LSODA", rtol=1e-10, atol=1e-13)
        y = done.y[:, -1]
        for name, value, trace in zip(run.states, y, run.states.values(), strict=True):
            assert abs(float(trace[k + 1]) - value) <= 1e-4, name  # of a full scale of 1
