"""`memristor evaluate checkpoint=PATH`: a trained network on chips, at times, on any stack."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console

from memristor_plugins.cli.assemble import assemble
from memristor_plugins.cli.hydra_run import run
from memristor_plugins.cli.measure import measure
from memristor_plugins.cli.memory import keep_buffers
from memristor_plugins.crossbar.convert import explain
from memristor_plugins.errors import ConfigError, MemristorError
from memristor_plugins.reporting import table
from memristor_plugins.tracking.record import RunRecord

# Overrides of a training run that say nothing about the network.
NOT_THE_NETWORK = ("hydra", "ckpt_path", "logger", "explain", "trainer", "checkpoint")


def main(arguments: list[str]) -> int:
    """Run `memristor evaluate` on Hydra arguments and overrides; returns the exit code."""
    try:
        arguments = recompose(arguments)
    except MemristorError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    keep_buffers()
    return run("evaluate", evaluate, arguments)


def evaluate(config: DictConfig) -> None:
    """One evaluation, from a composed config."""
    checkpoint = _load(config.checkpoint)
    hydra = HydraConfig.get()
    built = assemble(config, list(hydra.overrides.task))
    try:
        built.module.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        first = " ".join(str(error).split())[:200]
        raise ConfigError("checkpoint", f"does not fit the network that these overrides compose: {first}") from error
    if config.explain:
        table.plans(explain(built.module.network))
    record = RunRecord(Path(hydra.runtime.output_dir))
    record.config(config)
    record.provenance({"overrides": list(hydra.overrides.task), "data": built.data.name})
    trainer = pl.Trainer(
        accelerator=built.trainer_arguments.get("accelerator", "auto"),
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.test(built.module, datamodule=built.data, verbose=False)
    metrics: dict[str, Any] = {k: float(v) for k, v in trainer.callback_metrics.items()}
    if not built.module.calibrated:
        built.module.calibrate()
    measure(built, record, metrics, trainer.strategy.root_device, quick=False)
    Console().print(f"run folder: {record.folder}", highlight=False, soft_wrap=True)


def recompose(arguments: list[str]) -> list[str]:
    """Arguments with the checkpoint's own overrides before them; where both set a key, the argument wins.

    Raises:
        ConfigError: `checkpoint` is missing or no checkpoint of this program.
    """
    paths = [a.partition("=")[2] for a in arguments if a.startswith("checkpoint=")]
    if not paths:
        if any(a in ("--help", "-h", "--hydra-help", "--shell-completion", "-sc") for a in arguments):
            return arguments
        raise ConfigError("checkpoint", "must be given: memristor evaluate checkpoint=PATH/TO/last.ckpt")
    recorded = _load(paths[-1])["memristor_overrides"]
    given = {_key(a) for a in arguments if "=" in a}
    kept = [o for o in recorded if _key(o) not in given and _key(o).split(".")[0] not in NOT_THE_NETWORK]
    return [*kept, *arguments]


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~").partition("@")[0]


def _load(path: str) -> dict[str, Any]:
    file = Path(path).expanduser()
    if not file.is_file():
        raise ConfigError("checkpoint", f"no such file: {file}; runs keep theirs in checkpoints/last.ckpt")
    try:
        checkpoint: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ConfigError("checkpoint", f"{file} is not a checkpoint ({type(error).__name__})") from error
    if "memristor_overrides" not in checkpoint or "state_dict" not in checkpoint:
        raise ConfigError("checkpoint", f"{file} was not written by memristor train")
    return checkpoint
