"""1/f noise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from torch import Tensor

from memristor_plugins.errors import ConfigError
from memristor_plugins.interfaces.device import standard_normal
from memristor_plugins.interfaces.nonideality import Context, NonIdeality, Site
from memristor_plugins.interfaces.parameter import Param


class Flicker(NonIdeality):
    """Flicker: 1/f noise of the conductance, whose slow part stays for a whole evaluation.

    With a power spectral density S_G / G^2 = amplitude / f (Hooge's form, Phys. Lett. A 29, 139 (1969)), the variance
    between 1 / duration and 1 / read_time is

        sigma^2 = amplitude ln(duration / read_time),   g' = g (1 + sigma z), clipped at zero,

    z standard normal, one a cell, drawn anew for each evaluation: nearly all of the band is slower than an inference.
    read_time is the device's. Zero amplitude changes nothing.

    Raises:
        ConfigError: `duration` is not longer than the device's read.
    """

    site = Site.FLUCTUATION
    neutral: ClassVar[Mapping[str, Any]] = {"amplitude": 0.0}

    def __init__(
        self,
        amplitude: Annotated[float, Param("f S_G / G^2 of a cell", source="assumed", ge=0, le=1)] = 1e-5,
        duration: Annotated[float, Param("how long an evaluation lasts", unit="s", source="assumed", gt=0)] = 1.0,
    ) -> None:
        self.amplitude, self.duration = amplitude, duration

    def std(self, read_time: float) -> float:
        """Standard deviation over the conductance."""
        if not self.duration > read_time:
            raise ConfigError(
                "nonidealities.flicker.duration",
                f"must be longer than the device's read of {read_time:g} s, got {self.duration:g} s",
            )
        return math.sqrt(self.amplitude * math.log(self.duration / read_time))

    def moments(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        """Mean g and deviation sigma g, siemens; the clip at zero left out, which needs sigma << 1."""
        return x, self.std(context.device.read_time) * x

    def apply(self, x: Tensor, state: Any, context: Context) -> Tensor:
        if self.amplitude == 0:
            return x
        assert context.generator is not None, "a fluctuation is drawn for each evaluation"
        noise = standard_normal(x, context.generator)
        return noise.mul_(self.std(context.device.read_time)).add_(1).clamp_min_(0).mul_(x)
