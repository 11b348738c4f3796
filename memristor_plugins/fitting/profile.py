"""A second look at parameters that go together: would a value far away fit as well?

Intervals are from the slope at the minimum. Where two parameters all but move along one line, and that line is curved,
the minimum may lie where it looks determined and be no better than one far off: a x sinh(b V) with b V small holds
nothing but the product a b. A parameter that is strongly correlated with another is therefore held a factor of ten away
to either side, the others are fitted anew, and the sum of squares decides by its F test.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from memristor_plugins.errors import SimulationError
from memristor_plugins.fitting.free import Free
from memristor_plugins.fitting.intervals import CONFIDENCE, UNKNOWN, Inference
from memristor_plugins.fitting.least_squares import Solution, minimise

Array = NDArray[np.float64]

# Correlation beyond which a parameter is looked at again.
TOGETHER = 0.9


def looked_at_again(
    inference: Inference,
    solution: Solution,
    free: Sequence[Free],
    residuals: Callable[[Array], Array],
    *,
    together: bool,
) -> Inference:
    """The same, with parameters called unidentifiable that a value far away fits as well.

    Args:
        inference, solution: of the fit.
        free: its parameters.
        residuals, together: as given to `minimise`.
    """
    estimates = list(inference.estimates)
    correlation = np.abs(np.nan_to_num(inference.correlation)) * (1 - np.eye(len(free)))
    for i in np.flatnonzero(correlation.max(axis=0, initial=0.0) > TOGETHER).tolist():
        if estimates[i].nuisance:
            continue
        elsewhere = _as_good(i, solution, free, residuals, together=together)
        if elsewhere is not None:
            others = ", ".join(free[k].name for k in np.flatnonzero(correlation[i] > TOGETHER).tolist())
            reason = f"{elsewhere:.3g} fits as well, with another value of {others}"
            estimates[i] = replace(estimates[i], low=None, high=None, status="unidentifiable", reason=reason)
    if all(new is old for new, old in zip(estimates, inference.estimates, strict=True)):
        return inference
    lost = [k for k, e in enumerate(estimates) if e.status != "identified"]
    kept = inference.correlation.copy()
    kept[lost], kept[:, lost] = np.nan, np.nan
    return replace(inference, estimates=tuple(estimates), correlation=kept)


def _as_good(
    i: int, solution: Solution, free: Sequence[Free], residuals: Callable[[Array], Array], *, together: bool
) -> float | None:
    """A value of parameter `i` far from its minimum that fits as well; None: there is none."""
    from scipy.stats import f as fisher

    best = float(np.sum(solution.weights * solution.residuals**2))
    freedom = max(len(solution.residuals) - len(free), 1)
    worst = best * (1 + float(fisher.ppf(CONFIDENCE, 1, freedom)) / freedom)
    low, high = free[i].bounds
    moved = [replace(f, start=float(f.value(u))) for f, u in zip(free, solution.search, strict=True)]
    rest = [f for k, f in enumerate(moved) if k != i]
    for step in (-UNKNOWN, UNKNOWN):
        u = float(np.clip(solution.search[i] + step, low, high))
        if abs(u - solution.search[i]) < 0.5 * UNKNOWN:
            continue
        value = float(free[i].value(u))

        def held(points: Array, value: float = value) -> Array:
            return residuals(np.insert(points, i, value, axis=1))

        try:
            found = minimise(held, rest, starts=1, screen=1, together=together)
        except SimulationError:
            continue
        if float(np.sum(found.residuals**2)) <= worst:
            return value
    return None
