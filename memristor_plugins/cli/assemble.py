"""From a composed config to the objects of a run. Everything is built, and every option checked, before any file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from memristor_plugins.build import build, build_stack, check_arguments
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.datamodules.base import ImageDataModule
from memristor_plugins.errors import ConfigError
from memristor_plugins.interfaces.energy import EnergyEstimator
from memristor_plugins.models.classifier import ImageClassifier
from memristor_plugins.models.evaluation import calibration_batches


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


def assemble(config: DictConfig, overrides: list[str]) -> Assembly:
    """Build all of a run.

    Args:
        config: as `conf/train.yaml` composes it.
        overrides: what it was composed from; travels with checkpoints.

    Raises:
        MemristorError: an option that cannot be used, before anything is written.
    """
    seed = config.seed
    if not isinstance(seed, int) or seed < 0:
        raise ConfigError("seed", f"must be a whole number >= 0, got {seed}")
    trainer_arguments = _plain(config.trainer)
    check_arguments(pl.Trainer, trainer_arguments, "trainer", {})
    stack = build_stack(config)
    kernel = build(config.kernel, "kernel", "kernel")
    estimators = {
        str(name): build(node, f"energies.{name}", "energy") for name, node in (config.energies or {}).items()
    }
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
    )
    chips, times, precision = evaluation_settings(config)
    data.prepare_data()
    data.setup()
    return Assembly(data, stack, module, estimators, trainer_arguments, chips, times, precision)


def evaluation_settings(config: DictConfig) -> tuple[list[int], list[float], torch.dtype]:
    """Chip seeds, times and arithmetic of the evaluation on chips.

    Raises:
        ConfigError: `chips` is neither a count nor a list of seeds, a time is negative, or the precision unknown.
    """
    chips = _plain(config.chips)
    if isinstance(chips, int) and not isinstance(chips, bool) and chips >= 0:
        chips = list(range(chips))
    if not isinstance(chips, list) or not all(isinstance(c, int) and c >= 0 for c in chips):
        raise ConfigError("chips", f"must be a count or a list of seeds, whole numbers >= 0, got {chips}")
    times = _plain(config.times)
    if not isinstance(times, list) or not all(isinstance(t, int | float) and t >= 0 for t in times) or not times:
        raise ConfigError("times", f"must be a list of seconds >= 0, such as [1,3600,86400], got {times}")
    precisions = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if config.chip_precision not in precisions:
        raise ConfigError("chip_precision", f"must be float32 or bfloat16, got '{config.chip_precision}'")
    return chips, [float(t) for t in times], precisions[config.chip_precision]


def prepared_test(data: ImageDataModule, device: torch.device, limit: int | None = None) -> list[tuple[Tensor, Tensor]]:
    """Test batches as a network takes them, on a device; the first `limit` batches."""

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for index, raw in enumerate(data.test_dataloader()):
            if limit is not None and index >= limit:
                return
            images, labels = data.prepare(raw, augment=False)
            yield images.to(device), labels.to(device)

    return list(batches())


def _plain(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
