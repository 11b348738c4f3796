"""Which checkpoint a run continues from, and in which folder."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from memristor_plugins.errors import ConfigError

LAST = Path("checkpoints") / "last.ckpt"


def checkpoint_to_resume(config: DictConfig, folder: Path) -> tuple[Path, Path | None]:
    """The folder to write to and the checkpoint to resume from, if any.

    `ckpt_path=PATH` resumes from a file, in `folder`. `ckpt_path=last` resumes in `folder` if it holds a checkpoint
    (`hydra.run.dir` was given), else in the newest run under `outputs/` that had the same config.

    Raises:
        ConfigError: there is nothing to resume from.
    """
    wanted = config.ckpt_path
    if wanted is None:
        return folder, None
    if wanted != "last":
        path = Path(wanted).expanduser()
        if not path.is_file():
            raise ConfigError("ckpt_path", f"no such file: {path}; give a checkpoint, or 'last'")
        return folder, path
    if (folder / LAST).is_file():
        return folder, folder / LAST
    found = _newest(config, Path("outputs"))
    if found is None:
        raise ConfigError(
            "ckpt_path", "no run with this config under outputs/; leave it out to start one, or give hydra.run.dir="
        )
    return found, found / LAST


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
    # What changes neither the network nor its training: how far it is trained, how it is resumed and shown.
    for name in ("ckpt_path", "explain", "chips", "times", "chip_precision", "logger", "checkpoint"):
        plain.pop(name, None)
    return plain
