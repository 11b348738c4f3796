"""Wear-out by earlier writes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import torch
from torch import Generator, Size, Tensor

from memristor_plugins.interfaces.nonideality import Context, NonIdeality, Site
from memristor_plugins.interfaces.normals import normals
from memristor_plugins.interfaces.parameter import Param


class Endurance(NonIdeality):
    """Endurance: cells that have been written more often than they can bear are stuck; the others' window has shrunk.

        N = median exp(sigma z),   z standard normal, one a cell
        N < cycles    stuck at g_on with probability p_on, else at g_off
        else          G' = G - closing ln(1 + cycles) / ln(1 + N) (G - G_off)

    so that a share Phi(ln(cycles / median) / sigma) is stuck. The window closes from above, as the low-resistance state
    does in HfO2 (Microelectron. Eng. 2013, "Statistical assessment of endurance degradation in high and low resistive
    states"), by the share `closing` when the cell fails (assumed: with the logarithm of cycles). Drawn once a chip; on
    one chip more cycles keep every stuck cell stuck. cycles=0 changes nothing. Writes of the chip itself do not count.
    """

    site = Site.DEFECT
    neutral: ClassVar[Mapping[str, Any]] = {"cycles": 0.0}

    def __init__(
        self,
        cycles: Annotated[float, Param("writes that each cell has behind it", source="assumed", ge=0)] = 1e5,
        median: Annotated[float, Param("writes that half of the cells survive", source="assumed", gt=0)] = 1e6,
        sigma: Annotated[float, Param("lognormal sigma of the endurance", source="assumed", ge=0, le=10)] = 1.0,
        p_on: Annotated[float, Param("share of failed cells that conduct", source="assumed", ge=0, le=1)] = 0.5,
        closing: Annotated[
            float, Param("share of the window that is closed when a cell fails", source="assumed: off", ge=0, le=1)
        ] = 0.0,
        g_on: Annotated[
            float | None, Param("conductance stuck on; null: device.g_max", unit="S", source="assumed", ge=0)
        ] = None,
        g_off: Annotated[
            float | None, Param("conductance stuck off; null: device.g_min", unit="S", source="assumed", ge=0)
        ] = None,
    ) -> None:
        self.cycles, self.median, self.sigma, self.p_on, self.closing = cycles, median, sigma, p_on, closing
        self.g_on, self.g_off = g_on, g_off

    def sample(self, shape: Size | tuple[int, ...], *, generator: Generator) -> Tensor | None:
        """Share of the window that each cell has lost; +inf: stuck on, -inf: stuck off. None where none was written."""
        if self.cycles == 0:
            return None
        life = math.log(self.median) + self.sigma * normals(tuple(shape), generator)  # ln N
        failed = math.log(self.cycles) > life
        on = torch.rand(tuple(shape), generator=generator) < self.p_on
        # ln(1 + N) without forming N, which may overflow.
        lost = self.closing * math.log1p(self.cycles) / torch.nn.functional.softplus(life)
        return lost.masked_fill(failed & on, math.inf).masked_fill(failed & ~on, -math.inf)

    def apply(self, x: Tensor, state: Tensor | None, context: Context) -> Tensor:
        if state is None:
            return x
        g_on = context.device.g_max if self.g_on is None else self.g_on
        g_off = context.device.g_min if self.g_off is None else self.g_off
        left = x - state.nan_to_num(0.0, 0.0, 0.0).to(x) * (x - g_off) if self.closing else x
        return left.masked_fill(state == math.inf, g_on).masked_fill(state == -math.inf, g_off)
