"""One cell a weight, around a reference."""

from __future__ import annotations

from math import ceil
from typing import Annotated, Literal

import torch
from torch import Tensor

from memristor_plugins.errors import ConfigError
from memristor_plugins.interfaces.device import Device
from memristor_plugins.interfaces.mapping import Mapped, Mapping
from memristor_plugins.interfaces.parameter import Param
from memristor_plugins.mappings._scaling import Scaling, largest


class Offset(Mapping):
    """Offset cells: one cell a weight around the middle of the range, the reference subtracted from each output.

    With span = g_max - g_min and g_mid = g_min + span / 2,

        G = g_mid + (span / 2) w / w_max    w = (G - g_mid) 2 w_max / span

    `reference=digital` subtracts g_mid times the sum of the converted inputs in digital arithmetic, as the ideal device
    would have it: cells that age or are read through wires leave their share of it in the outputs.
    `reference=column` reads one more bit line in each array, the unit column, whose cells all stand at g_mid, and
    subtracts what its converter reports from the array's other outputs: what all cells suffer alike cancels.
    Currents never change sign, so that converters of non-negative inputs are unsigned.

    Source: biased weights and the unit column of ISAAC, Shafiee et al. 2016, 10.1109/ISCA.2016.12.

    Raises:
        ConfigError: a unit column with one scale a column, or an array too narrow for it; one digital reference with
            one scale an array.

    Attributes:
        middle: where a cell holds a weight of zero, as a share of the range.
    """

    planes = 1
    groups = 1
    subtract = "digital"
    middle = 0.5

    def __init__(
        self,
        rows: Annotated[int, Param("word lines of one array", source="headline stack (assumed)", ge=1)] = 128,
        columns: Annotated[int, Param("bit lines of one array", source="headline stack (assumed)", ge=1)] = 128,
        reference: Annotated[
            Literal["digital", "column"],
            Param("subtract the middle in digital arithmetic, or a unit column's sum", source="assumed"),
        ] = "digital",
        scaling: Annotated[
            Scaling, Param("what the largest weight of is stored at the end of the range", source="assumed")
        ] = "layer",
    ) -> None:
        self.rows, self.columns, self.reference, self.scaling = rows, columns, reference, scaling
        if reference == "column" and columns < 2:
            raise ConfigError(
                "mapping.columns", f"{columns} leaves no bit line beside the unit column; the nearest valid value is 2"
            )
        if reference == "column" and scaling == "column":
            raise ConfigError(
                "mapping.scaling",
                "one unit column serves all columns of an array, which then share one scale; the nearest valid value "
                "is array (or take mapping.reference=digital)",
            )
        if reference == "digital" and scaling == "array":
            raise ConfigError(
                "mapping.scaling",
                "the digital reference is one sum of all inputs, which arrays of different scales cannot share; the "
                "nearest valid value is column (or take mapping.reference=column)",
            )

    @property
    def _outputs_across(self) -> int:
        """Outputs that one array holds side by side."""
        return self.columns - 1 if self.reference == "column" else self.columns

    def to_conductance(self, weight: Tensor, device: Device) -> Mapped:
        w_max = largest(weight, self.scaling, self.rows, self._outputs_across)
        span, reach = device.g_max - device.g_min, min(self.middle, 1 - self.middle)
        zero = device.g_min + self.middle * span
        scale = w_max / (reach * span)
        g = weight / w_max * (reach * span) + zero
        if self.reference == "digital":
            return Mapped(g.unsqueeze(0), scale, zero * scale)
        outputs, units = self._places(weight.shape[-1], weight.device)
        lines = g.new_full((1, *g.shape[:-1], self.lines(weight.shape[-1])), zero)
        lines[0, ..., outputs] = g
        if scale.shape[-1] > 1:  # an array has one scale, its unit column's too
            wide = scale.new_empty(*scale.shape[:-1], lines.shape[-1])
            wide[..., units] = wide[..., outputs] = scale
            scale = wide
        return Mapped(lines, scale)

    def to_effective(self, g: Tensor, scale: Tensor) -> Tensor:
        return g * scale

    def effective_std(self, std: Tensor, scale: Tensor) -> Tensor:
        return std * scale

    def from_current(self, partial: Tensor) -> Tensor:
        if self.reference == "digital":
            return partial[0]
        outputs, units = self._places(partial.shape[-1] - ceil(partial.shape[-1] / self.columns), partial.device)
        return partial[0].index_select(-1, outputs) - partial[0].index_select(-1, units)

    def lines(self, cols: int) -> int:
        return cols + ceil(cols / self._outputs_across) if self.reference == "column" else cols

    def output_lines(self, cols: int) -> list[int]:
        return [col + col // self._outputs_across if self.reference == "column" else col for col in range(cols)]

    def _places(self, cols: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Lines of the outputs, and of each output's unit column, which is the last line of its array."""
        outputs = torch.tensor(self.output_lines(cols), device=device)
        last = (outputs // self.columns + 1) * self.columns - 1
        return outputs, last.clamp_max(self.lines(cols) - 1)
