"""Programming error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar

from torch import Tensor

from memristor_plugins.interfaces.device import CellState
from memristor_plugins.interfaces.nonideality import Context, NonIdeality, Site
from memristor_plugins.interfaces.parameter import Param


class Programming(NonIdeality):
    """Programming error: cells hold what the device's own write leaves in them, not their targets.

    g = target + strength * (device.program(target) - target), clipped at zero.
    """

    site = Site.WRITE
    neutral: ClassVar[Mapping[str, Any]] = {"strength": 0.0}

    def __init__(
        self,
        strength: Annotated[float, Param("multiple of the device's own error", source="1: the device's", ge=0)] = 1.0,
    ) -> None:
        self.strength = strength

    def apply(self, x: Tensor, state: Any, context: Context) -> CellState:
        assert context.generator is not None, "a write draws from the chip's generator"
        if self.strength == 0:
            return context.device.hold(x, generator=context.generator)
        written: CellState = context.device.program(
            x, generator=context.generator, cells=state, temperature=context.temperature
        )
        if self.strength == 1:
            return written
        g = (x + self.strength * (written.g - x)).clamp_min(0)
        return replace(written, g=g)
