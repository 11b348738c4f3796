"""The word lines' converters."""

from __future__ import annotations

from typing import Annotated

from memristor_plugins.interfaces.nonideality import Site
from memristor_plugins.interfaces.parameter import Param
from memristor_plugins.nonidealities._converter import Converter
from memristor_plugins.nonidealities._quantise import Signed


class DAC(Converter):
    """Digital-to-analog converters of the word lines: finite bits over a calibrated input range.

    x -> step * round(clip(x, low, high) / step); the largest code drives the device's read voltage. Unsigned inputs
    have 2^bits codes from zero, signed ones 2^bits - 1 codes symmetric about zero.
    """

    site = Site.INPUT

    def __init__(
        self,
        bits: Annotated[int, Param("resolution", unit="bit", source="headline stack (assumed)", ge=1, le=16)] = 8,
        percentile: Annotated[
            float, Param("share of |x| within the range", unit="%", source="assumed", gt=50, le=100)
        ] = 99.99,
        signed: Annotated[Signed, Param("whether inputs have a sign; auto: as calibrated", source="assumed")] = "auto",
    ) -> None:
        super().__init__(bits, percentile, signed)
