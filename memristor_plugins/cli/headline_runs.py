"""One training and one measurement of a table, each of which a killed run can take up again."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor, nn

from memristor_plugins.cli.assemble import Assembly, assemble, prepared_test
from memristor_plugins.cli.training import QUIET, start_from
from memristor_plugins.compose import compose
from memristor_plugins.crossbar.batchnorm import kept_batchnorm, recalibrate_batchnorm
from memristor_plugins.crossbar.compensation import Kind, compensate
from memristor_plugins.crossbar.convert import analog_layers, calibrate, program, running
from memristor_plugins.crossbar.profile import profile
from memristor_plugins.datamodules.base import ImageDataModule
from memristor_plugins.datamodules.images import Splits
from memristor_plugins.datamodules.loaders import RawBatch
from memristor_plugins.models.evaluation import accuracy, calibration_batches
from memristor_plugins.models.routing import permuted

WIRES = "ir_drop"
# Images by the data's config.
READ: dict[str, Splits] = {}


class Deadline(pl.Callback):
    """Ends a training at the first epoch whose end lies past the deadline.

    Args:
        seconds: from now; None: never.
    """

    def __init__(self, seconds: float | None) -> None:
        self.end = None if seconds is None else time.monotonic() + seconds

    @property
    def over(self) -> bool:
        """It lies in the past."""
        return self.end is not None and time.monotonic() >= self.end

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.over:
            trainer.should_stop = True


def built(overrides: Sequence[str]) -> Assembly:
    """The objects that `memristor train` would make of overrides; images are read once for all of them."""
    config = compose("train", overrides)
    key = OmegaConf.to_yaml(OmegaConf.merge(config.data, {"seed": 0}), resolve=True)
    run = assemble(config, list(overrides), READ.get(key))
    READ.setdefault(key, run.data.splits)
    return run


def train(
    overrides: Sequence[str], weights: Path, start: Path | None, deadline: Deadline
) -> dict[str, float | int | str] | None:
    """Train one network and keep its weights, going on from the last whole epoch that an earlier call reached.

    Args:
        overrides: of `memristor train`.
        weights: file to write: the weights and calibrated ranges, as `memristor evaluate` takes them.
        start: weights to start from.
        deadline: when to stop.

    Returns:
        Accuracy on the validation images, epochs and trained values; None where the deadline came first.
    """
    run = built(overrides)
    if start is not None:
        start_from(run.module, str(start))
    folder = weights.with_suffix(".training")
    last = folder / "last.ckpt"
    arguments = {**run.trainer_arguments, "enable_progress_bar": False, "enable_checkpointing": True, "logger": False}
    keep = ModelCheckpoint(dirpath=folder, filename="last", save_top_k=1, enable_version_counter=False)
    trainer = pl.Trainer(**arguments, callbacks=[keep, deadline], default_root_dir=folder)
    with quiet():
        resumed = last if last.is_file() else None
        trainer.fit(run.module, datamodule=run.data, ckpt_path=resumed, weights_only=resumed is not None)
        if trainer.current_epoch < (trainer.max_epochs or 0):
            return None
        (scores,) = trainer.validate(run.module, datamodule=run.data, verbose=False)
        run.module.calibrate()
    part = weights.with_suffix(".part")
    state = {"state_dict": run.module.state_dict(), "memristor_overrides": list(overrides)}
    torch.save(state, part)
    os.replace(part, weights)
    last.unlink(missing_ok=True)
    folder.rmdir()
    values = sum(p.numel() for p in run.module.network.parameters() if p.requires_grad)
    return {"val_accuracy": scores["val/accuracy"], "epochs": int(trainer.max_epochs or 0), "parameters": values}


@contextmanager
def quiet() -> Iterator[None]:
    """Without Lightning's advice on what is decided here."""
    with warnings.catch_warnings():
        for message in QUIET:
            warnings.filterwarnings("ignore", message)
        yield


class Subject:
    """A trained network ready to be measured.

    Args:
        overrides: of `memristor train`.
        weights: file that `train` wrote.
        without: effects of the stack that are left out.
        permute: gains of the banks are those of another image of the batch.
        validation: measured on the validation images, instead of the test images.
    """

    def __init__(
        self,
        overrides: Sequence[str],
        weights: Path,
        *,
        without: Sequence[str] = (),
        permute: bool = False,
        validation: bool = False,
    ) -> None:
        self.run = built(overrides)
        start_from(self.run.module, str(weights))
        self.network: nn.Module = self.run.module.network.eval()
        self.device = _device(self.run)
        self.run.module.to(self.device)
        self.stack = self.run.stack
        if without:
            self.stack = self.stack.keeping([n for n in self.stack.nonidealities if n not in without])
            for layer in analog_layers(self.network).values():
                layer.stack = layer.train_stack = self.stack
        self.permuted = permute
        self.test = prepared(self.run.data, self.device) if validation else prepared_test(self.run.data, self.device)
        self.calibrated = False

    def digital(self) -> float:
        """Accuracy on the test images without a chip."""
        with running(self.network, "digital"), self._precision(), self._control():
            return accuracy(self.network, self.test)

    def on_chip(
        self, chip: int, times: Sequence[tuple[float, Kind]], *, exact: bool, batchnorm_images: int
    ) -> Iterator[float]:
        """Accuracy on the test images on a chip, at each of (seconds since programming, compensation)."""
        wires: Any = self.stack.nonidealities.get(WIRES)
        if wires is not None:
            wires.evaluation = "exact" if exact else "fast"
        with self._precision():
            if not self.calibrated:
                calibrate(self.network, list(self._images(self.run.module.hardware.calibration_images)))
                self.calibrated = True
            for seconds, kind in times:
                with running(self.network, "analog"), kept_batchnorm(self.network):
                    program(self.network, chip, seconds)
                    compensate(self.network, kind)
                    if batchnorm_images:
                        recalibrate_batchnorm(self.network, self._images(batchnorm_images))
                    with self._control():
                        found = accuracy(self.network, self.test)
                yield found

    def costs(self, count: int) -> tuple[int, float, float]:
        """Cells, ADC conversions an image and joules an image, on `count` validation images on chip 0."""
        return costs(self.run, count)

    def _images(self, count: int) -> Iterator[Tensor]:
        return (batch.to(self.device) for batch in calibration_batches(self.run.data, count))

    def _control(self) -> AbstractContextManager[None]:
        return permuted(self.network) if self.permuted else nullcontext()

    def _precision(self) -> torch.autocast:
        low = self.run.chip_precision is not torch.float32
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=low)


def costs(run: Assembly, count: int) -> tuple[int, float, float]:
    """Cells, ADC conversions an image and joules an image of a network, as `energy=crossbar` counts them."""
    device = _device(run)
    network = run.module.to(device).network.eval()
    raw = run.data.splits.val[:count]
    images, _ = run.data.prepare(RawBatch(raw.pixels, raw.labels, None), augment=False)
    images = images.to(device)
    wires: Any = run.stack.nonidealities.get(WIRES)
    if wires is not None:
        wires.evaluation = "fast"  # of the energy, the wires change what the converters see and nothing they do
    calibrate(network, [images])
    program(network, 0)
    workload = profile(network, [images], run.data.name)
    cells = sum(layer.cells for layer in workload.layers)
    conversions = sum(layer.output_conversions for layer in workload.layers)
    joules = run.estimators["crossbar"].estimate(workload).total_j
    return int(cells), conversions, joules


def prepared(data: ImageDataModule, device: torch.device) -> list[tuple[Tensor, Tensor]]:
    """Validation batches as a network takes them, on a device."""
    batches = (data.prepare(raw, augment=False) for raw in data.val_dataloader())
    return [(images.to(device), labels.to(device)) for images, labels in batches]


def _device(run: Assembly) -> torch.device:
    accelerator = run.trainer_arguments.get("accelerator", "auto")
    gpu = accelerator in ("gpu", "cuda") or (accelerator == "auto" and torch.cuda.is_available())
    return torch.device("cuda" if gpu else "cpu")
