"""The key numbers of a device's figures, against formulas, published values and an independent route."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from memristor_plugins.characterize import gate, iv, levels, pulses, read_noise, retention, sweep, switching
from memristor_plugins.characterize.bench import Bench, model_of
from memristor_plugins.characterize.result import Absent, Shown
from memristor_plugins.devices import pulse_laws
from memristor_plugins.devices.adaptive_2d import Adaptive2D
from memristor_plugins.devices.generic import Generic
from memristor_plugins.devices.ideal import Ideal
from memristor_plugins.devices.neurosim import NeuroSim
from memristor_plugins.devices.pcm_joshi import PCMJoshi
from memristor_plugins.devices.rram_wan import RRAMWan
from memristor_plugins.devices.soft_bounds import SoftBounds
from memristor_plugins.devices.table import Table
from memristor_plugins.devices.transient import Adaptive2DTransient
from memristor_plugins.devices.vteam import VTEAMCell
from memristor_plugins.interfaces.device import Device

DAY = 86_400.0
CSV = """target_us,mean_us,std_us,failed_low,failed_low_g_us
1,1,0.3,0.1,0.01
20,20,0.3,0.1,0.01
"""


def bench(device: Device, cells: int = 50) -> Bench:
    model = Adaptive2DTransient() if isinstance(device, Adaptive2D) else model_of(device)
    return Bench(type(device).__name__, device, model, cells)


def numbers(result: Shown | Absent) -> dict[str, float | None]:
    assert isinstance(result, Shown)
    return {name: number.value for name, number in result.numbers.items()}


def value(result: Shown | Absent, name: str) -> float:
    found = numbers(result)[name]
    assert found is not None
    return found


# --- switching in time ------------------------------------------------------------------------------------------


def test_iv_of_the_headline_device_has_its_check_values() -> None:
    """V_set 0.593, 0.420, 0.261 V and G_LRS 10, 20, 40 uS at -2, 0, +2 V: the model's own derivation."""
    found = iv.figure(bench(Adaptive2D()))
    for label, v_set, g in (("-2 V", 0.593, 10e-6), ("0 V", 0.420, 20e-6), ("+2 V", 0.261, 40e-6)):
        assert value(found, f"V_set at V_g = {label}") == pytest.approx(v_set, rel=0.03)
        assert value(found, f"G_high at V_g = {label}") == pytest.approx(g, rel=0.03)


def test_iv_of_a_table_of_a_loop_is_its_current() -> None:
    """The CSV is the second cycle: it starts and ends at 0 V, and i = g v of an ohmic model (VTEAM)."""
    found = iv.figure(bench(VTEAMCell()))
    assert isinstance(found, Shown)
    v, i, g = (found.table[name] for name in ("voltage_v", "current_a", "conductance_s"))
    assert float(v[0]) == float(v[-1]) == 0
    assert (float(v.max()), float(v.min())) == (0.1, -0.25)
    torch.testing.assert_close(i, g * v, rtol=1e-9, atol=0)
    time = found.table["time_s"]
    torch.testing.assert_close((v.diff() / time.diff()).abs(), torch.full_like(v[1:], float(v[1] / time[1])))


@pytest.mark.parametrize(("rising", "expected"), [(True, 0.35), (False, math.nan)])
def test_crossing_interpolates_the_logarithm_of_conductance(rising: bool, expected: float) -> None:
    v = torch.linspace(0, 1, 11, dtype=torch.float64)
    g = 1e-6 * torch.exp(7 * v)[:, None]
    found = sweep.crossing(v, g, 1e-6 * math.exp(7 * 0.35), rising=rising)
    torch.testing.assert_close(found, torch.tensor([expected], dtype=torch.float64), equal_nan=True)


def test_crossing_is_the_first() -> None:
    v = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    g = torch.tensor([1.0, 3.0, 1.0, 3.0, 1.0], dtype=torch.float64)[:, None]
    level = math.sqrt(3)
    assert float(sweep.crossing(v, g, level, rising=True)) == pytest.approx(0.5)
    assert float(sweep.crossing(v, g, level, rising=False)) == pytest.approx(1.5)


def test_a_cell_that_is_twice_as_fast_is_a_nominal_one_in_a_sweep_of_half_the_rate() -> None:
    looked_at = bench(VTEAMCell())
    chosen, model = looked_at.sweep, looked_at.model
    assert chosen is not None
    assert model is not None
    two = torch.full((1,), 2.0, dtype=torch.float64)
    slower = replace(chosen, period=2 * chosen.period)

    def voltages(cells: sweep.Cells, rate: sweep.Sweep) -> tuple[float, ...]:
        return tuple(float(v) for v in sweep.voltages(cells, rate, sweep.run(cells, rate)))

    fast = voltages(sweep.Cells(model, None, (two, two)), chosen)
    assert fast == pytest.approx(voltages(sweep.Cells(model), slower), abs=1e-5)
    assert abs(fast[0]) < abs(voltages(sweep.Cells(model), chosen)[0])  # a fast cell switches earlier


def test_voltages_do_not_depend_on_the_steps_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within 0.1 mV, though a cell switches within one step of 1.75 mV: against four times as many."""
    looked_at = bench(VTEAMCell())
    chosen, model = looked_at.sweep, looked_at.model
    assert chosen is not None
    assert model is not None
    cells = sweep.Cells(model)
    coarse = sweep.voltages(cells, chosen, sweep.run(cells, chosen))
    monkeypatch.setattr(sweep, "POINTS", 4 * sweep.POINTS)
    fine = sweep.run(cells, chosen)
    for found, level, rising in zip(coarse, (chosen.set_level, chosen.reset_level), (True, False), strict=True):
        exact = sweep.crossing(fine.v, fine.conductance, level, rising=rising)
        assert float(found) == pytest.approx(float(exact), abs=1e-4)


def test_set_voltages_spread_about_the_nominal_cell_s_and_with_the_model_s_spread() -> None:
    def spread(sigma: float) -> tuple[float, float]:
        found = switching.figure(bench(VTEAMCell(d2d_step=sigma)))
        return value(found, "median V_set"), value(found, "std V_set")

    nominal = value(iv.figure(bench(VTEAMCell())), "V_set")
    (median, narrow), (_, wide) = spread(0.01), spread(0.02)
    assert median == pytest.approx(nominal, rel=1e-3)
    # The same normals twice as wide: to first order twice the spread.
    assert wide / narrow == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize("device", [VTEAMCell(d2d_step=0), Adaptive2D(d2d_range=0, d2d_beta=0)])
def test_cells_that_switch_alike_have_no_distribution(device: Device) -> None:
    found = switching.figure(bench(device))
    assert isinstance(found, Absent)
    assert "switch alike" in found.reason


# --- pulses ---------------------------------------------------------------------------------------------------


def test_nonlinearity_of_neurosim_is_the_published_one() -> None:
    """Ag:a-Si: 2.40 and 4.88 of 97 and 100 pulses. Source: Chen et al., 10.1109/TCAD.2018.2789723, table I."""
    found = pulses.figure(bench(NeuroSim()))
    assert value(found, "NL_up") == pytest.approx(2.40, abs=0.01)
    assert value(found, "NL_down") == pytest.approx(4.88, abs=0.01)
    assert (value(found, "pulses_up"), value(found, "pulses_down")) == pytest.approx((97, 100))


@given(st.floats(0.1, 9), st.floats(1e-9, 1e-3), st.floats(0, 1e-3))
def test_nonlinearity_of_a_curve_does_not_depend_on_its_scale(label: float, span: float, low: float) -> None:
    p = torch.linspace(0, 1, 4001, dtype=torch.float64)
    curve = pulse_laws.exponential(p, pulse_laws.curvature(label))
    found = pulses.label_of(low + span * curve)
    if span < 0.05 * (low + span):
        assert found is None
    elif span > 0.06 * (low + span):
        assert found == pytest.approx(label, rel=2e-3)
        assert pulses.label_of((low + span * curve).flip(0)) == pytest.approx(label, rel=2e-3)


def test_nonlinearity_of_a_straight_line_is_zero_and_of_a_flat_one_nothing() -> None:
    line = torch.linspace(1e-6, 2e-6, 50, dtype=torch.float64)
    assert pulses.label_of(line) == pytest.approx(0, abs=1e-9)
    assert pulses.label_of(torch.full((50,), 1e-6)) is None


def test_cells_without_variation_follow_the_nominal_curve_up_and_down() -> None:
    device = SoftBounds(d2d_step=0, d2d_bounds=0, c2c=0)
    found = pulses.figure(bench(device, 3))
    assert isinstance(found, Shown)
    nominal = found.table["nominal_s"]
    for name in ("quantile_5_s", "median_s", "quantile_95_s"):
        torch.testing.assert_close(found.table[name], nominal, rtol=1e-5, atol=0)
    up = found.table["polarity"] > 0
    assert bool((nominal[up].diff() > 0).all())
    assert bool((nominal[~up].diff() < 0).all())
    # Each curve is its law from where it starts.
    low, high = device.bounds
    expected = low + (high - low) * device.progress(found.table["pulse"][up], up=True)
    torch.testing.assert_close(nominal[up], expected, rtol=1e-12, atol=0)


def test_a_model_without_single_pulses_says_so() -> None:
    found = pulses.figure(bench(PCMJoshi()))
    assert isinstance(found, Absent)


# --- statistics -------------------------------------------------------------------------------------------------


def test_written_levels_have_the_model_s_deviation() -> None:
    """The deviation of n normals is that of the model within 1 / sqrt(2 n): five of these in 15 levels."""
    device = PCMJoshi()
    found = levels.figure(bench(device, 2000))
    assert isinstance(found, Shown)
    above = found.table["target_s"] > 5e-6  # none clipped at zero
    target = found.table["target_s"][above]
    ratio = found.table["deviation_s"][above] / device.programming_std(target)
    assert float((ratio - 1).abs().max()) < 5 / math.sqrt(2 * 2000)
    error = (found.table["mean_s"][above] - target) / device.programming_std(target)
    assert float(error.abs().max()) < 5 / math.sqrt(2000)


def test_levels_that_stand_six_sigma_apart() -> None:
    device = Generic(g_min=50e-6, g_max=100e-6, std=0.01, scaling="independent")
    sigma = float(device.programming_std(torch.tensor(75e-6)))
    count = value(levels.figure(bench(device, 2000)), "levels 6 sigma apart")
    assert abs(count - (1 + 50e-6 / (6 * sigma))) <= 1.2


def test_an_exact_write_is_told_as_such() -> None:
    found = levels.figure(bench(Ideal()))
    assert isinstance(found, Shown)
    assert "writes exactly" in found.caption
    assert len(found.panels) == 1
    assert value(found, "largest sigma_prog") == value(found, "largest bias") == 0


def test_failed_cells_are_counted_and_left_out(tmp_path: Path) -> None:
    file = tmp_path / "measured.csv"
    file.write_text(CSV)
    found = levels.figure(bench(Table(file=str(file)), 500))
    # 8000 cells: 10 % within five deviations of a count; 0.3 uS of about 450 cells a level.
    assert value(found, "failed cells") == pytest.approx(10, abs=5 * 100 * math.sqrt(0.1 * 0.9 / 8000))
    assert value(found, "sigma_prog, mean over targets") == pytest.approx(0.3e-6, rel=0.05)
    assert value(found, "largest sigma_prog") < 0.3e-6 * (1 + 5 / math.sqrt(2 * 450))


def test_retention_of_the_headline_device_after_a_day() -> None:
    """The median cell falls from 20 to 18.4 uS: G_off (G / G_off)^exp(-t / tau), tau the nominal lifetime."""
    device = Adaptive2D(programming_std=0, d2d_range=0)
    found = retention.figure(bench(device, 2001))
    g = device.g_off * (device.g_max / device.g_off) ** math.exp(-DAY / device.retention_tau)
    assert g == pytest.approx(18.4e-6, rel=0.01)
    # A median of 2001 cells is off by 1.25 sigma / sqrt(2001) of ln tau: three of these.
    shift = 3 * 1.25 * device.retention_sigma / math.sqrt(2001)
    assert value(found, "g(1 day) / g(0) of 20 µS, median") == pytest.approx(
        g / device.g_max, abs=shift * (1 - g / device.g_max)
    )


def test_retention_of_a_drifting_cell_falls_with_the_model_s_exponent() -> None:
    """PCM drifts by (t / t_0)^-nu, nu of the median cell at g_max."""
    device = PCMJoshi(g_max=25e-6)
    found = retention.figure(bench(device, 2000))
    assert -0.06 < value(found, "d ln g / d ln t of 25 µS") < -0.04
    assert isinstance(found, Shown)
    median = found.table["median_ratio"].reshape(3, -1)
    assert bool((median.diff(dim=1) < 0).all())
    below, above = found.table["quantile_5_s"], found.table["quantile_95_s"]
    assert bool((below < found.table["median_s"]).all() and (found.table["median_s"] < above).all())


def test_retention_ends_where_the_measurement_did() -> None:
    found = retention.figure(bench(RRAMWan()))
    assert isinstance(found, Shown)
    assert float(found.table["time_s"].max()) == 2 * DAY
    assert "to 2 days" in found.caption


def test_retention_of_cells_that_hold_nothing_is_not_told() -> None:
    """Both cells of the lowest level were written to 0 S: a ratio to that is no number, and nothing breaks."""
    assert retention._quantiles(torch.empty(4, 0, dtype=torch.float64)).isnan().all()


def test_sampled_read_noise_is_the_stated_one() -> None:
    """20 reads of 200 cells: five deviations of a deviation, 1 / sqrt(8000) each."""
    for device in (PCMJoshi(), Adaptive2D(), RRAMWan()):
        found = read_noise.figure(bench(device, 200))
        assert isinstance(found, Shown)
        ratio = found.table["sampled_s"] / found.table["model_s"]
        assert float((ratio - 1).abs().max()) < 5 / math.sqrt(8000)
    assert value(found, "sigma_read / G at 40 µS") == pytest.approx(1.0)


def test_read_noise_that_grows_is_shown_after_a_day_however_small() -> None:
    """Differences count relative to the noise: nanosiemens are not nothing."""
    found = read_noise.figure(bench(PCMJoshi(g_max=25e-9)))
    assert isinstance(found, Shown)
    assert "model_after_a_day_s" in found.table


def test_gains_of_the_gate() -> None:
    device = Adaptive2D()
    found = gate.figure(bench(device, 500))
    assert isinstance(found, Shown)
    assert value(found, "smallest gain, nominal") == pytest.approx(device.gain_min)
    assert value(found, "largest gain, nominal") == pytest.approx(1)
    v, low, high = (found.table[name] for name in ("gate_voltage_v", "quantile_5", "quantile_95"))
    top = v == device.gate_range[1]
    torch.testing.assert_close(low[top], torch.ones_like(low[top]))
    assert bool((low <= high).all())
    alike = gate.figure(bench(Adaptive2D(d2d_range=0, d2d_beta=0), 5))
    assert value(alike, "spread of the gain of 20 µS at V_g = -2 V") == pytest.approx(0, abs=1e-6)
