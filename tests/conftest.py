"""The command line within the test's process: its exit code and what it printed, and nothing left behind."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Done:
    """A command line that has ended."""

    code: int
    out: str
    err: str


def memristor_in(folder: Path, *arguments: str) -> Done:
    """Run `memristor ARGUMENTS` in a folder; afterwards folder, environment and logging are as they were."""
    from memristor_plugins.cli.main import main

    before, environment, root = Path.cwd(), dict(os.environ), logging.getLogger()
    handlers, level = list(root.handlers), root.level
    out, err = io.StringIO(), io.StringIO()
    os.chdir(folder)
    try:
        with redirect_stdout(out), redirect_stderr(err):
            # Without the log file that Hydra would open and nobody close.
            code = main([arguments[0], "hydra/job_logging=stdout", *arguments[1:]])
        # The client's own background service is told of by WANDB_SERVICE until the process ends.
        leaked = {name for name in set(os.environ) - set(environment) if name.startswith("WANDB_")}
        assert leaked <= {"WANDB_SERVICE"}
    finally:
        os.chdir(before)
        os.environ.clear()
        os.environ.update(environment)
        root.handlers[:], root.level = handlers, level
    return Done(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def memristor() -> Callable[..., Done]:
    """`memristor(folder, *arguments)`: see `memristor_in`."""
    return memristor_in


SMALL = (
    "experiment=quickstart",
    "model.width=0.03",
    "kernel.banks=2",
    "data.limit_train=128",
    "data.limit_test=64",
    "hardware.calibration_images=64",
    "trainer.max_epochs=2",
    "chips=2",
    "times=[1]",
)


@pytest.fixture(scope="session")
def small() -> tuple[str, ...]:
    """Overrides of a run of a second or two, the first epoch digital, the second on chips."""
    return SMALL


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small finished run. Tests read it and write nothing there."""
    folder = tmp_path_factory.mktemp("finished")
    done = memristor_in(folder, "train", *SMALL, "hydra.run.dir=run")
    assert (done.code, done.err) == (0, "")
    return folder / "run"
