"""How a network is made ready for chips."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import nn

from memristor_plugins.crossbar.convert import analog_layers
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.errors import ConfigError, nearest
from memristor_plugins.interfaces.parameter import Param


class HardwareAware:
    """Hardware-aware training: from `start` on, every step runs on a freshly sampled chip.

    Gradients pass straight through errors and rounding to the clean weights. A step reads the same arrays and
    converters as evaluation does, but takes the cells' gains at each bank's mean gate voltage of the batch.
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
                "weights stay within this many standard deviations of their layer; null: off", source="assumed", gt=0
            ),
        ] = 2.5,
        calibration_images: Annotated[
            int, Param("training images that converter ranges are calibrated on", source="assumed", ge=1)
        ] = 500,
    ) -> None:
        self.start, self.effects, self.clip = start, effects, clip
        self.calibration_images = calibration_images

    def train_stack(self, stack: Stack) -> Stack:
        """The stack that acts in training.

        Raises:
            ConfigError: an effect is named that the stack does not have.
        """
        if self.effects is None:
            return stack
        for name in self.effects:
            if name not in stack.nonidealities:
                raise ConfigError(
                    "hardware.effects",
                    f"'{name}' is not selected in nonideality=[...]; {nearest(name, stack.nonidealities)}",
                )
        return stack.keeping(self.effects)

    def first_epoch(self, epochs: int) -> int:
        """The epoch, counted from 0, that first runs on chips."""
        return round(self.start * epochs)

    @torch.no_grad()
    def clip_weights(self, network: nn.Module) -> None:
        """Clip every analog layer's weights to `clip` standard deviations, in place."""
        if self.clip is None:
            return
        for layer in analog_layers(network).values():
            weight = layer.weights
            bound = self.clip * weight.std()
            weight.clamp_(-bound, bound)
