"""Differential pairs."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor

from memristor_plugins.interfaces.device import Device
from memristor_plugins.interfaces.mapping import Mapped, Mapping
from memristor_plugins.interfaces.parameter import Param


class Differential(Mapping):
    """One-sided differential pairs: a positive and a negative cell on adjacent bit lines.

    G+ = g_min + (g_max - g_min) max(w, 0) / w_max and G- likewise of -w; the cell that holds no part of the weight
    stands at g_min. Their currents' difference over (g_max - g_min) / w_max is the weight again, exactly.

    Source: the usual pair of analog in-memory computing; e.g. Joshi et al. 2020, 10.1038/s41467-020-16108-9.
    """

    planes = 2

    def __init__(
        self,
        rows: Annotated[int, Param("word lines of one array", source="headline stack (assumed)", ge=1)] = 128,
        columns: Annotated[int, Param("bit lines of one array", source="headline stack (assumed)", ge=2)] = 128,
        subtract: Annotated[
            Literal["analog", "digital"],
            Param("subtract a pair's currents before one ADC, or convert each", source="assumed"),
        ] = "analog",
        scaling: Annotated[
            Literal["layer", "column"],
            Param("what the largest weight of is stored at g_max", source="assumed"),
        ] = "layer",
    ) -> None:
        self.rows, self.columns, self.subtract, self.scaling = rows, columns, subtract, scaling
        self.groups = 1 if subtract == "analog" else 2

    def to_conductance(self, weight: Tensor, device: Device) -> Mapped:
        over = tuple(range(weight.dim())) if self.scaling == "layer" else (-2,)
        w_max = weight.detach().abs().amax(dim=over, keepdim=True)
        # A matrix (or column) of zeros has no scale of its own; any scale stores it exactly.
        w_max = torch.where(w_max > 0, w_max, torch.ones_like(w_max))
        span = device.g_max - device.g_min
        x = weight / w_max
        g = torch.stack((x.clamp_min(0), (-x).clamp_min(0))) * span + device.g_min
        return Mapped(g, w_max / span)

    def to_effective(self, g: Tensor, scale: Tensor) -> Tensor:
        if self.subtract == "analog":
            return ((g[0] - g[1]) * scale).unsqueeze(0)
        return g * scale

    def effective_std(self, std: Tensor, scale: Tensor) -> Tensor:
        if self.subtract == "analog":
            return (torch.hypot(std[0], std[1]) * scale).unsqueeze(0)
        return std * scale

    def from_current(self, partial: Tensor) -> Tensor:
        return partial[0] if self.subtract == "analog" else partial[0] - partial[1]
