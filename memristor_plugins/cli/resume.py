"""Which checkpoint a run continues from, and in which folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from memristor_plugins.cli.hydra_run import RunFolder
from memristor_plugins.errors import ConfigError

LAST = Path("checkpoints") / "last.ckpt"


def checkpoint_to_resume(config: DictConfig, folder: Path) -> tuple[Path, Path | None]:
    """The folder to write to and the checkpoint to resume from, if any.

    `ckpt_path=PATH` resumes from a file, in `folder`. `ckpt_path=last` resumes in `folder` if it holds a checkpoint
    or if `hydra.run.dir` was given, else in the newest run under `outputs/` that had the same config. The same means
    the same length, too: the learning rate follows from it.

    Raises:
        ConfigError: there is nothing to resume from, or it is no checkpoint.
    """
    wanted = config.ckpt_path
    if wanted is None:
        return folder, None
    if wanted != "last":
        load_checkpoint(wanted, "ckpt_path", "give a checkpoint, or 'last'")
        return folder, Path(wanted).expanduser()
    chosen = any(o.lstrip("+").startswith("hydra.run.dir=") for o in HydraConfig.get().overrides.hydra)
    if chosen or (folder / LAST).is_file():
        load_checkpoint(folder / LAST, "ckpt_path", "leave ckpt_path out to start a run there")
        return folder, folder / LAST
    found = _newest(config, Path("outputs"))
    if found is None:
        raise ConfigError(
            "ckpt_path", "no run with this config under outputs/; leave it out to start one, or give hydra.run.dir="
        )
    load_checkpoint(found / LAST, "ckpt_path", "give another run's, or leave it out to start anew")
    if RunFolder.current is not None:
        RunFolder.current.clear()  # the run goes on in its own folder
    return found, found / LAST


def load_checkpoint(path: str | Path, option: str, advice: str) -> dict[str, Any]:
    """A checkpoint of `memristor train`, on the CPU.

    Raises:
        ConfigError: there is none at `path`; names `option` and gives `advice` where the file is missing.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise ConfigError(option, f"no such file: {file}; {advice}")
    try:
        checkpoint: Any = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ConfigError(option, f"{file} is not a checkpoint ({type(error).__name__})") from error
    if not isinstance(checkpoint, dict) or not {"memristor_overrides", "state_dict"} <= set(checkpoint):
        raise ConfigError(option, f"{file} was not written by memristor train")
    return checkpoint


def _newest(config: DictConfig, root: Path) -> Path | None:
    same = _comparable(config)
    runs = sorted(root.glob(f"**/{LAST}"), key=lambda path: path.stat().st_mtime, reverse=True)
    for checkpoint in runs:
        folder = checkpoint.parent.parent
        recorded = folder / "config.yaml"
        if recorded.is_file() and _comparable(OmegaConf.load(recorded)) == same:
            return folder.resolve()
    return None


def _comparable(config: object) -> object:
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    # What changes neither the network nor its training: how it is resumed, evaluated and shown.
    on_chips = ("chips", "times", "chip_precision", "compensation", "batchnorm_images")
    for name in ("ckpt_path", "explain", "compile", "logger", "checkpoint", "objective", *on_chips):
        plain.pop(name, None)
    return plain
