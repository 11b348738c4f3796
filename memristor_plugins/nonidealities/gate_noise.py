"""Noise of the gate lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from memristor_plugins.interfaces.device import standard_normal
from memristor_plugins.interfaces.nonideality import Context, NonIdeality, Site
from memristor_plugins.interfaces.parameter import Param


class GateNoise(NonIdeality):
    """Gate noise: the voltage of every gate line is off by a normal number, drawn anew for each image and bank.

    V' = V + std (V_high - V_low) z; the range is the device's gate range. A voltage may leave the range by the noise.
    """

    site = Site.GATE_NOISE
    static = False
    neutral: ClassVar[Mapping[str, Any]] = {"std": 0.0}

    def __init__(
        self,
        std: Annotated[
            float, Param("standard deviation over the gate range", source="headline stack (assumed)", ge=0, le=1)
        ] = 0.005,
    ) -> None:
        self.std = std

    def moments(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        """Mean V and deviation std (V_high - V_low), volts."""
        low, high = context.device.gate_range
        return x, torch.full_like(x, self.std * abs(high - low))

    def apply(self, x: Tensor, state: Any, context: Context) -> Tensor:
        if self.std == 0:
            return x
        assert context.generator is not None, "gate noise is drawn for each image"
        low, high = context.device.gate_range
        return x + standard_normal(x, context.generator).mul_(self.std * abs(high - low))
