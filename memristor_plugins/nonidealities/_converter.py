"""What DAC and ADC share: a resolution, a calibrated range, uniform codes."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from memristor_plugins.errors import ConfigError, SimulationError
from memristor_plugins.interfaces.nonideality import Context, NonIdeality
from memristor_plugins.nonidealities._quantise import Signed, observed_range, quantise


class Converter(NonIdeality):
    """A uniform converter of `bits` bits over a calibrated range."""

    linear = False
    needs_range = True

    def __init__(self, bits: int, percentile: float, signed: Signed) -> None:
        self.bits, self.percentile, self.signed = bits, percentile, signed
        if signed == "signed":
            self._check_signed()

    def calibrate(self, x: Tensor) -> Tensor:
        return observed_range(x, self.percentile, self.signed)

    def apply(self, x: Tensor, state: Any, context: Context) -> Tensor:
        if context.full_scale is None:
            raise SimulationError(f"{type(self).__name__} has no calibrated range; call calibrate() first")
        if self.bits < 2 and bool(context.full_scale[0] < 0):
            self._check_signed()
        return quantise(x, self.bits, context.full_scale)

    def _check_signed(self) -> None:
        if self.bits < 2:
            raise ConfigError(
                f"nonidealities.{type(self).__name__.lower()}.bits",
                "1 bit leaves signed signals no code but zero; the nearest valid value is 2",
            )

    def bits_used(self) -> int:
        return self.bits
