"""The bit lines' converters."""

from __future__ import annotations

from typing import Annotated

from memristor_plugins.interfaces.nonideality import Site
from memristor_plugins.interfaces.parameter import Param
from memristor_plugins.nonidealities._converter import Converter
from memristor_plugins.nonidealities._quantise import Signed


class ADC(Converter):
    """Analog-to-digital converters of the bit lines: each array's partial sum in finite bits, then added digitally.

    i -> step * round(clip(i, low, high) / step), over one range a layer, calibrated on real partial sums.
    """

    site = Site.SUM
    per_tile = True

    def __init__(
        self,
        bits: Annotated[int, Param("resolution", unit="bit", source="headline stack (assumed)", ge=1, le=16)] = 8,
        percentile: Annotated[
            float, Param("share of |partial sum| within the range", unit="%", source="assumed", gt=50, le=100)
        ] = 99.99,
        signed: Annotated[
            Signed, Param("whether partial sums have a sign; auto: as calibrated", source="assumed")
        ] = "auto",
    ) -> None:
        super().__init__(bits, percentile, signed)
