"""Retention loss of cells whose device has no law of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import torch
from torch import Generator, Size, Tensor

from memristor_plugins.interfaces.device import CellState
from memristor_plugins.interfaces.nonideality import Context, NonIdeality, Site
from memristor_plugins.interfaces.normals import normals
from memristor_plugins.interfaces.parameter import Param

HEADLINE = "headline stack (assumed)"


class Retention(NonIdeality):
    """Retention loss: each cell's conductance relaxes towards g_off with a time constant of its own.

        G(t) = G_off + (G(0) - G_off) exp(-t / tau),   tau = median exp(sigma z)

    One standard normal z a cell, drawn once a chip, so that all times lie on one trajectory. For devices without a law
    of their own; those whose `drift` contains retention refuse both together. tau=inf: nothing is lost.
    """

    site = Site.AGE
    neutral: ClassVar[Mapping[str, Any]] = {"tau": math.inf}

    def __init__(
        self,
        tau: Annotated[float, Param("median time constant", unit="s", source=HEADLINE, gt=0)] = 1e7,
        sigma: Annotated[float, Param("lognormal sigma of the time constant", source=HEADLINE, ge=0, le=10)] = 0.5,
        g_off: Annotated[
            float | None, Param("what a lost cell holds; null: device.g_min", unit="S", source="assumed", ge=0)
        ] = None,
    ) -> None:
        self.tau, self.sigma, self.g_off = tau, sigma, g_off

    def sample(self, shape: Size | tuple[int, ...], *, generator: Generator) -> Tensor | None:
        """One standard normal a cell; None without spread."""
        return normals(tuple(shape), generator) if self.sigma else None

    def apply(self, x: CellState, state: Tensor | None, context: Context) -> Tensor:
        g_off = context.device.g_min if self.g_off is None else self.g_off
        rate = torch.full_like(x.g, context.seconds / self.tau)
        if state is not None:
            rate = rate * torch.exp(-self.sigma * state.to(x.g))
        # Written as a change, which is exactly zero at t = 0.
        return x.g + (x.g - g_off) * torch.expm1(-rate)
