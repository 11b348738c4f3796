"""The LightningModule of image classification, digital and on chips."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy

from memristor_plugins.crossbar.batchnorm import batch_norms, recalibrate_batchnorm
from memristor_plugins.crossbar.convert import analog_layers, analogize, calibrate, running, set_mode
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.errors import ConfigError
from memristor_plugins.models.evaluation import six_views
from memristor_plugins.models.hardware import HardwareAware, distillation
from memristor_plugins.models.recipe import Recipe
from memristor_plugins.models.routing import banked, watched
from memristor_plugins.models.stem import Whitening
from memristor_plugins.models.vgg import set_epoch

# Training images that a whitening stem is computed from.
WHITENED = 5000


class ImageClassifier(pl.LightningModule):
    """Trains a network on images, with the stack's errors once the recipe says so.

    Args:
        network: a digital network; its convolutions and Linears are put on the stack.
        stack: the device stack.
        recipe: optimiser and schedule.
        hardware: hardware-aware training.
        num_classes: of the data.
        overrides: what the run was composed from; travels with checkpoints so that `evaluate` can recompose it.
        seed: of the training noise.
        calibration: gives batches of prepared training images, without augmentation.
        compile: see `analogize`. Of the arrays' arithmetic alone: what Lightning calls and logs stays eager.
        tta: test the digital network once more, with the logits of six views of each image averaged.

    Attributes:
        pretrained: weights were given: nothing is set from images before the first step, and what kernels anneal stays
            as the weights have it.
    """

    def __init__(
        self,
        network: nn.Module,
        stack: Stack,
        recipe: Recipe,
        hardware: HardwareAware,
        num_classes: int,
        overrides: list[str],
        seed: int,
        calibration: Callable[[int], Iterable[Tensor]],
        compile: bool = False,
        tta: bool = False,
    ) -> None:
        super().__init__()
        self.network = analogize(network, stack, compile=compile)
        self.stack, self.recipe, self.hardware = stack, recipe, hardware
        self.overrides, self.seed, self.calibration = overrides, seed, calibration
        self.tta, self.pretrained = tta, False
        if recipe.shapes_routing and not banked(network):
            warnings.warn(
                "recipe.routing_balance and recipe.routing_entropy have no effect: no layer has bank factors",
                stacklevel=2,
            )
        # In a list: the teacher is no part of this network's state.
        self.teacher: list[nn.Module] = []
        self.scored: list[nn.Module] = []
        train_stack = hardware.train_stack(stack)
        for layer in analog_layers(self.network).values():
            layer.train_stack, layer.seed = train_stack, seed
            layer.whole = hardware.sums == "whole"
        set_mode(self.network, "digital")
        self.train_accuracy = MulticlassAccuracy(num_classes, average="micro")
        self.val_accuracy = MulticlassAccuracy(num_classes, average="micro")
        self.test_accuracy = MulticlassAccuracy(num_classes, average="micro")
        self.tta_accuracy = MulticlassAccuracy(num_classes, average="micro")

    def forward(self, x: Tensor) -> Tensor:
        """Images [batch, channels, height, width] -> logits [batch, classes]."""
        logits: Tensor = self.network(x)
        return logits

    # -- training ----------------------------------------------------------------------------------------------------

    def configure_optimizers(self) -> Any:
        return self.recipe.configure(self.network, int(self.trainer.estimated_stepping_batches))

    def configure_callbacks(self) -> list[pl.Callback]:
        return self.recipe.callbacks()

    def on_train_epoch_start(self) -> None:
        if not self.pretrained:
            set_epoch(self.network, self.current_epoch)
        if self.global_step == 0 and not self.pretrained:
            self._whiten()
        if self.on_chips:
            if self.global_step == 0 and not self.pretrained:
                self._settle_batch_norm()
            # Anew at every epoch: ranges of weights that have moved since would saturate.
            self.calibrate(approximate=True)
            if self.hardware.distill and not self.teacher:
                self.teacher = [_frozen(self.network)]
            set_mode(self.network, "analog")

    @torch.no_grad()
    def _whiten(self) -> None:
        for stem in (m for m in self.network.modules() if isinstance(m, Whitening)):
            stem.fit(torch.cat(list(self.calibration(WHITENED))).to(self.device))

    @torch.no_grad()
    def _settle_batch_norm(self) -> None:
        """Bring running statistics near their values: converters calibrated on untrained ones saturate everywhere."""
        with running(self.network, "digital"):
            for _ in range(30):
                for batch in self.calibration(self.hardware.calibration_images):
                    self.network(batch.to(self.device))

    @property
    def on_chips(self) -> bool:
        """This epoch trains on sampled chips, or after training the last one did."""
        epochs = self.trainer.max_epochs or 1
        return min(self.current_epoch, epochs - 1) >= self.hardware.first_epoch(epochs)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        self.hardware.ramp_up(self.global_step / max(1, int(self.trainer.estimated_stepping_batches)))
        age = self.hardware.drawn_age(self.seed, self.global_step)
        for layer in analog_layers(self.network).values():
            layer.step, layer.rank, layer.age = self.global_step, self.global_rank, age

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, labels = batch
        with watched(self.network) as seen:
            logits = self.network(images).float()
        loss = F.cross_entropy(logits, labels, label_smoothing=self.recipe.label_smoothing)
        if self.teacher and self.on_chips:
            with torch.no_grad():
                taught = self.teacher[0].to(self.device)(images).float()
            loss = self.hardware.with_teacher(loss, distillation(logits, taught, self.hardware.distill_temperature))
        loss = loss + self.recipe.routing_loss([a for of in seen.values() for a in of])
        self.train_accuracy(logits, labels)
        self.log("train/loss", loss, on_step=False, on_epoch=True, prog_bar=True)
        self.log("train/accuracy", self.train_accuracy, on_step=False, on_epoch=True)
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.on_chips:
            self.hardware.clip_weights(self.network)

    # -- evaluation, digital -----------------------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        self._settle_copy()

    def on_test_epoch_start(self) -> None:
        self._settle_copy()

    @torch.no_grad()
    def _settle_copy(self) -> None:
        """Training on chips, batch norms saw the sums of many chips: score a copy with those of the digital network."""
        self.scored = []
        if not self.on_chips or not batch_norms(self.network):
            return
        settled = _frozen(self.network)
        recalibrate_batchnorm(settled, (b.to(self.device) for b in self.calibration(self.hardware.calibration_images)))
        self.scored = [settled]

    def on_validation_epoch_end(self) -> None:
        self.scored = []

    def on_test_epoch_end(self) -> None:
        self.scored = []

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._score(batch, self.val_accuracy, "val")

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._score(batch, self.test_accuracy, "test")
        if self.tta:
            images, labels = batch
            with running(self.network, "digital"):
                self.tta_accuracy(six_views(self._digital, images).float(), labels)
            self.log("test/accuracy_tta", self.tta_accuracy, on_step=False, on_epoch=True)

    @property
    def _digital(self) -> nn.Module:
        return self.scored[0] if self.scored else self.network

    def _score(self, batch: tuple[Tensor, Tensor], metric: MulticlassAccuracy, stage: str) -> None:
        images, labels = batch
        with running(self.network, "digital"):
            logits = self._digital(images).float()
        metric(logits, labels)
        self.log(f"{stage}/loss", F.cross_entropy(logits, labels), on_step=False, on_epoch=True)
        self.log(f"{stage}/accuracy", metric, on_step=False, on_epoch=True, prog_bar=True)

    # -- chips -------------------------------------------------------------------------------------------------------

    @property
    def calibrated(self) -> bool:
        """Every converter has a range."""
        return all(layer.calibrated for layer in analog_layers(self.network).values())

    def calibrate(self, *, approximate: bool = False) -> None:
        """Calibrate every converter on training images, at time 0 on chip 0; `approximate`: for training steps only."""
        images = (batch.to(self.device) for batch in self.calibration(self.hardware.calibration_images))
        calibrate(self.network, images, approximate=approximate)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        saved, own = checkpoint["state_dict"], self.state_dict()
        wrong = [n for n in sorted({*saved, *own}) if n not in saved or n not in own or saved[n].shape != own[n].shape]
        if wrong:
            raise ConfigError("ckpt_path", f"is of another network: '{wrong[0]}' differs; give the same overrides")
        if "memristor_teacher" in checkpoint:
            teacher = _frozen(self.network)
            teacher.load_state_dict(checkpoint["memristor_teacher"])
            self.teacher = [teacher]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["memristor_overrides"] = list(self.overrides)
        if self.teacher and self.current_epoch + 1 < (self.trainer.max_epochs or 0):
            checkpoint["memristor_teacher"] = self.teacher[0].state_dict()


def _frozen(network: nn.Module) -> nn.Module:
    """The network as it computes digitally now, never to be trained."""
    frozen = copy.deepcopy(network).eval().requires_grad_(False)
    set_mode(frozen, "digital")
    return frozen
