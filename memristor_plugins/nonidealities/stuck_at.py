"""Stuck cells."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from torch import Generator, Size, Tensor

from memristor_plugins.errors import ConfigError
from memristor_plugins.interfaces.nonideality import Context, NonIdeality, Site
from memristor_plugins.interfaces.parameter import Param


class StuckAt(NonIdeality):
    """Stuck cells: a share of the cells is fixed at the highest or lowest conductance, whatever is written.

    Drawn once a chip, independently for each cell. A stuck cell does not drift; it still has read noise.
    """

    site = Site.DEFECT

    def __init__(
        self,
        p_on: Annotated[float, Param("share stuck at g_on", source="headline stack (assumed)", ge=0, le=1)] = 0.0005,
        p_off: Annotated[float, Param("share stuck at g_off", source="headline stack (assumed)", ge=0, le=1)] = 0.0005,
        g_on: Annotated[
            float | None, Param("conductance stuck on; null: device.g_max", unit="S", source="assumed", ge=0)
        ] = None,
        g_off: Annotated[
            float | None, Param("conductance stuck off; null: device.g_min", unit="S", source="assumed", ge=0)
        ] = None,
    ) -> None:
        if p_on + p_off > 1:
            raise ConfigError("nonidealities.stuck_at.p_on", f"p_on + p_off must be at most 1, got {p_on + p_off:g}")
        self.p_on, self.p_off, self.g_on, self.g_off = p_on, p_off, g_on, g_off

    def sample(self, shape: Size | tuple[int, ...], *, generator: Generator) -> Tensor:
        """Which cells are stuck: int8, 1 on, -1 off, 0 free."""
        u = torch.rand(tuple(shape), generator=generator)
        return (u < self.p_on).to(torch.int8) - (u >= 1 - self.p_off).to(torch.int8)

    def apply(self, x: Tensor, state: Any, context: Context) -> Tensor:
        g_on = context.device.g_max if self.g_on is None else self.g_on
        g_off = context.device.g_min if self.g_off is None else self.g_off
        return x.masked_fill(state == 1, g_on).masked_fill(state == -1, g_off)
