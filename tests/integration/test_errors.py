"""Errors that show only once everything is built: one line, exit code 2, nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MEMRISTOR = [sys.executable, "-c", "import sys; from memristor_plugins.cli.main import main; sys.exit(main())"]


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        ("seed=-1", "seed: must be a whole number >= 0 and < 4294967296, got -1"),
        ("seed=4294967296", "seed: must be a whole number >= 0 and < 4294967296, got 4294967296"),
        ("seed=true", "seed: must be a whole number >= 0 and < 4294967296, got True"),
        ("chips=true", "chips: must be a count or a list of seeds, whole numbers >= 0, got True"),
        ("chips=[0,-1]", "chips: must be a count or a list of seeds, whole numbers >= 0, got [0, -1]"),
        ("times=[]", "times: must be a list of seconds >= 0, such as [1,3600,86400], got []"),
        ("times=[inf]", "times: must be a list of seconds >= 0, such as [1,3600,86400], got [inf]"),
        ("times=[nan]", "times: must be a list of seconds >= 0, such as [1,3600,86400], got [nan]"),
        ("times=3", "times: must be a list of seconds >= 0, such as [1,3600,86400], got 3"),
        ("chip_precision=half", "chip_precision: must be float32 or bfloat16, got 'half'"),
        ("compile=maybe", "compile: must be true or false, got 'maybe'"),
        ("logger=wandb logger.mode=onlin", "logger.mode: must be offline or online, got 'onlin'"),
        ("logger.name=cvs", "logger.name: 'cvs' is none; did you mean 'csv'?"),
        ("trainer.max_epochs=abc", "trainer.max_epochs: must be a whole number, got 'abc'"),
        ("trainer.accelerator=hpuu", "trainer.accelerator: "),
        ("trainer.gradient_clip_val=-1 +trainer.gradient_clip_algorithm=x", "trainer.gradient_clip_algorithm: "),
        ("device=ideal nonideality=[gate]", "nonideality=gate needs a device with a third terminal, which Ideal"),
        ("kernel.gain_min=0.1", "kernel.gain_min: 0.1 is below what the gate of Adaptive2D reaches; the nearest"),
        ("hardware.effects=[acd] nonideality=[adc]", "hardware.effects: 'acd' is not selected in nonideality"),
        ("data.limit_train=10", "data.batch_size: 64 exceeds the 10 training images; use at most 10"),
    ],
)  # fmt: skip
def test_one_line_and_no_folder(memristor: Callable[..., Any], tmp_path: Path, overrides: str, line: str) -> None:
    done = memristor(tmp_path, "train", "model.width=0.03", "kernel.banks=2", *overrides.split())
    assert done.code == 2
    assert done.err.startswith(f"error: {line}")
    assert done.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_late_error_in_a_real_process(tmp_path: Path) -> None:
    done = subprocess.run(
        [*MEMRISTOR, "train", "data=cifar10", "data.root=/nowhere", "model.width=0.03"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: data.root: /nowhere does not exist; expected ")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
