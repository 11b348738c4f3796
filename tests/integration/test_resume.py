"""`ckpt_path`: an interrupted run goes on as if nothing had been, in its own folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from memristor_plugins.models.classifier import ImageClassifier

Memristor = Callable[..., Any]


@pytest.fixture(scope="module")
def interrupted(memristor: Memristor, small: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a run was interrupted as its second epoch began."""
    folder = tmp_path_factory.mktemp("interrupted")
    start = ImageClassifier.on_train_epoch_start

    def interrupt(self: ImageClassifier) -> None:
        if self.current_epoch == 1:
            raise KeyboardInterrupt
        start(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ImageClassifier, "on_train_epoch_start", interrupt)
        done = memristor(folder, "train", *small)
    assert done.code == 130
    assert done.err.splitlines()[-1] == "error: interrupted"
    (run,) = (folder / "outputs").glob("*/*")
    assert [p.name for p in (run / "checkpoints").iterdir()] == ["last.ckpt"]
    assert not (run / "metrics.json").exists()
    return folder


def check_equal(run: Path, finished: Path) -> None:
    """The resumed run ends as the uninterrupted one did, to the byte."""
    assert (run / "metrics.json").read_bytes() == (finished / "metrics.json").read_bytes()
    assert (run / "chips.csv").read_bytes() == (finished / "chips.csv").read_bytes()
    states = [torch.load(f / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for f in (run, finished)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])


def test_the_newest_run_with_the_same_config_goes_on_in_its_folder(
    memristor: Memristor, small: tuple[str, ...], interrupted: Path, finished: Path, tmp_path: Path
) -> None:
    shutil.copytree(interrupted / "outputs", tmp_path / "outputs")
    other = memristor(tmp_path, "train", *small, "seed=1", "ckpt_path=last")
    assert (other.code, other.err.count("\n")) == (2, 1)
    # What only evaluates or shows is no other config.
    done = memristor(tmp_path, "train", *small, "ckpt_path=last", "logger=none")
    assert (done.code, done.err) == (0, "")
    (run,) = (tmp_path / "outputs").glob("*/*")
    assert f"run folder: {run.relative_to(tmp_path)}" in done.out
    check_equal(run, finished)


def test_a_run_goes_on_in_the_folder_that_is_given(
    memristor: Memristor, small: tuple[str, ...], interrupted: Path, finished: Path, tmp_path: Path
) -> None:
    (run,) = (interrupted / "outputs").glob("*/*")
    shutil.copytree(run, tmp_path / "run")
    done = memristor(tmp_path, "train", *small, "ckpt_path=last", "hydra.run.dir=run")
    assert (done.code, done.err) == (0, "")
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    check_equal(tmp_path / "run", finished)


def test_a_moved_run_keeps_one_checkpoint(
    memristor: Memristor, small: tuple[str, ...], interrupted: Path, tmp_path: Path
) -> None:
    (run,) = (interrupted / "outputs").glob("*/*")
    shutil.copytree(run, tmp_path / "run")
    assert memristor(tmp_path, "train", *small, "ckpt_path=last", "hydra.run.dir=run").code == 0
    assert [p.name for p in (tmp_path / "run" / "checkpoints").iterdir()] == ["last.ckpt"]


def test_a_file_is_resumed_in_a_new_folder(
    memristor: Memristor, small: tuple[str, ...], interrupted: Path, finished: Path, tmp_path: Path
) -> None:
    (checkpoint,) = interrupted.glob("outputs/*/*/checkpoints/last.ckpt")
    done = memristor(tmp_path, "train", *small, f"ckpt_path={checkpoint}", "hydra.run.dir=new")
    assert (done.code, done.err) == (0, "")
    check_equal(tmp_path / "new", finished)


def test_nothing_to_resume_is_one_line_and_leaves_nothing(memristor: Memristor, tmp_path: Path) -> None:
    (tmp_path / "garbage").write_bytes(b"garbage" * 100)
    for arguments, message in {
        ("ckpt_path=last",): "no run with this config under outputs/; "
        "leave it out to start one, or give hydra.run.dir=",
        ("ckpt_path=last", "hydra.run.dir=a"): f"no such file: {tmp_path}/a/checkpoints/last.ckpt; "
        "leave ckpt_path out to start a run there",
        ("ckpt_path=nowhere",): "no such file: nowhere; give a checkpoint, or 'last'",
        ("ckpt_path=garbage",): "garbage is not a checkpoint (UnpicklingError)",
    }.items():
        done = memristor(tmp_path, "train", "model.width=0.03", *arguments)
        assert (done.code, done.err) == (2, f"error: ckpt_path: {message}\n")
    assert [p.name for p in tmp_path.iterdir()] == ["garbage"]


def test_a_given_folder_is_never_exchanged_for_another(
    memristor: Memristor, small: tuple[str, ...], interrupted: Path
) -> None:
    done = memristor(interrupted, "train", *small, "ckpt_path=last", "hydra.run.dir=elsewhere")
    assert done.code == 2
    assert [p.name for p in interrupted.iterdir()] == ["outputs"]


def test_another_network_is_one_line(memristor: Memristor, finished: Path, tmp_path: Path) -> None:
    checkpoint = f"ckpt_path={finished}/checkpoints/last.ckpt"
    done = memristor(tmp_path, "train", "kernel=static", "model.width=0.03", checkpoint)
    assert done.code == 2
    assert done.err.startswith("error: ckpt_path: is of another network: 'network.")
    assert done.err.count("\n") == 1
