"""`memristor energy`: trained and untrained networks, files and figures, what it refuses, and totals of sweeps."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memristor_plugins.energy.components import BOUNDARIES, GROUP_OF

Memristor = Callable[..., Any]
UNTRAINED = ("model.width=0.03", "kernel.banks=2", "images=8", "data.limit_train=128", "hydra.run.dir=look")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def look(memristor: Memristor, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A first look at an untrained network: its folder and what was printed."""
    folder = tmp_path_factory.mktemp("look")
    done = memristor(folder, "energy", *UNTRAINED, "energy=[crossbar,gpu_roofline,brain]")
    assert (done.code, done.err) == (0, "")
    return folder / "look", done.out


def test_an_untrained_network_is_told_as_such(look: tuple[Path, str]) -> None:
    folder, printed = look
    assert "digits, untrained" in printed
    for told in ("array only", "array and converters", "full system", "TOPS/W", "energy-delay product", "banks K: 4"):
        assert told in printed
    files = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and p.suffix != ".log"}
    figures = {f"figures/{name}.png" for name in ("energy", "comparison", "sensitivity")}
    assert files == figures | {
        "config.yaml", "provenance.json", "metrics.json", "cost.csv", "cost.json", "sensitivity.csv",
    }  # fmt: skip


def test_csv_json_and_metrics_tell_the_same(look: tuple[Path, str]) -> None:
    folder, _ = look
    found, cost = json.loads((folder / "metrics.json").read_text()), rows(folder / "cost.csv")
    told = json.loads((folder / "cost.json").read_text())
    assert list(told["estimates"]) == ["crossbar", "gpu_roofline", "brain"]
    for name, estimate in told["estimates"].items():
        own = [r for r in cost if r["estimator"] == name]
        assert sum(float(r["energy_j"]) for r in own) == pytest.approx(estimate["energy_j"], rel=1e-12)
        assert sum(estimate["by_layer"]["energy_j"].values()) == estimate["energy_j"] == found[f"energy/{name}_j"]
    chip = told["estimates"]["crossbar"]
    assert list(chip["boundaries_j"]) == list(BOUNDARIES)
    array = sum(
        float(r["energy_j"]) for r in cost if r["estimator"] == "crossbar" and GROUP_OF[r["component"]] == "array"
    )
    assert array == pytest.approx(chip["boundaries_j"]["array only"], rel=1e-12)
    assert chip["latency_sequential_s"] >= chip["interval_pipelined_s"] > 0
    assert chip["area_m2"] > 0
    assert "8-bit inputs" in chip["precision"]
    assert chip["energy_delay_js"] == pytest.approx(chip["energy_j"] * chip["latency_sequential_s"])
    for level in told["comparison"]["levels"]:
        ratios = {r["estimator"]: r["over"] for r in level["references"]}
        for name in ("gpu_roofline", "brain"):
            assert ratios[name] == pytest.approx(told["estimates"][name]["energy_j"] / level["energy_j"])
    layers = told["workload"]["layers"]
    assert told["workload"]["images"] == 8
    assert all(0 <= layer["sparsity"] < 1 for layer in layers)


def test_every_setting_that_matters_is_varied(look: tuple[Path, str]) -> None:
    folder, _ = look
    found = rows(folder / "sensitivity.csv")
    settings = {r["setting"] for r in found}
    assert settings == {"array size", "ADC resolution", "G_on", "read voltage", "banks K"}
    at = {(r["setting"], r["value"], r["boundary"]): float(r["energy_over_nominal"]) for r in found}
    # The cells' v^2 G doubles with G_on; lines that are gated or charged stay as they are.
    assert 1 < at["G_on", "4e-05 S", "array only"] < 2
    assert at["ADC resolution", "9 bit", "array only"] == pytest.approx(1)
    assert at["ADC resolution", "9 bit", "array and converters"] > 1.2
    assert at["banks K", "1", "full system"] < 1 < at["banks K", "4", "full system"]
    order = list(dict.fromkeys(r["setting"] for r in found))
    spread = [
        max(v for (s, _, b), v in at.items() if s == name and b == "full system")
        / min(v for (s, _, b), v in at.items() if s == name and b == "full system")
        for name in order
    ]
    assert spread == sorted(spread, reverse=True)


def test_a_checkpoint_costs_what_its_run_said(memristor: Memristor, finished: Path, tmp_path: Path) -> None:
    checkpoint = f"checkpoint={finished}/checkpoints/last.ckpt"
    done = memristor(tmp_path, "energy", checkpoint, "sensitivity=false", "hydra.run.dir=again")
    assert (done.code, done.err) == (0, "")
    told, run = (json.loads((f / "metrics.json").read_text()) for f in (tmp_path / "again", finished))
    assert told == {k: pytest.approx(v, rel=1e-6) for k, v in run.items() if k.startswith("energy/")}
    assert "untrained" not in done.out
    other = memristor(
        tmp_path, "energy", checkpoint, "sensitivity=false", "energy=[isaac,gpu_roofline]",
        "energies.gpu_roofline.batch=64", "hydra.run.dir=other",
    )  # fmt: skip
    assert (other.code, other.err) == (0, "")
    assert "batch 64 against 1" in " ".join(other.out.split())
    assert {r["estimator"] for r in rows(tmp_path / "other" / "cost.csv")} == {"isaac", "gpu_roofline"}


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["images=0"], "images: must be a whole number >= 1, got 0"),
        (["sensitivity=maybe"], "sensitivity: must be true or false, got maybe"),
        (["energy=[]"], "energy: names no estimator"),
        (["energy=[crosbar]"], "crossbar"),
        (["energy=[crossbar]", "energies.crossbar.adc_fom=-1"], "energies.crossbar.adc_fom: must be >= 0 J"),
        (["energies.crossbar.inputs=phase"], "energies.crossbar.inputs"),
        (["checkpoint=nowhere.ckpt"], "checkpoint: no such file: nowhere.ckpt"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    memristor: Memristor, tmp_path: Path, arguments: list[str], error: str
) -> None:
    done = memristor(tmp_path, "energy", *arguments)
    assert done.code == 2
    assert done.err.startswith("error: ")
    assert error in done.err
    assert done.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_sweep_tells_accuracy_against_energy(memristor: Memristor, small: tuple[str, ...], tmp_path: Path) -> None:
    changed = [o for o in small if not o.startswith("kernel.banks")]
    done = memristor(
        tmp_path, "train", "-m", *changed, "kernel.banks=1,2", "objective=[test/accuracy,energy/crossbar_j]",
        "hydra.sweep.dir=sweep",
    )  # fmt: skip
    assert (done.code, done.err) == (0, "")
    found = rows(tmp_path / "sweep" / "results.csv")
    assert [r["kernel.banks"] for r in found] == ["1", "2"]
    one, two = (float(r["energy/crossbar_full_system_j"]) for r in found)
    assert 0 < one < two
    assert all(float(r["chips/accuracy_mean_1s"]) >= 0 for r in found)
    assert (tmp_path / "sweep" / "accuracy_energy.png").is_file()
    logged = rows(next((tmp_path / "sweep" / "0").rglob("metrics.csv")))
    assert any(r.get("energy/crossbar_j") for r in logged)


def test_an_objective_that_is_no_metric_is_refused(
    memristor: Memristor, small: tuple[str, ...], tmp_path: Path
) -> None:
    done = memristor(tmp_path, "train", *small, "objective=3")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "objective: must be null" in done.err
    assert not list(tmp_path.iterdir())


def test_the_command_as_a_user_types_it(tmp_path: Path) -> None:
    memristor = str(Path(sys.executable).with_name("memristor"))
    done = subprocess.run(
        [memristor, "energy", *UNTRAINED, "energy=[crossbar,brain]", "sensitivity=false"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "run folder: " in done.stdout
    assert (tmp_path / "look" / "cost.json").is_file()
