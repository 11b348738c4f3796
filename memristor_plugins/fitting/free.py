"""Free parameters: their ranges, and the scale on which they are searched.

A parameter of one sign is searched as its logarithm, so that all that is asked of a start is its order of magnitude;
one that may be 0 or have either sign is searched in units of its start.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memristor_plugins.interfaces.parameter import Param

Array = NDArray[np.float64]

# How far from its start, as a factor, a parameter of one sign may be searched: all of physics.
FURTHEST = 1e9
# An open bound (gt, lt) is kept away from by this part of the start or of the bound.
OPEN = 1e-9


@dataclass(frozen=True)
class Free:
    """One free parameter.

    Args:
        name: as in results.
        start: where the search begins.
        low, high: closed bounds.
        unit: SI unit, for reports.
        scale: typical size of a parameter that may be 0 or change its sign; None: the start's, or 1.
        nuisance: belongs to the measurement (a channel's offset) and not to the device.
        zero: 0 is a value like any other, so that there is no logarithm.
    """

    name: str
    start: float
    low: float = -math.inf
    high: float = math.inf
    unit: str = ""
    scale: float | None = None
    nuisance: bool = False
    zero: bool = False

    @property
    def sign(self) -> int:
        """1 or -1 where the logarithm is searched, 0 where the number itself is."""
        if self.zero:
            return 0
        if self.low >= 0 and self.start > 0:
            return 1
        return -1 if self.high <= 0 and self.start < 0 else 0

    @property
    def size(self) -> float:
        """Unit of the search where the number itself is searched."""
        return self.scale if self.scale is not None else abs(self.start) or 1.0

    def search(self, value: Array | float) -> Array:
        """Value -> where it stands in the search."""
        x = np.asarray(value, dtype=np.float64)
        return np.asarray(np.log(self.sign * x) if self.sign else x / self.size, dtype=np.float64)

    def value(self, search: Array | float) -> Array:
        """The inverse of `search`."""
        u = np.asarray(search, dtype=np.float64)
        return np.asarray(self.sign * np.exp(u) if self.sign else u * self.size, dtype=np.float64)

    @property
    def bounds(self) -> tuple[float, float]:
        """Bounds of the search."""
        if not self.sign:
            return self.low / self.size, self.high / self.size
        near, far = sorted((abs(self.low), abs(self.high)))
        at = math.log(abs(self.start))
        reach = math.log(FURTHEST)
        lowest = at - reach if near == 0 else max(math.log(near), at - reach)
        highest = at + reach if math.isinf(far) else min(math.log(far), at + reach)
        return lowest, highest


def from_param(name: str, start: float, info: Param) -> Free:
    """A device's parameter as a free one, within the bounds of its signature."""
    low, high = -math.inf, math.inf
    if info.ge is not None:
        low = info.ge
    if info.gt is not None:
        low = max(low, info.gt if info.gt == 0 else info.gt + OPEN * (abs(info.gt) or abs(start)))
    if info.le is not None:
        high = info.le
    if info.lt is not None:
        high = min(high, info.lt if info.lt == 0 else info.lt - OPEN * (abs(info.lt) or abs(start)))
    # A number of [0, 1] that starts at 0 has its range for a scale.
    scale = high - low if start == 0 and math.isfinite(high - low) else None
    return Free(name, start, low, high, info.unit, scale, zero=info.ge == 0 or info.le == 0)


def starts(free: Sequence[Free], count: int, spread: float, seed: int) -> Array:
    """[count, parameters] points of the search: the start itself, then a scrambled Sobol cloud about it.

    Args:
        free: the parameters.
        count: how many.
        spread: the cloud reaches this far on either side: a factor exp(spread), or that many units.
        seed: of the scrambling.
    """
    from scipy.stats import qmc

    centre = np.array([f.search(f.start) for f in free])
    low, high = (np.array(bound) for bound in zip(*(f.bounds for f in free), strict=True))
    cloud = qmc.Sobol(len(free), seed=seed).random_base2(math.ceil(math.log2(max(count, 2))))[: count - 1]
    reach = np.array([0.1 * spread if f.nuisance else spread for f in free])
    points = np.vstack([centre, centre + reach * (2 * cloud - 1)])
    margin = 1e-6 * np.where(np.isfinite(high - low), high - low, 1.0)
    return np.asarray(np.clip(points, low + margin, high - margin), dtype=np.float64)
