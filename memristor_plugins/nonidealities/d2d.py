"""Device-to-device variation."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Generator, Size, Tensor

from memristor_plugins.errors import SimulationError
from memristor_plugins.interfaces.device import CellState
from memristor_plugins.interfaces.nonideality import Context, NonIdeality, Site
from memristor_plugins.interfaces.normals import normals
from memristor_plugins.interfaces.parameter import Param


class D2D(NonIdeality):
    """Device-to-device variation: the same write leaves another conductance in each cell, the same one each time.

    With one standard normal z a cell, drawn once a chip:

        normal, on=g           G' = max(G (1 + sigma z), 0)            mean G but for the clip
        lognormal, on=g        G' = G exp(sigma z - sigma^2 / 2)       mean G
        normal, on=log_g       ln G' = ln G + sigma z                  median G, mean G exp(sigma^2 / 2)
        lognormal, on=log_g    ln(G' / G_ref) = ln(G / G_ref) exp(sigma z - sigma^2 / 2)      mean of ln G'

    Var G' over its mean's square is sigma^2 but for the clip, then twice exp(sigma^2) - 1. In the last, cells differ in
    how far their filament has come, ln(G / G_ref): not at all at G_ref.

    It acts on what a write without verification leaves; a verified write hides it, so that devices whose write is
    verified refuse it beside `programming`.

    Raises:
        SimulationError: `distribution=lognormal, on=log_g` with G_ref = 0.
    """

    site = Site.CELL
    neutral: ClassVar[Mapping[str, Any]] = {"sigma": 0.0}

    def __init__(
        self,
        sigma: Annotated[float, Param("spread between cells", source="headline stack (assumed)", ge=0, le=3)] = 0.1,
        distribution: Annotated[Literal["normal", "lognormal"], Param("its shape", source="assumed")] = "lognormal",
        on: Annotated[Literal["g", "log_g"], Param("what is spread", source="assumed")] = "g",
        g_ref: Annotated[
            float | None, Param("conductance without spread; null: device.g_min", unit="S", source="assumed", gt=0)
        ] = None,
    ) -> None:
        if g_ref is not None and (distribution, on) != ("lognormal", "log_g"):
            warnings.warn(
                "nonidealities.d2d.g_ref has no effect but with distribution=lognormal and on=log_g", stacklevel=2
            )
        self.sigma, self.distribution, self.on, self.g_ref = sigma, distribution, on, g_ref

    def sample(self, shape: Size | tuple[int, ...], *, generator: Generator) -> Tensor | None:
        """One standard normal a cell; None without spread."""
        return normals(tuple(shape), generator) if self.sigma else None

    def moments(self, x: CellState, context: Context) -> tuple[Tensor, Tensor] | None:
        """Mean and deviation of G', siemens, with on=g; the clip at zero of normal factors left out."""
        if self.on != "g":
            return None
        relative = math.sqrt(math.expm1(self.sigma**2)) if self.distribution == "lognormal" else self.sigma
        return x.g, relative * x.g

    def apply(self, x: CellState, state: Tensor | None, context: Context) -> CellState:
        if state is None:
            return x
        reference = context.device.g_min if self.g_ref is None else self.g_ref
        if self.on == "log_g" and self.distribution == "lognormal" and reference == 0:
            raise SimulationError(
                "nonideality=d2d: distribution=lognormal on=log_g needs a conductance to count from; "
                "give nonidealities.d2d.g_ref or device.g_min > 0"
            )
        z = state.to(x.g)
        if self.on == "g":
            factor = mean_one(self.sigma, z) if self.distribution == "lognormal" else (1 + self.sigma * z).clamp_min(0)
            return replace(x, g=x.g * factor)
        if self.distribution == "normal":
            return replace(x, g=x.g * torch.exp(self.sigma * z))
        # A cell that holds nothing keeps nothing: 0^factor.
        return replace(x, g=reference * (x.g / reference) ** mean_one(self.sigma, z))


def mean_one(sigma: float, z: Tensor) -> Tensor:
    """Lognormal factors exp(sigma z - sigma^2 / 2) of mean 1, for standard normal `z`."""
    return torch.exp(sigma * z - sigma**2 / 2)
