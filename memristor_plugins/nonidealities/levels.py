"""Finite states."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor

from memristor_plugins.errors import ConfigError, SimulationError
from memristor_plugins.interfaces.nonideality import Context, NonIdeality, Site
from memristor_plugins.interfaces.parameter import Param


class Levels(NonIdeality):
    """Finite levels: a write can only ask for n conductances, the nearest to each target.

    From g_min to g_max of the device, k = 0 ... n - 1:

        spacing=linear  G_k = g_min + (g_max - g_min) k / (n - 1)
        spacing=log     G_k = g_min (g_max / g_min)^(k / (n - 1)), nearest in ln G

    Targets beyond the range go to its ends. n=0: any conductance can be asked for, nothing is changed.

    Raises:
        ConfigError: a single level.
        SimulationError: n=null on a device without a number of its own; or spacing=log with g_min = 0.
    """

    site = Site.TARGET
    neutral: ClassVar[Mapping[str, Any]] = {"n": 0}

    def __init__(
        self,
        n: Annotated[
            int | None,
            Param("levels; 0: no limit, null: the device's own", source="headline stack (assumed)", ge=0, le=65536),
        ] = 32,
        spacing: Annotated[
            Literal["linear", "log"], Param("what is equal from level to level: a step or a ratio", source="assumed")
        ] = "linear",
    ) -> None:
        if n == 1:
            raise ConfigError("nonidealities.levels.n", "one level holds no weight; the nearest valid value is 2")
        self.n, self.spacing = n, spacing

    def apply(self, x: Tensor, state: Any, context: Context) -> Tensor:
        device = context.device
        n = device.levels if self.n is None else self.n
        if n is None:
            raise SimulationError(
                f"nonideality=levels: {type(device).__name__} has no number of levels of its own; "
                "give nonidealities.levels.n, such as 32"
            )
        if n == 0:
            return x
        if self.spacing == "log" and device.g_min == 0:
            raise SimulationError(
                "nonidealities.levels.spacing=log needs device.g_min > 0; raise it or take spacing=linear"
            )
        return nearest_level(x, device.g_min, device.g_max, n, log=self.spacing == "log")


def nearest_level(g: Tensor, low: float, high: float, n: int, *, log: bool) -> Tensor:
    """The nearest of `n` (>= 2) conductances from `low` to `high` siemens, both included exactly; shape of `g`."""
    share = torch.linspace(0.0, 1.0, n, dtype=torch.float64)
    if log:
        known = low * (high / low) ** share
        place = (g / low).clamp_min(torch.finfo(g.dtype).tiny).log() / math.log(high / low)
    else:
        known = low + (high - low) * share
        place = (g - low) / (high - low)
    known[0], known[-1] = low, high
    index = (place * (n - 1)).round().clamp(0, n - 1).nan_to_num_(0)
    return torch.where(g.isnan(), g, known.to(g)[index.long()])
