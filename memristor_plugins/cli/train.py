"""`memristor train`: the command."""

from __future__ import annotations

from omegaconf import DictConfig

from memristor_plugins.cli.hydra_run import run
from memristor_plugins.cli.memory import keep_buffers


def main(arguments: list[str]) -> int:
    """Run `memristor train` on Hydra arguments and overrides; returns the exit code."""
    keep_buffers()
    return run("train", _task, arguments)


def _task(config: DictConfig) -> float | tuple[float, ...] | None:
    # Imported once a config has composed: a mistyped option answers without waiting for Lightning.
    from memristor_plugins.cli.training import train

    return train(config)
