"""Fits of synthetic measurements: periods of a sweep, each kind of file, presets and what an array needs of them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from omegaconf import OmegaConf

from memristor_plugins.compose import compose
from memristor_plugins.devices.generic import Generic
from memristor_plugins.devices.soft_bounds import SoftBounds
from memristor_plugins.devices.transient import MODELS, simulate, table
from memristor_plugins.errors import ConfigError
from memristor_plugins.fitting import preset
from memristor_plugins.fitting.csv_data import Table
from memristor_plugins.fitting.intervals import Estimate
from memristor_plugins.fitting.iv import SweepModel
from memristor_plugins.fitting.loops import Sweep, samples_per_period, sweep
from memristor_plugins.fitting.moments import _levels
from memristor_plugins.fitting.reads import target
from memristor_plugins.fitting.run import Options, Outcome, check, fit_file
from memristor_plugins.fitting.subject import subject
from memristor_plugins.fitting.usable import settings

Array = NDArray[np.float64]


def written(path: Path, header: str, *columns: Array) -> Path:
    lines = [",".join(f"{value:.10g}" for value in row) for row in zip(*columns, strict=True)]
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def measured(time: Array, voltage: Array, current: Array) -> Table:
    columns = {"time": time, "voltage": voltage, "current": current}
    return Table("iv", "loop.csv", columns, np.arange(len(time)) + 2)


def triangle(rows: int, periods: int) -> Array:
    phase = np.arange(rows * periods) / rows
    return np.asarray(2 / np.pi * np.arcsin(np.sin(2 * np.pi * phase)), dtype=np.float64)


# --- periods of a sweep -------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [20, 33, 160])
def test_the_period_of_a_repeated_sweep_is_found(rows: int) -> None:
    voltage = triangle(rows, 6) + 0.002 * np.random.default_rng(0).standard_normal(rows * 6)
    assert samples_per_period(np.arange(len(voltage)) * 1e-3, voltage) == rows


def test_what_does_not_repeat_is_left_as_it_is() -> None:
    time = np.arange(120) * 1e-3
    assert samples_per_period(time, triangle(60, 2)) is None  # two periods are no repetition
    assert samples_per_period(time, np.linspace(-1, 1, 120)) is None
    assert samples_per_period(time, triangle(20, 6) * np.linspace(1, 2, 120)) is None  # grows
    assert samples_per_period(time**2, triangle(20, 6)) is None  # uneven steps


def test_an_average_leaves_the_first_period_out_and_knows_its_error() -> None:
    rng = np.random.default_rng(0)
    voltage = triangle(40, 25)
    clean = voltage**3
    current = clean + 0.1 * rng.standard_normal(len(voltage))
    current[:40] += 100  # the first period has not settled
    found = sweep(measured(np.arange(1000) * 1e-3, voltage, current))
    assert (found.averaged, found.period) == (24, pytest.approx(0.04))
    assert found.noise is not None
    assert np.abs(found.current - clean[:40]).max() < 4.5 * 0.1 / math.sqrt(24)
    assert found.noise.mean() == pytest.approx(0.1 / math.sqrt(24), rel=0.1)
    assert sweep(measured(np.arange(1000) * 1e-3, voltage, current), average=False).period is None


def test_a_thinned_sweep_has_the_rows_that_it_keeps() -> None:
    whole = Sweep(np.arange(100.0), np.arange(100.0), np.arange(100.0))
    few = whole.thinned(30)
    assert len(few.time) <= 30
    assert few.time[0] == 0
    assert few.time[-1] == 99
    np.testing.assert_array_equal(few.time, few.current)


def test_a_repeated_sweep_is_predicted_as_its_last_period() -> None:
    """Yakopcic cells that set and reset a part each period: the 25th period, from three and an extrapolation."""
    model = MODELS["yakopcic"](rate_p=150.0, rate_n=200.0)
    time, volts = np.arange(20) * 2e-3, 0.4 * triangle(20, 1)
    starts = {"x0": np.array([0.05, 0.9])}
    predicted = SweepModel(model, Sweep(time, volts, np.ones(20), period=0.04, averaged=25)).currents(starts)
    many = table(torch.arange(25 * 20 + 1) * 2e-3, torch.from_numpy(np.append(np.tile(volts, 25), 0.0)))
    cells = model.with_parameters({"x0": torch.from_numpy(starts["x0"])})
    run = simulate(cells, many, shape=(2,), record="segments", tolerance=1e-4)
    assert run.current is not None
    assert run.time is not None
    for own, told in zip(predicted, run.current.numpy().T, strict=True):
        first, last = (np.interp(k * 0.04 + time, run.time.numpy(), told) for k in (0, 24))
        assert np.abs(own - last).max() < 0.05 * np.ptp(last)
        assert np.abs(first - last).max() > 0.1 * np.ptp(last)


# --- fits of each kind ---------------------------------------------------------------------------------------


def held(outcome: Outcome, truth: dict[str, float]) -> dict[str, bool]:
    by_name = {e.name: e for e in outcome.found.inference.estimates}
    return {
        name: by_name[name].status == "identified" and by_name[name].low <= value <= by_name[name].high  # type: ignore[operator]
        for name, value in truth.items()
    }


def test_a_sweep_gives_the_parameters_and_the_offsets_back(tmp_path: Path) -> None:
    truth = {"a": 1e-4, "v_p": 0.2, "v_n": 0.25, "rate_p": 500.0, "rate_n": 800.0}
    model = MODELS["yakopcic"](b=3.0, a_negative=1e-4, **truth)
    corners = [0.0, 0.5, -0.5, 0.5, 0.0]
    wave = table(list(np.cumsum([0, 20, 40, 40, 20]) * 1e-3), corners)
    run = simulate(model, wave, dt=2e-3, record="steps")
    assert run.current is not None
    assert run.v is not None
    assert run.time is not None
    current, volts, time = (t.flatten().numpy() for t in (run.current, run.v, run.time))
    noise = 0.01 * np.ptp(current) * np.random.default_rng(1).standard_normal(len(current))
    offset = 0.02 * np.ptp(current)
    path = written(tmp_path / "loop.csv", "time_s,voltage_v,current_a", time, volts + 0.01, current + noise + offset)
    options = Options(free=("a", "v_p", "v_n", "rate_p", "rate_n"), offsets=True, starts=4)
    start = ["device=yakopcic", "device.b=3", "device.a=3e-4", "device.a_negative=1e-4", "device.rate_p=1500"]
    outcome = fit_file(subject(start), path, options)
    assert outcome.found.quality["rms_error_over_range"] == pytest.approx(0.01, rel=0.3)
    inside = held(outcome, {**truth, "voltage_offset": 0.01, "current_offset": offset})
    assert sum(inside.values()) >= 6, inside
    again = check(outcome, path, options)
    assert again["same"] == pytest.approx(outcome.found.quality["rms_error_over_range"], rel=1e-3)
    assert again["own_offsets"] == pytest.approx(again["same"], rel=0.05)
    chosen = settings(outcome.subject, outcome.found.device_values, (-0.5, 0.5))
    assert outcome.subject.build({**outcome.found.device_values, **chosen})


def test_parameters_that_do_not_go_together_are_not_searched() -> None:
    """R_on < R_off: what the model refuses is impossible, where a cell is read is no part of that."""
    vteam = subject(["device=vteam"])
    assert vteam.possible({"r_on": 10.0, "r_off": 20.0})
    assert not vteam.possible({"r_on": 20.0, "r_off": 10.0})
    assert vteam.possible({"v_off": 1e-3})
    averaged = Sweep(np.arange(8) * 1e-9, triangle(8, 1), np.ones(8))
    found = SweepModel(vteam.model(), averaged, possible=vteam.possible).currents(
        {"r_on": np.array([10.0, 2000.0]), "r_off": np.array([1000.0, 1000.0])}
    )
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1]).all()


def test_a_pulse_train_gives_the_law_back(tmp_path: Path) -> None:
    truth = {"lowest": 5e-6, "highest": 30e-6, "step_up": 0.04, "step_down": 0.03}
    device = SoftBounds(**truth, g_min=8e-6, g_max=25e-6, c2c=0, d2d_step=0, d2d_bounds=0)
    cells = device.fabricate((1,), generator=torch.Generator())
    signs = [0] + [1] * 80 + [-1] * 80
    g = [torch.tensor([6e-6], dtype=torch.float64)]
    for sign in signs[1:]:
        g.append(device.pulse(g[-1], torch.tensor([float(sign)]), cells=cells, generator=None))
    read = torch.cat(g).numpy() + 0.25e-6 * np.random.default_rng(0).standard_normal(len(g))
    columns = np.arange(len(g)), read * 1e6, np.array(signs)
    path = written(tmp_path / "train.csv", "pulse,conductance_us,polarity", *columns)
    outcome = fit_file(subject(["device=soft_bounds"]), path, Options())
    assert {e.name for e in outcome.found.inference.estimates} == {*truth, "start_conductance"}
    assert {"c2c", "d2d_step", "d2d_bounds"} <= set(outcome.dropped)
    assert all(held(outcome, truth).values())
    chosen = settings(outcome.subject, outcome.found.device_values, None)
    assert 5e-6 < chosen["g_min"] < chosen["g_max"] < 30e-6


def test_programming_statistics_give_the_spread_back(tmp_path: Path) -> None:
    device = Generic(std=0.05)
    wanted = torch.linspace(float(device.g_min), float(device.g_max), 8).repeat(60)
    got = device.program(wanted, generator=torch.Generator().manual_seed(2)).g
    columns = wanted.numpy() * 1e6, got.numpy() * 1e6
    path = written(tmp_path / "writes.csv", "target_us,conductance_us", *columns)
    outcome = fit_file(subject(["device=generic", "device.std=0.2"]), path, Options(free=("std",)))
    assert held(outcome, {"std": 0.05})["std"]
    (std,) = outcome.found.inference.estimates
    assert std.high is not None
    # 480 normal values: a relative error of 1 / sqrt(2 * 480) = 3.2 %, twice that either way.
    assert std.high - std.value == pytest.approx(2 * 0.032 * 0.05, rel=0.5)


def test_cells_that_began_alike_are_one_level_however_noisy_and_others_are_not() -> None:
    rng = np.random.default_rng(0)
    one = np.repeat(10e-6 * (1 + 0.1 * rng.standard_normal(200)), 6)
    assert [len(level) for level in _levels(one)] == [1200]
    two = np.concatenate([one, np.repeat(2e-6 * (1 + 0.1 * rng.standard_normal(50)), 6)])
    assert sorted(len(level) for level in _levels(two)) == [300, 1200]
    spread = np.repeat(np.geomspace(1e-6, 16e-6, 400), 3)
    levels = _levels(spread)
    assert 4 <= len(levels) <= 5
    assert sum(map(len, levels)) == len(spread)
    assert all(spread[level].max() / spread[level].min() <= 2 for level in levels)


# --- presets -------------------------------------------------------------------------------------------------


def estimate(name: str, value: float, status: str = "identified") -> Estimate:
    known = status == "identified"
    return Estimate(name, "S", value, 0.9 * value if known else None, 1.1 * value if known else None, status, "why")


def test_a_preset_reads_back_as_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "conf" / "device" / "mine.yaml"
    values = [estimate("g_min", 1e-7), estimate("std", 0.031, "unidentifiable"), estimate("g_max", 2.5e-05)]
    nuisance = Estimate("current_offset", "A", 1.0, None, None, "identified", nuisance=True)
    preset.write(path, "generic", {"distribution": "uniform"}, [*values, nuisance], {"read_std": 0.0}, ["a\nb", "RMS"])
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# Written by memristor fit: a b\n# RMS\n")
    assert "9e-08 to 1.1e-07 S (95 %)" in text
    assert "unidentifiable: why" in text
    assert "current_offset" not in text
    node = OmegaConf.to_container(compose("stack_only", ["device=mine"]).device)
    assert isinstance(node, dict)
    wanted = {"g_min": 1e-7, "std": 0.031, "g_max": 2.5e-5, "distribution": "uniform", "read_std": 0.0}
    assert {k: node[k] for k in wanted} == wanted
    assert not list(path.parent.glob("*.part"))


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-06, "1.0e-06"), (2.5e20, "2.5e+20"), (3.0, "3.0"), (0.25, "0.25"), (True, "true"), (None, "null"),
     ([1.0, 2e-9], "[1.0, 2.0e-09]"), ("a: b", '"a: b"')],
)  # fmt: skip
def test_numbers_are_numbers_to_yaml(value: object, text: str) -> None:
    assert preset._yaml(value) == text
    back = OmegaConf.to_container(OmegaConf.create(f"x: {text}"))
    assert isinstance(back, dict)
    assert back["x"] == value


@pytest.mark.parametrize(
    ("name", "message"),
    [("9lives", "must be letters"), ("a-b", "must be letters"), ("vteam", "is a device already"), ("x", "not written")],
)
def test_names_of_presets(tmp_path: Path, name: str, message: str) -> None:
    other = tmp_path / "x.yaml"
    other.write_text("defaults: [generic]\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=message) as error:
        preset.check_name(name, other, ["x1"])
    assert error.value.option == "name"


@pytest.mark.parametrize(
    ("text", "siemens"), [("25us", 25e-6), ("40kohm", 25e-6), ("2.5e-5", 25e-6), ("1MegOhm", 1e-6)]
)
def test_targets_of_reads_have_units(text: str, siemens: float) -> None:
    assert target(text) == pytest.approx(siemens)


@pytest.mark.parametrize("text", ["", "kohm", "-5us", "0", "5volts", "nan"])
def test_a_target_that_is_none_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError, match="conductance or a resistance"):
        target(text)


def test_a_device_without_what_the_file_measures_is_an_error(tmp_path: Path) -> None:
    loop = written(tmp_path / "l.csv", "time_s,voltage_v,current_a", *[np.arange(9.0)] * 3)
    with pytest.raises(ConfigError, match="no I-V law"):
        fit_file(subject(["device=pcm_joshi"]), loop, Options())
    train = written(tmp_path / "p.csv", "pulse,conductance_us,polarity", *[np.arange(2.0)] * 3)
    with pytest.raises(ConfigError, match="not told by pulses"):
        fit_file(subject(["device=pcm_joshi"]), train, Options())
    with pytest.raises(ConfigError, match=r"no parameter 'gmax'; .*g_max"):
        fit_file(subject(["device=soft_bounds"]), train, Options(free=("gmax",)))
    with pytest.raises(ConfigError, match="is for sweeps"):
        fit_file(subject(["device=soft_bounds"]), train, Options(offsets=True))
    gated = written(tmp_path / "g.csv", "time_s,voltage_v,current_a,gate_voltage_v", *[np.arange(9.0)] * 4)
    with pytest.raises(ConfigError, match="vteam has no gate"):
        fit_file(subject(["device=vteam"]), gated, Options())
