"""The commands as a user types them, in real processes."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

MEMRISTOR = str(Path(sys.executable).with_name("memristor"))
SMALL = [
    "experiment=quickstart",
    "model.width=0.0625",
    "kernel.banks=2",
    "data.limit_train=256",
    "data.limit_test=64",
    "trainer.max_epochs=2",
    "chips=2",
    "times=[1]",
]


def memristor(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [MEMRISTOR, *arguments],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one small finished run."""
    folder = tmp_path_factory.mktemp("run")
    done = memristor("train", *SMALL, "hydra.run.dir=first", "explain=true", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "accuracy, digital" in done.stdout
    assert "tiled" in done.stdout
    return folder / "first"


def metrics(folder: Path) -> dict[str, float]:
    return json.loads((folder / "metrics.json").read_text())


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_a_run_folder_is_complete(run: Path) -> None:
    found = metrics(run)
    assert all(isinstance(v, int | float) for v in found.values())
    assert "???" not in (run / "config.yaml").read_text()
    assert "${" not in (run / "config.yaml").read_text()
    provenance = json.loads((run / "provenance.json").read_text())
    assert provenance["plugins"]["memristor-plugins"]
    assert provenance["git"] is None or len(provenance["git"]["revision"]) == 40
    chips = rows(run / "chips.csv")
    assert [(r["chip"], float(r["time_s"])) for r in chips] == [("0", 1.0), ("1", 1.0)]
    mean = sum(float(r["accuracy"]) for r in chips) / 2
    assert mean == pytest.approx(found["chips/accuracy_mean_1s"])
    cost = rows(run / "cost.csv")
    crossbar = [r for r in cost if r["estimator"] == "crossbar"]
    assert sum(float(r["energy_j"]) for r in crossbar) == pytest.approx(found["energy/crossbar_j"], rel=1e-12)
    assert {p.name for p in (run / "figures").glob("*.png")} == {
        "chips.png",
        "energy.png",
        "comparison.png",
        "routing.png",
    }
    assert (run / "checkpoints" / "last.ckpt").is_file()
    assert not list(run.glob("**/.*.part"))


def test_the_same_seed_writes_the_same_metrics(run: Path) -> None:
    done = memristor("train", *SMALL, "hydra.run.dir=second", cwd=run.parent)
    assert done.returncode == 0, done.stderr
    assert (run.parent / "second" / "metrics.json").read_bytes() == (run / "metrics.json").read_bytes()


def test_evaluate_recomposes_the_network(run: Path) -> None:
    checkpoint = f"checkpoint={run}/checkpoints/last.ckpt"
    done = memristor("evaluate", checkpoint, "hydra.run.dir=again", "chips=2", cwd=run.parent)
    assert done.returncode == 0, done.stderr
    again = run.parent / "again"
    assert metrics(again)["test/accuracy"] == metrics(run)["test/accuracy"]
    assert (again / "chips.csv").read_bytes() == (run / "chips.csv").read_bytes()
    coarse = memristor(
        "evaluate", checkpoint, "hydra.run.dir=coarse", "nonidealities.adc.bits=2", "times=[1,86400]", cwd=run.parent
    )
    assert coarse.returncode == 0, coarse.stderr
    assert len(rows(run.parent / "coarse" / "chips.csv")) == 4
    assert "bits: 2" in (run.parent / "coarse" / "config.yaml").read_text()


def test_an_interrupted_run_resumes(run: Path, tmp_path: Path) -> None:
    whole = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    # One epoch of the two, stopped: what a killed job leaves behind, under the config of the whole run.
    stopped = tmp_path / "outputs" / "stopped"
    script = (
        "import os, sys\n"
        "from memristor_plugins.cli import main\n"
        "from memristor_plugins.models.classifier import ImageClassifier\n"
        "start = ImageClassifier.on_train_epoch_start\n"
        "def killed(self):\n"
        "    start(self)\n"
        "    if self.current_epoch == 1: os._exit(9)\n"
        "ImageClassifier.on_train_epoch_start = killed\n"
        f"sys.argv = ['memristor', 'train', *{SMALL!r}, 'hydra.run.dir=outputs/stopped']\n"
        "main.main()\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    killed = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, check=False, timeout=300)
    assert killed.returncode == 9
    assert (stopped / "checkpoints" / "last.ckpt").is_file()
    assert not (stopped / "metrics.json").exists()
    for extra in ([], ["hydra.run.dir=outputs/copied"]):
        if extra:
            shutil.copytree(tmp_path / "outputs" / "kept", tmp_path / "outputs" / "copied")
        else:
            shutil.copytree(stopped, tmp_path / "outputs" / "kept")
            shutil.move(tmp_path / "outputs" / "kept", tmp_path / "kept")
        done = memristor("train", *SMALL, "ckpt_path=last", *extra, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        folder = tmp_path / "outputs" / ("copied" if extra else "stopped")
        resumed = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        assert all(torch.equal(resumed[k], v) for k, v in whole.items())
        assert metrics(folder)["test/accuracy"] == metrics(run)["test/accuracy"]
        if not extra:
            shutil.move(tmp_path / "kept", tmp_path / "outputs" / "kept")


WRONG = {
    "device.gon=1": ("device.gon", "g_on0"),
    "device.g_on=abc": ("device.g_on", "g_on0"),
    "device.g_on0=abc": ("device.g_on0", "number"),
    "device=adaptive2d": ("device=adaptive2d", "adaptive_2d"),
    "nonideality=[adcc]": ("nonideality=adcc", "adc"),
    "data.root=/nowhere": ("data.root", "/nowhere"),
    "model.width=0": ("model.width", "> 0"),
    "+device.foo=1": ("device.foo", "no such option"),
    "seed=-1": ("seed", ">= 0"),
    "chips=abc": ("chips", "count"),
    "times=[-1]": ("times", ">= 0"),
    "kernel.gain_min=0.1": ("kernel.gain_min", "0.24"),
    "ckpt_path=last": ("ckpt_path", "outputs"),
    "kernel.banks=0": ("kernel.banks", ">= 1"),
}


@pytest.mark.parametrize("override", WRONG)
def test_a_wrong_option_is_one_line(override: str, tmp_path: Path) -> None:
    data = ["data=cifar10"] if override.startswith("data.root") else []
    done = memristor("train", *data, override, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    for word in WRONG[override]:
        assert word in lines[0]
    assert not list(tmp_path.rglob("*.*")), "nothing may be left behind"


def test_a_truncated_archive_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(b"\x1f\x8b" + bytes(100))
    done = memristor("train", "data=cifar10", f"data.root={tmp_path}", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: data.root: ")
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "outputs").exists() or not list((tmp_path / "outputs").rglob("*.*"))


def test_a_sweep_outlives_a_failed_job(tmp_path: Path) -> None:
    quick = [*SMALL[:1], "model.width=0.03", "trainer.fast_dev_run=true", "~kernel.banks"][:3]
    done = memristor("train", "-m", *quick, "kernel=static,dynamic", "data.limit_train=64,999999", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "2 of 4 jobs failed" in done.stderr
    written = list((tmp_path / "outputs" / "multirun").glob("*/*/*/metrics.json"))
    assert len(written) == 2


def test_wandb_offline(tmp_path: Path) -> None:
    quick = ["experiment=quickstart", "model.width=0.03", "trainer.fast_dev_run=true", "logger=wandb"]
    done = memristor("train", "-m", *quick, "seed=0,1", cwd=tmp_path, WANDB_SILENT="true")
    assert done.returncode == 0, done.stderr
    runs = list((tmp_path / "outputs" / "multirun").glob("*/*/*/wandb/offline-run-*"))
    assert len({r.name for r in runs}) == 2


def test_a_setting_without_effect_is_warned_of_in_one_line(tmp_path: Path) -> None:
    small = ["experiment=quickstart", "model.width=0.03", "kernel=static", "data.limit_train=64", "data.limit_test=16"]
    done = memristor("train", *small, "trainer.max_epochs=1", "chips=0", "energy=[]", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "warning: nonideality=[gate" in done.stderr
    assert "UserWarning" not in done.stderr
    assert ".py:" not in done.stderr
