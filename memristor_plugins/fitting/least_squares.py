"""Least squares over batches of parameter sets.

A model evaluates many parameter sets at once, as devices side by side in one simulation: a Jacobian by central
differences then costs one call, little more than the residual itself, and needs no memory of past steps, as reverse
differentiation does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from memristor_plugins.errors import SimulationError
from memristor_plugins.fitting.free import Free
from memristor_plugins.fitting.free import starts as cloud

Array = NDArray[np.float64]
# [sets, parameters] values in SI units -> [sets, residuals], dimensionless; nan where a set cannot be simulated.
Residuals = Callable[[Array], Array]

# Step of central differences in the search's units. Simulations are good to 1e-6 or so: a smaller step would see
# that error, a larger one the curvature.
STEP = 1e-3
IMPOSSIBLE = 1e6


@dataclass(frozen=True)
class Solution:
    """A minimum of the sum of squares.

    Args:
        search: the parameters, in the search's units (`Free.search`).
        residuals: there.
        jacobian: of the residuals by the search's units, [residuals, parameters].
        weights: of each residual, 1 unless the loss is robust.
        costs: of each polished start, ascending: how often the same minimum was found.
        evaluations: parameter sets simulated.
    """

    search: Array
    residuals: Array
    jacobian: Array
    weights: Array
    costs: tuple[float, ...]
    evaluations: int


def minimise(
    residuals: Residuals,
    free: Sequence[Free],
    *,
    starts: int = 3,
    screen: int = 64,
    spread: float = 1.5,
    robust: float | None = None,
    seed: int = 0,
    together: bool = False,
    tell: Callable[[str], None] | None = None,
) -> Solution:
    """The best minimum from several starts, by a trust region within bounds.

    Args:
        residuals: see `Residuals`.
        free: the parameters.
        starts: how many starts are polished: the given one and the best of the screened.
        screen: how many points of a cloud about the start are looked at, in one batch.
        spread: reach of that cloud, see `free.starts`.
        robust: residuals beyond this count linearly (soft l1); None: squares throughout.
        seed: of the cloud.
        together: many parameter sets cost hardly more than one, so residuals bring their Jacobian along.
        tell: told of each polished start.

    Raises:
        SimulationError: no start can be simulated.
    """
    counted = 0

    def at(points: Array) -> Array:
        nonlocal counted
        counted += len(points)
        values = np.stack([f.value(points[:, i]) for i, f in enumerate(free)], axis=1)
        return residuals(values)

    low, high = (np.array(b) for b in zip(*(f.bounds for f in free), strict=True))
    kept: dict[bytes, Array] = {}

    def jacobian(u: Array) -> Array:
        """By central differences; where one side cannot be simulated, by the other and the middle."""
        up, down = np.minimum(u + STEP, high), np.maximum(u - STEP, low)
        shifted = [np.where(np.eye(len(u), dtype=bool), end, u) for end in (up, down)]
        found = kept.pop(u.tobytes(), None)
        if found is None:
            found = at(np.concatenate([u[None], *shifted]))
        middle, ahead, behind = found[0], found[1 : len(u) + 1], found[len(u) + 1 :]
        for i in range(len(u)):
            if not np.isfinite(ahead[i]).all():
                ahead[i], up[i] = middle, u[i]
            if not np.isfinite(behind[i]).all():
                behind[i], down[i] = middle, u[i]
            if up[i] == down[i]:
                raise SimulationError(f"no simulation is possible on either side of {free[i].name} at {u[i]:g}")
        return np.asarray(((ahead - behind) / (up - down)[:, None]).T, dtype=np.float64)

    def one(u: Array) -> Array:
        if not together:
            return at(u[None])[0]
        up, down = np.minimum(u + STEP, high), np.maximum(u - STEP, low)
        shifted = [np.where(np.eye(len(u), dtype=bool), end, u) for end in (up, down)]
        kept.clear()
        kept[u.tobytes()] = at(np.concatenate([u[None], *shifted]))
        return kept[u.tobytes()][0].copy()

    def tried(u: Array) -> Array:
        """For the search: what cannot be simulated is as bad as can be, so that the step is shortened."""
        rest = one(u)
        return rest if np.isfinite(rest).all() else np.full_like(rest, IMPOSSIBLE)

    points = cloud(free, screen, spread, seed)
    screened = np.sum(at(points) ** 2, axis=1)
    costs = np.where(np.isfinite(screened), screened, np.inf)
    if not np.isfinite(costs).any():
        raise SimulationError("no start of the search can be simulated; give parameters nearer to the measurement")
    best = [int(i) for i in np.argsort(costs[1:])[: max(starts - 1, 0)] + 1 if np.isfinite(costs[i])]
    begin = ([0] if np.isfinite(costs[0]) else []) + best
    found = []
    for number, index in enumerate(begin):
        done = least_squares(
            tried,
            points[index],
            jac=jacobian,
            bounds=(low, high),
            x_scale="jac",
            loss="linear" if robust is None else "soft_l1",
            f_scale=1.0 if robust is None else robust,
            ftol=1e-10,
            xtol=1e-8,
            max_nfev=60,
        )
        found.append(done)
        if tell is not None:
            tell(f"start {number + 1} of {len(begin)}: sum of squares {2 * done.cost:.4g}")
    found.sort(key=lambda d: float(d.cost))
    u = np.asarray(found[0].x, dtype=np.float64)
    rest = one(u)
    weights = np.ones_like(rest) if robust is None else (1 + (rest / robust) ** 2) ** -0.5
    return Solution(u, rest, jacobian(u), weights, tuple(2 * float(d.cost) for d in found), counted)
