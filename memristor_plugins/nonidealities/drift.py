"""Ageing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from torch import Tensor

from memristor_plugins.interfaces.device import CellState
from memristor_plugins.interfaces.nonideality import Context, NonIdeality, Site
from memristor_plugins.interfaces.parameter import Param


class Drift(NonIdeality):
    """Drift and retention loss: conductances at the time of evaluation, by the device's own law.

    g(t) = g(0) + strength * (device.conductance(state, t) - g(0)), clipped at zero.
    """

    site = Site.AGE
    neutral: ClassVar[Mapping[str, Any]] = {"strength": 0.0}

    def __init__(
        self,
        strength: Annotated[float, Param("multiple of the device's own change", source="1: the device's", ge=0)] = 1.0,
    ) -> None:
        self.strength = strength

    def apply(self, x: CellState, state: Any, context: Context) -> Tensor:
        if self.strength == 0:
            return x.g
        aged = context.device.conductance(x, context.seconds)
        if self.strength == 1:
            return aged
        return (x.g + self.strength * (aged - x.g)).clamp_min(0)
