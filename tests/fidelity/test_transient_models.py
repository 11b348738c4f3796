"""Check values of the three-terminal cell (behavioural model, assumed)."""

from __future__ import annotations

import numpy as np
import pytest

from memristor_plugins.devices.transient import (
    Adaptive2DTransient,
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


def test_a_negative_ramp_resets() -> None:
    """V_reset, where G falls below 0.1 uS in a -1 V/s ramp after a set: -0.39 V."""
    model = Adaptive2DTransient()
    written = simulate(model, triangle(1.0, -1e-6, 2.0), shape=(1,)).final
    run = simulate(model, ramp(0.0, -0.6, 1.0), state=written, dt=1e-3, record="steps")
    assert run.v is not None
    assert run.current is not None
    g = run.current.flatten()[1:] / run.v.flatten()[1:]
    assert float(run.v.flatten()[1:][g < 1e-7][0]) == pytest.approx(-0.39, rel=0.03)
