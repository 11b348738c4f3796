"""Lightning loggers from the config group `logger`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger, Logger

from memristor_plugins.errors import ConfigError, nearest

NAMES = ("csv", "wandb", "none")
MODES = ("offline", "online")


def check_logger(settings: Mapping[str, Any]) -> None:
    """Refuse settings of the config node `logger` that cannot be used, before a run starts.

    Raises:
        ConfigError: no such logger, or no such mode.
    """
    name = settings.get("name")
    if name not in NAMES:
        raise ConfigError("logger.name", f"'{name}' is none; {nearest(str(name), NAMES)}")
    if name == "wandb" and settings.get("mode") not in MODES:
        raise ConfigError("logger.mode", f"must be offline or online, got '{settings.get('mode')}'")


@contextmanager
def logger(
    settings: Mapping[str, Any], folder: Path, config: Mapping[str, Any], group: str | None
) -> Iterator[Logger | None]:
    """The run's logger; whatever happens, it is closed at the end, with the run marked failed on an error.

    Args:
        settings: the config node `logger`: `name`, and for wandb `project`, `mode` (offline or online) and `tags`.
        folder: where local files go.
        config: the resolved config, recorded with the run.
        group: the sweep that the run belongs to, if any.
    """
    check_logger(settings)
    name = settings["name"]
    if name == "none":
        yield None
    elif name == "csv":
        yield CSVLogger(folder, name="", version="")
    else:
        yield from _wandb(settings, folder, config, group)


def _wandb(settings: Mapping[str, Any], folder: Path, config: Mapping[str, Any], group: str | None) -> Iterator[Logger]:
    import wandb
    from pytorch_lightning.loggers import WandbLogger

    # WandbLogger(offline=True) would leave WANDB_MODE behind for the next job of a sweep.
    before = os.environ.get("WANDB_MODE")
    run = wandb.init(
        project=settings.get("project"),
        mode=settings["mode"],
        group=group,
        tags=settings.get("tags"),
        dir=str(folder),
        config=dict(config),
        reinit="finish_previous",
        settings=wandb.Settings(console="off", silent=True),
    )
    failed = True
    try:
        yield WandbLogger(experiment=run, save_dir=str(folder))
        failed = False
    finally:
        run.finish(exit_code=int(failed))
        if before is None:
            os.environ.pop("WANDB_MODE", None)
        else:
            os.environ["WANDB_MODE"] = before
