"""One training run: train a network, run it on chips, and say what an inference costs."""

from __future__ import annotations

import logging
import time
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import ModelCheckpoint, RichProgressBar
from rich.console import Console

from memristor_plugins.cli.assemble import Assembly, assemble
from memristor_plugins.cli.measure import measure
from memristor_plugins.cli.resume import checkpoint_to_resume, load_checkpoint
from memristor_plugins.crossbar.convert import explain
from memristor_plugins.errors import ConfigError, nearest
from memristor_plugins.models.classifier import ImageClassifier
from memristor_plugins.reporting import cost_figures, table
from memristor_plugins.tracking.loggers import logger
from memristor_plugins.tracking.record import RunRecord
from memristor_plugins.tracking.sweep import gather

# Lightning's advice on things decided here: batches are tensors in memory, and one device has no workers.
QUIET = (
    ".*does not have many workers.*",
    ".*isinstance\\(treespec, LeafSpec\\).*",
    ".*Checkpoint directory .* exists and is not empty.*",
    ".*The number of training batches .* is smaller than the logging interval.*",
    ".*You're resuming from a checkpoint that ended before the epoch ended.*",
    ".*The dirpath has changed from.*",
    ".*Experiment logs directory .* exists and is not empty.*",
)


def train(config: DictConfig) -> float | tuple[float, ...] | None:
    """One training run, from a composed config.

    Returns:
        The metrics that `objective` names, which a sweeper optimises; None where it names none.
    """
    hydra = HydraConfig.get()
    wanted = objectives(config)
    start = time.monotonic()
    # Which accelerators there are, and tips: not what a run is about.
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    built = assemble(config, list(hydra.overrides.task))
    if config.weights is not None:
        start_from(built.module, config.weights)
    folder, resumed = checkpoint_to_resume(config, Path(hydra.runtime.output_dir))
    if config.explain:
        table.plans(explain(built.module.network))
    record = RunRecord(folder)
    record.config(config)
    record.provenance({"overrides": list(hydra.overrides.task), "data": built.data.name})
    group = Path(hydra.sweep.dir).name if hydra.mode == RunMode.MULTIRUN else None
    resolved: Any = OmegaConf.to_container(config, resolve=True)
    with logger(resolved["logger"], folder, resolved, group) as log, warnings.catch_warnings():
        for message in QUIET:
            warnings.filterwarnings("ignore", message)
        quick = bool(built.trainer_arguments.get("fast_dev_run"))
        metrics, trainer = _fit(built, record, log, resumed)
        trained = time.monotonic()
        measure(built, record, metrics, trainer.strategy.root_device, quick)
        if log is not None:
            log.log_metrics({k: v for k, v in metrics.items() if isinstance(v, int | float)}, step=trainer.global_step)
            log.save()  # the trainer has saved what was logged before
    record.provenance(
        {
            "overrides": list(hydra.overrides.task),
            "data": built.data.name,
            "seconds_training": round(trained - start, 1),
            "seconds_total": round(time.monotonic() - start, 1),
        }
    )
    if hydra.mode == RunMode.MULTIRUN:
        sweep = Path(hydra.sweep.dir)
        cost_figures.sweep(sweep / "accuracy_energy.png", gather(sweep))
    Console().print(f"run folder: {_shown(folder)}", highlight=False, soft_wrap=True)
    if isinstance(wanted, str):
        return _metric(metrics, wanted)
    return tuple(_metric(metrics, name) for name in wanted) or None


def objectives(config: DictConfig) -> str | list[str]:
    """Names of the metrics that a run returns: one, or a list, which may be empty.

    Raises:
        ConfigError: `objective` is neither null, a name nor a list of names.
    """
    value = OmegaConf.to_container(config).get("objective")  # type: ignore[union-attr]
    if value is None:
        return []
    if isinstance(value, str) or (isinstance(value, list) and value and all(isinstance(v, str) for v in value)):
        return value
    raise ConfigError("objective", f"must be null, a metric's name or a list of names, got {value}")


def _metric(metrics: dict[str, Any], name: str) -> float:
    if not isinstance(metrics.get(name), int | float):
        raise ConfigError("objective", f"the run has no metric '{name}'; {nearest(name, metrics)}")
    return float(metrics[name])


def start_from(module: ImageClassifier, path: str) -> None:
    """Start training from the weights of a checkpoint: digital training first, then on chips.

    Converter ranges that the two stacks have in common are taken over; they are calibrated anew before they are used.

    Raises:
        ConfigError: there is no checkpoint at `path`, or it is of another network.
    """
    saved = load_checkpoint(path, "weights", "give a checkpoint of memristor train")["state_dict"]
    own = module.state_dict()
    kept = {n: v for n, v in saved.items() if n in own or ".ranges." not in n}
    try:
        module.load_state_dict({**{n: v for n, v in own.items() if ".ranges." in n}, **kept})
    except RuntimeError as error:
        first = " ".join(str(error).split())[:200]
        raise ConfigError("weights", f"do not fit the network that these overrides compose: {first}") from error
    module.pretrained = True


def _fit(built: Assembly, record: RunRecord, log: Any, resumed: Path | None) -> tuple[dict[str, Any], pl.Trainer]:
    checkpoints = record.folder / "checkpoints"
    arguments = dict(built.trainer_arguments)
    callbacks: list[pl.Callback] = []
    if arguments.get("enable_checkpointing", True) and not arguments.get("fast_dev_run"):
        # Last, not best: recipes have a fixed length, and the state to resume from is the last one.
        callbacks.append(
            ModelCheckpoint(dirpath=checkpoints, filename="last", save_top_k=1, enable_version_counter=False)
        )
    if arguments.get("enable_progress_bar", True) and Console(stderr=True).is_terminal:
        callbacks.append(RichProgressBar())
    else:
        arguments["enable_progress_bar"] = False
    trainer = pl.Trainer(
        **{**arguments, "logger": log if log is not None else False, "callbacks": callbacks},
        default_root_dir=record.folder,
    )
    module = built.module
    trainer.fit(module, datamodule=built.data, ckpt_path=resumed, weights_only=resumed is not None)
    # Ranges are frozen on training images at time 0, with the final weights, before any test image is seen.
    module.calibrate()
    if not arguments.get("fast_dev_run") and arguments.get("enable_checkpointing", True):
        trainer.save_checkpoint(checkpoints / "last.ckpt")
    metrics: dict[str, Any] = {
        k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith(("val/", "train/"))
    }
    trainer.test(module, datamodule=built.data, verbose=False)
    metrics.update({k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("test/")})
    return metrics, trainer


def _shown(folder: Path) -> str:
    try:
        return str(folder.relative_to(Path.cwd()))
    except ValueError:
        return str(folder)
