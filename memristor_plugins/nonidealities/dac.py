"""The word lines' converters."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Generator, Size, Tensor

from memristor_plugins.errors import ConfigError
from memristor_plugins.interfaces.nonideality import Context, Site
from memristor_plugins.interfaces.parameter import Param
from memristor_plugins.nonidealities._converter import MOMENTUM, PERCENTILE, Converter, Range
from memristor_plugins.nonidealities._quantise import Signed


class DAC(Converter):
    """Digital-to-analog converters of the word lines: finite bits over a range, driver errors, bit-serial inputs.

    x -> step * round(clip(x, low, high) / step); the largest code drives the device's read voltage. Unsigned inputs
    have 2^bits codes from zero, signed ones 2^bits - 1 codes symmetric about zero.

    With `slice_bits` = b, a code c = sum_s 2^(bs) c_s of each input is driven slice by slice, least significant first,
    each c_s in 0 ... 2^b - 1 over the whole read voltage and with the sign of the input; every slice's sums are
    converted, then shifted and added. The range of the sums' converters is one for all slices, calibrated on the
    signals of all of them.

    Each word-line driver of a chip has its own errors, x -> (1 + gain_std n1) x + offset_std n2 LSB, n normal; an LSB
    is that of what it drives (of a slice, with `slice_bits`).
    """

    site = Site.INPUT

    def __init__(
        self,
        bits: Annotated[int, Param("resolution", unit="bit", source="headline stack (assumed)", ge=1, le=16)] = 8,
        range: Annotated[Range, Param("where the range comes from", source="assumed")] = "percentile",
        percentile: Annotated[
            float, Param("share of |x| within the range", unit="%", source="assumed", gt=50, le=100)
        ] = PERCENTILE,
        momentum: Annotated[
            float, Param("weight of a new batch, range=moving", source="assumed", gt=0, le=1)
        ] = MOMENTUM,
        low: Annotated[float | None, Param("smallest input, range=fixed", source="given by the user", le=0)] = None,
        high: Annotated[float | None, Param("largest input, range=fixed", source="given by the user", gt=0)] = None,
        signed: Annotated[Signed, Param("whether inputs have a sign; auto: as calibrated", source="assumed")] = "auto",
        slice_bits: Annotated[
            int | None, Param("bits driven at once; null: all", unit="bit", source="null: not sliced", ge=1, le=16)
        ] = None,
        gain_std: Annotated[
            float, Param("relative gain error of a driver", source="0: none (assumed)", ge=0, le=0.3)
        ] = 0.0,
        offset_std: Annotated[float, Param("offset of a driver", unit="LSB", source="0: none (assumed)", ge=0)] = 0.0,
    ) -> None:
        super().__init__(bits, range, percentile, momentum, low, high, signed)
        if slice_bits is not None and slice_bits > bits:
            raise ConfigError(
                "nonidealities.dac.slice_bits", f"{slice_bits} is more than bits={bits}; the nearest value is {bits}"
            )
        self.slice_bits, self.gain_std, self.offset_std = slice_bits, gain_std, offset_std
        self.offset_in_range = offset_std > 0

    def sample(self, shape: Size | tuple[int, ...], *, generator: Generator) -> Tensor | None:
        """Relative gain error and offset in LSB of each driver, [2, *shape]; None where there are none."""
        if not (self.gain_std or self.offset_std):
            return None
        normals = torch.randn((2, *shape), generator=generator)
        return normals * torch.tensor([self.gain_std, self.offset_std]).view(2, *[1] * len(shape))

    def lines(self, state: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        if not self.offset_std:
            return 1 + state[0], torch.zeros_like(state[1])
        return 1 + state[0], state[1] * self._unit(context)

    def slices(self, x: Tensor, context: Context) -> tuple[Tensor, list[float]]:
        """What is driven one after another [slices, *x.shape] in input units, and each one's weight.

        Inputs that have no range yet are driven whole. The sum is x to the rounding of its floats.
        """
        assert self.slice_bits is not None, "the engine slices where slice_bits is set"
        to = self.codes(context)
        if to.high <= 0:
            return x.unsqueeze(0), [1.0]
        base, unit = 1 << self.slice_bits, self._unit(context)
        count = -(-max(to.last, -to.first).bit_length() // self.slice_bits)
        rest = x.abs().mul_(1.0 / to.step).round_()
        sign, parts = x.sign(), []
        for _ in range(count):
            above = rest.div(base).floor_()
            parts.append(rest.sub_(above, alpha=base).mul_(sign).mul_(unit))
            rest = above
        return torch.stack(parts), [base**s * to.step / unit for s in range(count)]

    def _unit(self, context: Context) -> float:
        """Input units that one code of a driver stands for."""
        to = self.codes(context)
        if self.slice_bits is None:
            return to.step
        return max(to.high, -to.low) / ((1 << self.slice_bits) - 1)
