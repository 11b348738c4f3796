"""Weights of more bits than one cell holds."""

from __future__ import annotations

import warnings
from typing import Annotated, Literal

import torch
from torch import Tensor

from memristor_plugins.errors import ConfigError
from memristor_plugins.interfaces.device import Device
from memristor_plugins.interfaces.mapping import Mapped, Mapping
from memristor_plugins.interfaces.parameter import Param
from memristor_plugins.mappings._scaling import Scaling
from memristor_plugins.mappings.differential import Differential
from memristor_plugins.mappings.offset import Offset


class BitSliced(Mapping):
    """Bit slices: each cell of a base mapping becomes `slices` cells of `bits` bits, most significant first.

    With N = slices * bits, a base cell at the share x of its range is written as the code round(x (2^N - 1)), whose
    digits d_s stand in cells of their own:

        G_s = g_min + span d_s / (2^bits - 1)    x = sum_s c_s d_s / (2^bits - 1)
        c_s = (2^bits - 1) 2^(bits (slices - 1 - s)) / (2^N - 1),    sum_s c_s = 1

    Every slice spans the whole range and is converted by itself, in the units of the base mapping, so that one
    converter range fits all slices; shift-adds then weigh them by c_s. A weight of zero is a code, hence exact. Weights
    are rounded by at most w_max / (2 (2^N - 1)) on one-sided pairs, and w_max / (2 (2^(N-1) - 1)) on cells around the
    middle (two-sided pairs, offset), w_max being the largest weight of the layer, column or array.

    Source: ISAAC, Shafiee et al. 2016, 10.1109/ISCA.2016.12 (16-bit weights on 8 cells of 2 bits).

    Raises:
        ConfigError: more bits than a weight has, too few for the base, or an array too narrow for one weight.
    """

    def __init__(
        self,
        rows: Annotated[int, Param("word lines of one array", source="headline stack (assumed)", ge=1)] = 128,
        columns: Annotated[int, Param("bit lines of one array", source="headline stack (assumed)", ge=1)] = 128,
        slices: Annotated[int, Param("cells that a cell of the base mapping becomes", source="assumed", ge=1)] = 4,
        bits: Annotated[int, Param("bits of one cell", unit="bit", source="ISAAC Table I", ge=1, le=8)] = 2,
        base: Annotated[
            Literal["differential", "offset"], Param("mapping whose cells are sliced", source="assumed")
        ] = "differential",
        subtract: Annotated[
            Literal["analog", "digital"],
            Param("base=differential: subtract a pair's currents before one ADC, or convert each", source="assumed"),
        ] = "analog",
        scaling: Annotated[
            Scaling, Param("what the largest weight of is stored at the end of the range", source="assumed")
        ] = "layer",
        sides: Annotated[
            Literal["one", "two"],
            Param("base=differential: cells of a pair that move away from rest for one weight", source="assumed"),
        ] = "one",
        reference: Annotated[
            Literal["digital", "column"],
            Param("base=offset: subtract the middle in digital arithmetic, or unit columns' sums", source="assumed"),
        ] = "digital",
    ) -> None:
        self.rows, self.columns, self.slices, self.bits = rows, columns, slices, bits
        total = slices * bits
        if total > 24:
            raise ConfigError(
                "mapping.slices",
                f"{slices} slices of {bits} bits are more than the 24 bits of a float32 weight; the nearest valid "
                f"value is {24 // bits}",
            )
        around_zero = base == "offset" or sides == "two"
        if around_zero and total < 2:
            raise ConfigError("mapping.slices", "one bit has no code beside zero; the nearest valid value is 2")
        narrowest = slices * (2 if base == "differential" or reference == "column" else 1)
        if columns < narrowest:
            raise ConfigError(
                "mapping.columns", f"one weight takes {narrowest} bit lines; the nearest valid value is {narrowest}"
            )
        self.weight_error = 0.5 / (2 ** (total - 1) - 1 if around_zero else 2**total - 1)
        self.base = self._base(base, subtract, scaling, sides, reference)
        self.planes, self.groups = slices * self.base.planes, slices * self.base.groups
        self.subtract = self.base.subtract
        # What a slice counts in the sum: its place value over the largest code's.
        self.shares = [(2**bits - 1) * 2 ** (bits * (slices - 1 - s)) / (2**total - 1) for s in range(slices)]

    def _base(
        self,
        base: str,
        subtract: Literal["analog", "digital"],
        scaling: Scaling,
        sides: Literal["one", "two"],
        reference: Literal["digital", "column"],
    ) -> Differential | Offset:
        # An array holds as many outputs as the base's own array of this width would.
        width, top = self.columns // self.slices, 2 ** (self.slices * self.bits) - 1
        mapping: Differential | Offset
        if base == "differential":
            unused: dict[str, str] = {"reference": reference} if reference != "digital" else {}
            mapping = Differential(self.rows, width, subtract, scaling, sides)
        else:
            unused = {"sides": sides} if sides != "one" else {}
            if subtract != "analog":
                unused["subtract"] = subtract
            mapping = Offset(self.rows, width, reference, scaling)
        for option, value in unused.items():
            warnings.warn(f"mapping.{option}={value} has no effect with mapping.base={base}", stacklevel=3)
        if top > 1:
            mapping.middle = (top + 1) // 2 / top  # a weight of zero is a code
        return mapping

    def to_conductance(self, weight: Tensor, device: Device) -> Mapped:
        mapped = self.base.to_conductance(weight.double(), device)
        span, top = device.g_max - device.g_min, 2 ** (self.slices * self.bits) - 1
        code = ((mapped.g - device.g_min) / span * top).round().clamp(0, top).long()
        digit = torch.stack([code >> self.bits * s & 2**self.bits - 1 for s in reversed(range(self.slices))])
        g = (digit.flatten(0, 1).double() / (2**self.bits - 1) * span + device.g_min).to(weight.dtype)
        offset = None if mapped.offset is None else mapped.offset.to(weight.dtype)
        return Mapped(g, mapped.scale.to(weight.dtype), offset)

    def to_effective(self, g: Tensor, scale: Tensor) -> Tensor:
        return torch.cat([self.base.to_effective(part, scale) for part in g.unflatten(0, (self.slices, -1))])

    def effective_std(self, std: Tensor, scale: Tensor) -> Tensor:
        return torch.cat([self.base.effective_std(part, scale) for part in std.unflatten(0, (self.slices, -1))])

    def from_current(self, partial: Tensor) -> Tensor:
        parts = partial.unflatten(0, (self.slices, -1))
        total = parts[0] * self.shares[0]
        for part, share in zip(parts[1:], self.shares[1:], strict=True):
            total = torch.add(total, part, alpha=share)
        return self.base.from_current(total)

    def lines(self, cols: int) -> int:
        return self.base.lines(cols)

    def output_lines(self, cols: int) -> list[int]:
        return self.base.output_lines(cols)
