"""What DAC and ADC share: a resolution, uniform codes, and where their range comes from."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import torch
from torch import Tensor

from memristor_plugins.errors import ConfigError, SimulationError
from memristor_plugins.interfaces.nonideality import Context, NonIdeality
from memristor_plugins.nonidealities._quantise import Codes, Signed, codes, observed_range, quantise, quantise_

Range = Literal["percentile", "max", "moving", "learned", "fixed"]

PERCENTILE, MOMENTUM = 99.99, 0.1


class Converter(NonIdeality):
    """A uniform converter of `bits` bits.

    Its range is, by `range`:

        percentile  the widest of all calibration batches' percentiles of |signal|
        max         the largest |signal| of all calibration batches
        moving      r <- r + momentum (seen - r) over the batches' percentiles; the first batch sets it
        learned     as percentile, times a factor that is trained with the network, e^f, f = 0 at first
        fixed       [low, high], in units of the signal

    A batch's percentile is that of all its signals together, of every slice and array.

    Attributes:
        fixed_range: [low, high] where `range` is fixed.
    """

    linear = False
    needs_range = True

    def __init__(
        self,
        bits: int,
        range: Range,
        percentile: float,
        momentum: float,
        low: float | None,
        high: float | None,
        signed: Signed,
    ) -> None:
        self.bits, self.range, self.signed, self.momentum = bits, range, signed, momentum
        self.percentile = 100.0 if range == "max" else percentile
        self.learned_range = range == "learned"
        unused = {
            "percentile": percentile != PERCENTILE and range in ("max", "fixed"),
            "momentum": momentum != MOMENTUM and range != "moving",
            "low": low is not None and range != "fixed",
            "high": high is not None and range != "fixed",
        }
        for option in (name for name, is_unused in unused.items() if is_unused):
            warnings.warn(f"{self._option(option)} has no effect with {self._option('range')}={range}", stacklevel=3)
        self.fixed_range = self._fixed(low, high) if range == "fixed" else None
        if signed == "signed" or (self.fixed_range is not None and self.fixed_range[0] < 0):
            self._check_signed()

    def calibrate(self, x: Tensor) -> Tensor:
        if self.fixed_range is not None:
            return torch.tensor(self.fixed_range)
        return observed_range(x, self.percentile, self.signed)

    def merge(self, known: Tensor, seen: Tensor) -> Tensor:
        if self.range == "fixed":
            return seen
        if self.range == "moving" and bool(known.any()):
            high = known[1] + self.momentum * (seen[1] - known[1])
            negative = torch.minimum(known[0], seen[0]) < 0
            return torch.stack((torch.where(negative, -high, torch.zeros_like(high)), high))
        return super().merge(known, seen)

    def apply(self, x: Tensor, state: Any, context: Context) -> Tensor:
        return quantise(x, self.bits, self._full_scale(context))

    def apply_(self, x: Tensor, state: Any, context: Context) -> Tensor:
        """As `apply`, without gradients; may overwrite x."""
        return quantise_(x, self.bits, self._full_scale(context))

    def codes(self, context: Context) -> Codes:
        """What the converter can report over `context.full_scale`."""
        return codes(self.bits, self._full_scale(context).detach())

    def bits_used(self) -> int:
        return self.bits

    def _full_scale(self, context: Context) -> Tensor:
        full_scale = context.full_scale
        if full_scale is None:
            raise SimulationError(f"{type(self).__name__} has no calibrated range; call calibrate() first")
        if self.bits < 2 and bool(full_scale[0] < 0):
            self._check_signed()
        return full_scale

    def _check_signed(self) -> None:
        if self.bits < 2:
            raise ConfigError(
                self._option("bits"), "1 bit leaves signed signals no code but zero; the nearest valid value is 2"
            )

    def _fixed(self, low: float | None, high: float | None) -> tuple[float, float]:
        if low is None or high is None:
            missing = "low" if low is None else "high"
            raise ConfigError(self._option(missing), f"{self._option('range')}=fixed needs low and high")
        if low < 0 and self.signed == "unsigned":
            raise ConfigError(self._option("low"), f"unsigned signals are not below 0, got {low:g}; take 0")
        if low == 0 and self.signed == "signed":
            raise ConfigError(self._option("low"), f"signed signals go below 0; take {-high:g}")
        return float(low), float(high)

    def _option(self, name: str) -> str:
        return f"nonidealities.{type(self).__name__.lower()}.{name}"
