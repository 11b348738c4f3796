"""Means over seeds with their intervals, and differences of two networks that share seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan, sqrt
from statistics import mean, stdev

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over n seeds, its interval's half width (nan for one seed) and, of a difference, the p of a paired t test.

    All in the unit of the values.
    """

    mean: float
    half: float
    n: int
    p: float = nan


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and Student's 95 % interval, t_{0.975, n-1} s / sqrt(n)."""
    if len(values) < 2:
        return Estimate(mean(values), nan, len(values))
    from scipy.stats import t

    half = float(t.ppf(0.5 + CONFIDENCE / 2, len(values) - 1)) * stdev(values) / sqrt(len(values))
    return Estimate(mean(values), half, len(values))


def paired(one: Mapping[int, float], other: Mapping[int, float]) -> Estimate | None:
    """one - other over the seeds that both have, with the two-sided p of a paired t test; None: they share none."""
    seeds = sorted(set(one) & set(other))
    if not seeds:
        return None
    differences = [one[s] - other[s] for s in seeds]
    found = estimate(differences)
    if len(seeds) < 2 or found.half == 0:
        return found
    from scipy.stats import t

    statistic = found.mean / (stdev(differences) / sqrt(len(seeds)))
    return Estimate(found.mean, found.half, found.n, float(2 * t.sf(abs(statistic), len(seeds) - 1)))
