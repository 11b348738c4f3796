"""`memristor evaluate`: the same network again, on other stacks, and what it refuses."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from memristor_plugins.cli import evaluate
from memristor_plugins.cli.evaluate import recompose

Memristor = Callable[..., Any]


def chips(folder: Path) -> dict[tuple[int, float], float]:
    with (folder / "chips.csv").open() as file:
        return {(int(r["chip"]), float(r["time_s"])): float(r["accuracy"]) for r in csv.DictReader(file)}


def metrics(folder: Path) -> dict[str, float]:
    return json.loads((folder / "metrics.json").read_text())


def ranges(folder: Path) -> dict[str, Any]:
    state = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return {k: v for k, v in state.items() if ".ranges." in k}


@pytest.fixture
def evaluated(memristor: Memristor, finished: Path, tmp_path: Path) -> Callable[..., Path]:
    def call(*overrides: str) -> Path:
        checkpoint = f"checkpoint={finished}/checkpoints/last.ckpt"
        done = memristor(tmp_path, "evaluate", checkpoint, "hydra.run.dir=again", *overrides)
        assert (done.code, done.err) == (0, "")
        return tmp_path / "again"

    return call


def test_more_chips_and_times_add_to_the_runs_own(evaluated: Callable[..., Path], finished: Path) -> None:
    folder = evaluated("chips=3", "times=[1,3600]")
    assert metrics(folder)["test/accuracy"] == metrics(finished)["test/accuracy"]
    assert metrics(folder)["test/loss"] == metrics(finished)["test/loss"]
    found = chips(folder)
    assert list(found) == [(c, t) for c in range(3) for t in (1.0, 3600.0)]
    assert {k: v for k, v in found.items() if k in chips(finished)} == chips(finished)
    assert metrics(folder)["energy/crossbar_j"] == metrics(finished)["energy/crossbar_j"]


def test_another_stack_is_used_and_recorded(evaluated: Callable[..., Path], finished: Path) -> None:
    folder = evaluated("device=ideal", "nonideality=[]", "batchnorm_images=64")
    config = OmegaConf.load(folder / "config.yaml")
    assert config.device._target_.endswith("Ideal")
    assert config.nonidealities == {}
    # An ideal chip is the digital network, batch norms re-estimated on the same images.
    assert set(chips(folder).values()) == {metrics(folder)["test/accuracy"]}
    assert metrics(folder)["test/accuracy"] == metrics(finished)["test/accuracy"]


@pytest.mark.parametrize(
    ("overrides", "fresh"), [([], False), (["chips=1"], False), (["nonidealities.adc.percentile=90"], True)]
)
def test_ranges_stay_frozen_unless_the_stack_is_another(
    evaluated: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    finished: Path,
    overrides: list[str],
    fresh: bool,
) -> None:
    used: dict[str, Any] = {}

    def measure(run: Any, record: Any, *_: Any, **__: Any) -> None:
        used.update({k: v.clone() for k, v in run.module.state_dict().items() if ".ranges." in k})

    monkeypatch.setattr(evaluate, "measure", measure)
    evaluated(*overrides)
    frozen = ranges(finished)
    changed = {k for k, v in frozen.items() if not torch.equal(v, used[k])}
    assert used.keys() == frozen.keys()
    assert bool(changed) == fresh


def test_a_sweep_of_evaluations(memristor: Memristor, finished: Path, tmp_path: Path) -> None:
    checkpoint = f"checkpoint={finished}/checkpoints/last.ckpt"
    sweep = ["-m", "nonidealities.adc.bits=2,8", "hydra.sweep.dir=s", "energy=[]", "chips=[1]"]
    done = memristor(tmp_path, "evaluate", checkpoint, *sweep)
    assert (done.code, done.err) == (0, "")
    assert chips(tmp_path / "s" / "1")[(1, 1.0)] == chips(finished)[(1, 1.0)]
    configs = [OmegaConf.load(tmp_path / "s" / job / "config.yaml") for job in "01"]
    assert [c.nonidealities.adc.bits for c in configs] == [2, 8]


def checkpoint_of(folder: Path, *overrides: str) -> str:
    torch.save({"memristor_overrides": list(overrides), "state_dict": {}}, folder / "a.ckpt")
    return f"checkpoint={folder}/a.ckpt"


@pytest.mark.parametrize(
    ("recorded", "given", "kept"),
    [
        (["device=adaptive_2d", "device.g_min=2e-7"], ["device=ideal"], []),
        (["device.g_min=2e-7", "seed=3"], ["device.g_min=3e-7"], ["seed=3"]),
        (["model.width=0.5", "device=ideal"], ["stack=adaptive_2d_basic"], ["model.width=0.5"]),
        (
            ["nonideality=[adc,dac]", "nonidealities.adc.bits=6", "nonidealities.dac.bits=7"],
            ["nonideality=[adc]"],
            ["nonidealities.adc.bits=6"],
        ),
        (["energies.crossbar.adc_fom=1e-15", "energy=[crossbar]"], ["energy=[brain]"], []),
        (["trainer.max_epochs=3", "trainer.precision=bf16-mixed", "ckpt_path=last", "logger=wandb"], ["-m"],
         ["trainer.precision=bf16-mixed"]),
        (["trainer=cpu_bf16", "explain=true", "chips=4"], ["chips=5"], ["trainer=cpu_bf16"]),
        (["+trainer.limit_test_batches=1", "data.root=/x"], ["+data.root=/y"], []),
    ],
)  # fmt: skip
def test_what_is_kept_of_the_training_run(
    tmp_path: Path, recorded: list[str], given: list[str], kept: list[str]
) -> None:
    checkpoint = checkpoint_of(tmp_path, *recorded)
    assert recompose([checkpoint, *given]) == [*kept, checkpoint, *given]


def test_a_path_may_be_quoted(tmp_path: Path) -> None:
    name, _, path = checkpoint_of(tmp_path, "seed=3").partition("=")
    assert recompose([f"{name}='{path}'"])[0] == "seed=3"


def test_a_wrong_checkpoint_is_one_line(memristor: Memristor, tmp_path: Path) -> None:
    (tmp_path / "garbage.ckpt").write_bytes(b"garbage" * 100)
    torch.save([1, 2], tmp_path / "list.ckpt")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    before = sorted(p.name for p in tmp_path.iterdir())
    for argument, message in {
        "": "must be given: memristor evaluate checkpoint=PATH/TO/last.ckpt",
        "checkpoint=nowhere.ckpt": "no such file: nowhere.ckpt; runs keep theirs in checkpoints/last.ckpt",
        f"checkpoint={tmp_path}": f"no such file: {tmp_path}; runs keep theirs in checkpoints/last.ckpt",
        "checkpoint=garbage.ckpt": "garbage.ckpt is not a checkpoint (UnpicklingError)",
        "checkpoint=list.ckpt": "list.ckpt was not written by memristor train",
        "checkpoint=other.ckpt": "other.ckpt was not written by memristor train",
    }.items():
        done = memristor(tmp_path, "evaluate", *([argument] if argument else []))
        assert (done.code, done.err) == (2, f"error: checkpoint: {message}\n")
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_another_network_is_one_line(memristor: Memristor, finished: Path, tmp_path: Path) -> None:
    checkpoint = f"checkpoint={finished}/checkpoints/last.ckpt"
    done = memristor(tmp_path, "evaluate", checkpoint, "model.width=0.05")
    assert done.code == 2
    assert done.err.startswith("error: checkpoint: does not fit the network that these overrides compose: ")
    assert done.err.count("\n") == 1
    assert not list(tmp_path.iterdir())
