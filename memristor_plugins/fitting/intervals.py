"""How well a fit knows its parameters: intervals, directions that the data do not determine, goodness of fit.

Intervals are from the sandwich covariance (J'WJ)^-1 M (J'WJ)^-1, M the covariance of J'Wr. Residuals of a time series
are correlated, by slow noise and by what the model cannot say: what a first-order autoregression of the residuals
leaves of J'Wr is summed over a window of lags, and the autoregression put back (Newey and West 1987,
10.2307/1913610, Bartlett weights; whitened after Andrews and Monahan 1992, 10.2307/2951574; the window after Andrews
1991, 10.2307/2938229). Student's t then has as many degrees of freedom as there are independent residuals. A
parameter has the larger of that variance and the one of independent residuals. Where the residuals' covariance is known
from repeats, M is J'CJ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from memristor_plugins.fitting.free import Free
from memristor_plugins.fitting.least_squares import Solution

Array = NDArray[np.float64]

CONFIDENCE = 0.95
# Below this part of the largest singular value a direction changes the prediction by less than the Jacobian's error.
SINGULAR = 1e-4
# A parameter known to no better than this, in the search's units (a factor e^2.3 = 10 either way), is not known.
UNKNOWN = math.log(10.0)
# How much of a parameter may lie in an undetermined direction.
SHARE = 0.05
# Independent residuals that are counted where a model's own faults dominate them.
FEWEST = 5
# How near to a bound of the search is at the bound.
EDGE = 1e-4


@dataclass(frozen=True)
class Estimate:
    """What a fit says of one parameter.

    Args:
        name, unit: of the parameter.
        value: at the minimum.
        low, high: ends of the 95 % interval; None unless identified.
        status: `identified`; `unidentifiable`: the data do not determine it; `at bound`.
        reason: in words where not identified.
        nuisance: belongs to the measurement, not to the device.
    """

    name: str
    unit: str
    value: float
    low: float | None
    high: float | None
    status: str
    reason: str = ""
    nuisance: bool = False


@dataclass(frozen=True)
class Inference:
    """Estimates of all parameters, and the correlation between the identified ones.

    Args:
        estimates: in the order of the free parameters.
        window: lags over which products of residuals were summed; 0: independent, or covariance known.
        correlation: of the search's units, [parameters, parameters]; nan where not identified.
    """

    estimates: tuple[Estimate, ...]
    window: int
    correlation: Array = field(repr=False)


def infer(
    solution: Solution, free: Sequence[Free], covariance: Array | None = None, samples: int | None = None
) -> Inference:
    """Intervals from the Jacobian at the minimum.

    Args:
        solution: of `minimise`.
        free: its parameters.
        covariance: of the residuals, where repeats told it; None: told from the residuals themselves.
        samples: number of repeats behind `covariance`, for Student's t.
    """
    from scipy.stats import t as student

    root = np.sqrt(solution.weights)
    jacobian, rest = solution.jacobian * root[:, None], solution.residuals * root
    count, size = jacobian.shape
    freedom = max(count - size, 1)
    bound = _at_bound(solution.search, free)
    inside = [i for i in range(size) if not bound[i]]
    j = jacobian[:, inside]
    null, bread = _directions(j)
    window = 0
    if covariance is None:
        noise = float(rest @ rest) / freedom
        plain = noise * bread
        rho, scores = _lag_1(rest), j * rest[:, None]
        window = _window(rest[1:] - rho * rest[:-1])
        white = _long_run(scores[1:] - rho * scores[:-1], window) * count / max(count - 1, 1)
        meat = white / (1 - rho) ** 2 * count / freedom
        # Independent residuals among the correlated ones.
        freedom = min(freedom, max(round(count * (1 - rho) / (1 + rho)), FEWEST))
        spread = np.maximum(np.diag(bread @ meat @ bread), np.diag(plain))
        full = plain
    else:
        excess = max(1.0, float(rest @ rest) / freedom)
        full = excess * bread @ (j.T @ (covariance * np.outer(root, root)) @ j) @ bread
        spread = np.diag(full)
        freedom = max((samples or count) - 1, 1)
    half = float(student.ppf(0.5 + CONFIDENCE / 2, freedom)) * np.sqrt(np.maximum(spread, 0.0))
    named = {i: _null_name(null, k, [free[m] for m in inside]) for k, i in enumerate(inside)}
    estimates, known = [], []
    for i, f in enumerate(free):
        u = float(solution.search[i])
        value = float(f.value(u))
        if bound[i]:
            estimates.append(Estimate(f.name, f.unit, value, None, None, "at bound", bound[i], f.nuisance))
            continue
        k = inside.index(i)
        reason = named[i]
        if not reason and half[k] > UNKNOWN and not f.nuisance:
            about = "a factor of 10 either way" if f.sign else f"{UNKNOWN:.2g} times its start either way"
            reason = f"its 95 % interval is wider than {about}"
        if reason:
            estimates.append(Estimate(f.name, f.unit, value, None, None, "unidentifiable", reason, f.nuisance))
            continue
        ends = sorted(float(f.value(u + s * half[k])) for s in (-1, 1))
        low, high = max(ends[0], f.low), min(ends[1], f.high)
        estimates.append(Estimate(f.name, f.unit, value, low, high, "identified", "", f.nuisance))
        known.append((i, k))
    correlation = np.full((size, size), np.nan)
    deviation = np.sqrt(np.maximum(np.diag(full), 1e-300))
    for i, k in known:
        for i2, k2 in known:
            correlation[i, i2] = full[k, k2] / (deviation[k] * deviation[k2])
    return Inference(tuple(estimates), window, correlation)


def goodness(measured: Array, predicted: Array, parameters: int, noise: Array | None = None) -> dict[str, float | None]:
    """How well a prediction meets a measurement.

    Args:
        measured, predicted: in SI units, same shape.
        parameters: how many were free.
        noise: standard error of each measured value, where repeats told it.

    Returns:
        `rms_error`, `rms_error_over_range`, `r2`, and `reduced_chi2` (None without `noise`).
    """
    rest = measured - predicted
    rms, extent = float(np.sqrt(np.mean(rest**2))), float(np.ptp(measured))
    total = float(np.sum((measured - measured.mean()) ** 2))
    chi2 = None
    if noise is not None and bool((noise > 0).all()):
        chi2 = float(np.sum((rest / noise) ** 2)) / max(len(rest) - parameters, 1)
    return {
        "rms_error": rms,
        "rms_error_over_range": rms / extent if extent > 0 else None,
        "r2": 1 - float(np.sum(rest**2)) / total if total > 0 else None,
        "reduced_chi2": chi2,
    }


def _at_bound(search: Array, free: Sequence[Free]) -> list[str]:
    told = []
    for u, f in zip(search, free, strict=True):
        low, high = f.bounds
        if u - low < EDGE:
            told.append(f"at the lowest value of the search, {float(f.value(low)):.4g}")
        elif high - u < EDGE:
            told.append(f"at the highest value of the search, {float(f.value(high)):.4g}")
        else:
            told.append("")
    return told


def _directions(j: Array) -> tuple[Array, Array]:
    """(undetermined directions as rows, pseudo-inverse of J'J on the others)."""
    if j.shape[1] == 0:
        return np.zeros((0, 0)), np.zeros((0, 0))
    # Each column to unit length first: how strong a parameter is says nothing about whether it is separate.
    length = np.linalg.norm(j, axis=0)
    strongest = float(length.max()) or 1.0
    dead = length < SINGULAR * strongest
    scaled = j / np.where(dead, strongest, length)
    _, s, v = np.linalg.svd(scaled, full_matrices=True)
    s = np.concatenate([s, np.zeros(len(v) - len(s))])
    alive = s > SINGULAR * max(float(s[0]), 1e-300)
    inverse = (v[alive].T / s[alive] ** 2) @ v[alive]
    unit = np.where(dead, strongest, length)
    return v[~alive], inverse / np.outer(unit, unit)


def _null_name(null: Array, k: int, free: Sequence[Free]) -> str:
    """Why a parameter is undetermined, or "" where no undetermined direction contains it."""
    for direction in null:
        if direction[k] ** 2 < SHARE**2:
            continue
        others = [f.name for m, f in enumerate(free) if m != k and direction[m] ** 2 >= SHARE**2]
        if not others:
            return "it has no effect on what was measured"
        return f"only a combination with {', '.join(others)} has an effect on what was measured"
    return ""


def _lag_1(rest: Array) -> float:
    """Correlation of neighbouring residuals, in [0, 0.97]."""
    power = float(rest[:-1] @ rest[:-1])
    rho = float(rest[1:] @ rest[:-1]) / power if power > 0 else 0.0
    return min(max(rho, 0.0), 0.97)


def _window(rest: Array) -> int:
    """Lags to sum over: Andrews' rule for the Bartlett kernel, from the lag-1 correlation; at most a quarter."""
    rho, count = _lag_1(rest), len(rest)
    alpha = 4 * rho**2 / ((1 - rho) ** 2 * (1 + rho) ** 2)
    return min(math.ceil(1.1447 * math.cbrt(alpha * count)), count // 4)


def _long_run(scores: Array, window: int) -> Array:
    """Sum of products of the rows of `scores` over lags up to `window`, Bartlett weights."""
    total = scores.T @ scores
    for lag in range(1, window + 1):
        product = scores[lag:].T @ scores[:-lag]
        total = total + (1 - lag / (window + 1)) * (product + product.T)
    return np.asarray(total, dtype=np.float64)
