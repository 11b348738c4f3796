"""Differential pairs."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor

from memristor_plugins.interfaces.device import Device
from memristor_plugins.interfaces.mapping import Mapped, Mapping
from memristor_plugins.interfaces.parameter import Param
from memristor_plugins.mappings._scaling import Scaling, largest


class Differential(Mapping):
    """Differential pairs: a positive and a negative cell on adjacent bit lines, whose difference is the weight.

    With x = w / w_max and span = g_max - g_min:

        sides=one  G+ = g_min + span max(x, 0)    G- = g_min + span max(-x, 0)    w = (G+ - G-) w_max / span
        sides=two  G+ = g_mid + span x / 2        G- = g_mid - span x / 2         the same

    One-sided pairs leave the cell that holds no part of the weight at g_min and carry the least current; two-sided ones
    stand around the middle, where a cell can move either way. `subtract=analog` converts the currents' difference,
    `digital` each of them.

    Source: the usual pairs of analog in-memory computing; one-sided e.g. Joshi et al. 2020,
    10.1038/s41467-020-16108-9.

    Attributes:
        middle: where both cells of a two-sided pair hold a weight of zero, as a share of the range.
    """

    planes = 2
    middle = 0.5

    def __init__(
        self,
        rows: Annotated[int, Param("word lines of one array", source="headline stack (assumed)", ge=1)] = 128,
        columns: Annotated[int, Param("bit lines of one array", source="headline stack (assumed)", ge=2)] = 128,
        subtract: Annotated[
            Literal["analog", "digital"],
            Param("subtract a pair's currents before one ADC, or convert each", source="assumed"),
        ] = "analog",
        scaling: Annotated[
            Scaling, Param("what the largest weight of is stored at the end of the range", source="assumed")
        ] = "layer",
        sides: Annotated[
            Literal["one", "two"], Param("cells of a pair that move away from rest for one weight", source="assumed")
        ] = "one",
    ) -> None:
        self.rows, self.columns, self.subtract, self.scaling, self.sides = rows, columns, subtract, scaling, sides
        self.groups = 1 if subtract == "analog" else 2

    def to_conductance(self, weight: Tensor, device: Device) -> Mapped:
        w_max = largest(weight, self.scaling, self.rows, self.columns // self.planes)
        span, x = device.g_max - device.g_min, weight / w_max
        if self.sides == "one":
            pair, reach = torch.stack((x, -x)).clamp_min_(0), 0.5
        else:
            reach = min(self.middle, 1 - self.middle)
            pair = torch.stack((x, -x)).mul_(reach).add_(self.middle)
        # In place: a training step does this to every cell.
        return Mapped(pair.mul_(span).add_(device.g_min), w_max / (2 * reach * span))

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
