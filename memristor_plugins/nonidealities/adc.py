"""The bit lines' converters."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from torch import Generator, Size, Tensor

from memristor_plugins.interfaces.nonideality import Context, Site
from memristor_plugins.interfaces.parameter import Param
from memristor_plugins.nonidealities._capacitors import approximate, sample_capacitors
from memristor_plugins.nonidealities._converter import MOMENTUM, PERCENTILE, Converter, Range
from memristor_plugins.nonidealities._quantise import Signed


class ADC(Converter):
    """Analog-to-digital converters of the bit lines: each array's partial sum in finite bits, then added digitally.

    i -> step * round(clip((1 + gain_std n1) i + offset_std n2 step, low, high) / step), n normal, drawn once for each
    converter of a chip. With `capacitor_std` it is a successive-approximation converter whose binary-weighted
    capacitors differ from their values (`_capacitors.py`): its integral nonlinearity, exactly, code by code, with a
    standard deviation of capacitor_std sqrt(2^bits - 1) / 2 LSB at mid-scale, the differential one twice that.

    Attributes:
        share: neighbouring columns that one converter reads in turn: they share its errors, and its time, which the
            cost model charges. Columns that are subtracted digitally have converters of their own.
    """

    site = Site.SUM
    per_tile = True

    def __init__(
        self,
        bits: Annotated[int, Param("resolution", unit="bit", source="headline stack (assumed)", ge=1, le=16)] = 8,
        range: Annotated[Range, Param("where the range comes from", source="assumed")] = "percentile",
        percentile: Annotated[
            float, Param("share of |partial sum| within the range", unit="%", source="assumed", gt=50, le=100)
        ] = PERCENTILE,
        momentum: Annotated[
            float, Param("weight of a new batch, range=moving", source="assumed", gt=0, le=1)
        ] = MOMENTUM,
        low: Annotated[
            float | None, Param("smallest partial sum, range=fixed", source="given by the user", le=0)
        ] = None,
        high: Annotated[
            float | None, Param("largest partial sum, range=fixed", source="given by the user", gt=0)
        ] = None,
        signed: Annotated[
            Signed, Param("whether partial sums have a sign; auto: as calibrated", source="assumed")
        ] = "auto",
        share: Annotated[int, Param("columns that share a converter", source="1: none share", ge=1)] = 1,
        gain_std: Annotated[
            float, Param("relative gain error of a converter", source="0: none (assumed)", ge=0, le=0.3)
        ] = 0.0,
        offset_std: Annotated[
            float, Param("offset of a converter", unit="LSB", source="0: none (assumed)", ge=0)
        ] = 0.0,
        capacitor_std: Annotated[
            float, Param("relative mismatch of a unit capacitor", source="0: none (assumed)", ge=0, le=0.2)
        ] = 0.0,
    ) -> None:
        super().__init__(bits, range, percentile, momentum, low, high, signed)
        self.share, self.gain_std, self.offset_std, self.capacitor_std = share, gain_std, offset_std, capacitor_std

    def sample(self, shape: Size | tuple[int, ...], *, generator: Generator) -> Tensor | None:
        """Relative gain error, offset in LSB and, with mismatch, weights of bits in LSB, [2 or 2 + bits, *shape]."""
        if not (self.gain_std or self.offset_std or self.capacitor_std):
            return None
        columns = shape[-1]
        own = (*shape[:-1], -(-columns // self.share))
        errors = torch.randn((2, *own), generator=generator)
        errors *= torch.tensor([self.gain_std, self.offset_std]).view(2, *[1] * len(own))
        if self.capacitor_std:
            errors = torch.cat((errors, sample_capacitors(self.bits, self.capacitor_std, own, generator)))
        return errors.repeat_interleave(self.share, dim=-1)[..., :columns]

    def apply(self, x: Tensor, state: Any, context: Context) -> Tensor:
        if state is None:
            return super().apply(x, None, context)
        to = self.codes(context)
        state = state.to(x.dtype)
        driven = (x * (1 + state[0])).add_(state[1], alpha=to.step)
        if state.shape[0] == 2:
            return super().apply(driven, None, context)
        with torch.no_grad():
            reported = approximate(driven / to.step - to.first, state[2:]).clamp_(0, to.last - to.first)
            reported.add_(to.first).mul_(to.step)
        if not driven.requires_grad:
            return reported
        straight = super().apply(driven, None, context)
        return straight + (reported - straight).detach()

    def uniform(self, context: Context) -> tuple[float, float, float]:
        to = self.codes(context)
        return to.low, to.high, to.step

    def apply_(self, x: Tensor, state: Any, context: Context) -> Tensor:
        return super().apply_(x, None, context) if state is None else self.apply(x, state, context)
