"""How a network is made ready for chips."""

from __future__ import annotations

import copy
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from memristor_plugins.crossbar.convert import analog_layers
from memristor_plugins.crossbar.seeds import derive
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.errors import ConfigError, nearest
from memristor_plugins.interfaces.nonideality import NonIdeality, Site
from memristor_plugins.interfaces.parameter import Param


class HardwareAware:
    """Hardware-aware training: from `start` on, every step runs on a freshly sampled chip.

    Gradients pass straight through errors and rounding to the clean weights. A step draws the same cells as evaluation
    does, takes their gains at each bank's mean gate voltage of the batch, and reads whole columns with the errors of
    all their converters and cells (`crossbar/whole.py` says how); with `sums=each` it reads as evaluation does. Errors
    are drawn from the device's own statistics. Each step writes the clipped weights anew over the cells' whole range.
    """

    def __init__(
        self,
        start: Annotated[
            float, Param("share of the epochs trained digitally first; 1: never on chips", source="assumed", ge=0, le=1)
        ] = 0.3,
        effects: Annotated[
            list[str] | None, Param("effects that act in training; null: all selected ones", source="assumed")
        ] = None,
        clip: Annotated[
            float | None,
            Param(
                "on chips weights stay within so many standard deviations of their layer; null: off",
                source="assumed",
                gt=0,
            ),
        ] = 2.5,
        calibration_images: Annotated[
            int, Param("training images that converter ranges are calibrated on", source="assumed", ge=1)
        ] = 500,
        strength: Annotated[
            float, Param("multiple of the stack's errors in training, of effects that have one", source="assumed", ge=0)
        ] = 1.0,
        ramp: Annotated[
            float, Param("share of the steps on chips over which errors grow to strength", source="assumed", ge=0, le=1)
        ] = 0.0,
        distill: Annotated[
            float,
            Param(
                "share of the loss that follows the network as it was, digital, when chips began",
                source="10.48550/arXiv.1503.02531",
                ge=0,
                le=1,
            ),
        ] = 0.0,
        distill_temperature: Annotated[
            float, Param("softens both sides' logits", source="10.48550/arXiv.1503.02531", gt=0)
        ] = 2.0,
        age: Annotated[
            float,
            Param(
                "oldest chip of a training step, log-uniform from 1 s; 0: just programmed",
                unit="s",
                source="ours",
                ge=0,
            ),
        ] = 0.0,
        sums: Annotated[
            Literal["whole", "each"],
            Param("convert whole columns, with the errors of all their converters; or each partial sum", source="ours"),
        ] = "whole",
    ) -> None:
        self.start, self.effects, self.clip = start, effects, clip
        self.age, self.sums = age, sums
        if 0 < age < 1:
            raise ConfigError("hardware.age", f"ages begin at 1 s, got {age:g}; take 0 or 1")
        self.calibration_images = calibration_images
        self.strength, self.ramp = strength, ramp
        self.distill, self.distill_temperature = distill, distill_temperature
        self._scaled: list[tuple[NonIdeality, float]] = []

    def train_stack(self, stack: Stack) -> Stack:
        """The stack that acts in training.

        Raises:
            ConfigError: an effect is named that the stack does not have, or none of those chosen has a strength, or
                depends on age, that is asked for.
        """
        for name in self.effects or ():
            if name not in stack.nonidealities:
                raise ConfigError(
                    "hardware.effects",
                    f"'{name}' is not selected in nonideality=[...]; {nearest(name, stack.nonidealities)}",
                )
        kept = stack if self.effects is None else stack.keeping(self.effects)
        if self.age and not kept.has(Site.AGE, Site.READ, Site.FLUCTUATION):
            raise ConfigError("hardware.age", "no effect that acts in training depends on it; add drift, or leave it 0")
        if self.strength == 1 and not self.ramp:
            return kept
        effects = {name: copy.copy(effect) for name, effect in kept.nonidealities.items()}
        self._scaled = [(e, float(e.strength)) for e in effects.values() if hasattr(e, "strength")]
        if not self._scaled:
            option = "ramp" if self.ramp else "strength"
            raise ConfigError(f"hardware.{option}", "no effect that acts in training has a strength to scale")
        self.ramp_up(0.0)
        return Stack(kept.device, kept.mapping, effects)

    def ramp_up(self, progress: float) -> None:
        """Set the errors' strength at a share `progress` of all training steps."""
        grown = 1.0
        if self.ramp and self.start < 1:
            grown = min(1.0, max(0.0, (progress - self.start) / (1 - self.start)) / self.ramp)
        for effect, whole in self._scaled:
            effect.strength = whole * self.strength * grown  # type: ignore[attr-defined]

    def drawn_age(self, seed: int, step: int) -> float:
        """Seconds after programming at which a training step reads its chips: the same for all layers."""
        if not self.age:
            return 0.0
        share = float(torch.rand((), generator=derive(seed, "", f"age/{step}"), dtype=torch.float64))
        return float(self.age**share)

    def with_teacher(self, loss: Tensor, distance: Tensor) -> Tensor:
        """The loss that `distill` mixes of a loss on labels and a distance to the teacher."""
        return (1 - self.distill) * loss + self.distill * distance

    def first_epoch(self, epochs: int) -> int:
        """The epoch, counted from 0, that first runs on chips."""
        return round(self.start * epochs)

    @torch.no_grad()
    def clip_weights(self, network: nn.Module) -> None:
        """Clip every trained analog layer's weights to `clip` standard deviations, in place."""
        if self.clip is None:
            return
        for layer in analog_layers(network).values():
            weight = layer.weights
            if weight.requires_grad:
                bound = self.clip * weight.std()
                weight.clamp_(-bound, bound)


def distillation(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL(softmax(teacher / T) || softmax(logits / T)), mean over the batch; Hinton et al., arXiv:1503.02531."""
    own, wanted = (logits / temperature).log_softmax(dim=-1), (teacher / temperature).log_softmax(dim=-1)
    return temperature**2 * F.kl_div(own, wanted, reduction="batchmean", log_target=True)
