"""From a composed config to the objects of a run. Everything is built, and every option checked, before any file."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from memristor_plugins.build import build, build_stack, check_arguments
from memristor_plugins.crossbar.compensation import Kind
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.datamodules.base import ImageDataModule
from memristor_plugins.datamodules.images import Splits
from memristor_plugins.errors import ConfigError, nearest
from memristor_plugins.interfaces.energy import EnergyEstimator
from memristor_plugins.models.classifier import ImageClassifier
from memristor_plugins.models.evaluation import calibration_batches
from memristor_plugins.tracking.loggers import check_logger

SEEDS = 2**32  # as many as numpy takes


@dataclass
class Assembly:
    """What a run works with."""

    data: ImageDataModule
    stack: Stack
    module: ImageClassifier
    estimators: dict[str, EnergyEstimator]
    trainer_arguments: dict[str, Any]
    chips: list[int]
    times: list[float]
    chip_precision: torch.dtype
    compensation: Kind
    batchnorm_images: int


def assemble(config: DictConfig, overrides: list[str], splits: Splits | None = None) -> Assembly:
    """Build all of a run.

    Args:
        config: as `conf/train.yaml` composes it.
        overrides: what it was composed from; travels with checkpoints.
        splits: images that another run with the same data has read; None: they are read.

    Raises:
        MemristorError: an option that cannot be used, before anything is written.
    """
    seed = config.seed
    if not _whole(seed) or seed >= SEEDS:
        raise ConfigError("seed", f"must be a whole number >= 0 and < {SEEDS}, got {seed}")
    check_logger(_plain(config.logger))
    trainer_arguments = _plain(config.trainer)
    _check_trainer(trainer_arguments)
    compiled = config.compile
    if not isinstance(compiled, bool):
        raise ConfigError("compile", f"must be true or false, got '{compiled}'")
    stack = build_stack(config)
    kernel = build(config.kernel, "kernel", "kernel")
    estimators = {
        str(name): build(node, f"energies.{name}", "energy") for name, node in (config.energies or {}).items()
    }
    for estimator in estimators.values():
        estimator.check()
    if not isinstance(config.tta, bool):
        raise ConfigError("tta", f"must be true or false, got {config.tta}")
    recipe = build(config.recipe, "recipe")
    hardware = build(config.hardware, "hardware")
    data: ImageDataModule = build(config.data, "data")
    # Everything random before the first step follows from the seed.
    pl.seed_everything(seed, verbose=False)
    network = build(config.model, "model", kernel=kernel, input_shape=data.input_shape, num_classes=data.num_classes)
    module = ImageClassifier(
        network,
        stack,
        recipe,
        hardware,
        data.num_classes,
        overrides,
        seed,
        lambda count: calibration_batches(data, count),
        compiled,
        bool(config.tta),
    )
    chips, times, precision = evaluation_settings(config)
    compensation, images = correction_settings(config)
    if splits is not None:
        data.adopt(splits)
    else:
        data.prepare_data()
        data.setup()
    return Assembly(data, stack, module, estimators, trainer_arguments, chips, times, precision, compensation, images)


def evaluation_settings(config: DictConfig) -> tuple[list[int], list[float], torch.dtype]:
    """Chip seeds, times and arithmetic of the evaluation on chips.

    Raises:
        ConfigError: `chips` is neither a count nor a list of seeds, a time is negative, or the precision unknown.
    """
    chips = _plain(config.chips)
    if _whole(chips):
        chips = list(range(chips))
    if not isinstance(chips, list) or not all(_whole(c) for c in chips):
        raise ConfigError("chips", f"must be a count or a list of seeds, whole numbers >= 0, got {chips}")
    times = _plain(config.times)
    if not isinstance(times, list) or not all(_seconds(t) for t in times) or not times:
        raise ConfigError("times", f"must be a list of seconds >= 0, such as [1,3600,86400], got {times}")
    precisions = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if config.chip_precision not in precisions:
        raise ConfigError("chip_precision", f"must be float32 or bfloat16, got '{config.chip_precision}'")
    return chips, [float(t) for t in times], precisions[config.chip_precision]


def correction_settings(config: DictConfig) -> tuple[Kind, int]:
    """Kind of drift compensation, and training images that batch norms are re-estimated on.

    Raises:
        ConfigError: the kind is unknown, or the number not one of images.
    """
    kinds = get_args(Kind)
    if config.compensation not in kinds:
        raise ConfigError(
            "compensation", f"must be one of {', '.join(kinds)}; {nearest(str(config.compensation), kinds)}"
        )
    images = config.batchnorm_images
    if not _whole(images) or images == 1:
        raise ConfigError("batchnorm_images", f"must be 0 (as trained) or a number of images >= 2, got {images}")
    return config.compensation, images


def prepared_test(data: ImageDataModule, device: torch.device, limit: int | None = None) -> list[tuple[Tensor, Tensor]]:
    """Test batches as a network takes them, on a device; the first `limit` batches."""

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for index, raw in enumerate(data.test_dataloader()):
            if limit is not None and index >= limit:
                return
            images, labels = data.prepare(raw, augment=False)
            yield images.to(device), labels.to(device)

    return list(batches())


def _check_trainer(arguments: dict[str, Any]) -> None:
    """Refuse what Lightning would refuse once files are written, such as an accelerator that is not there."""
    check_arguments(pl.Trainer, arguments, "trainer", {})
    silent: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    try:
        with warnings.catch_warnings(action="ignore"):
            pl.Trainer(**{**arguments, **silent})
    except (MisconfigurationException, ValueError, TypeError) as error:
        named = [f"trainer.{name}" for name, value in arguments.items() if value is not None and name in str(error)]
        wrong = named or [o for o in ("trainer.accelerator",) if arguments.get("accelerator") in str(error).split()]
        raise ConfigError((wrong or ["trainer"])[0], " ".join(str(error).split())[:200]) from error


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _seconds(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _plain(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
