"""Many searches in step with each other: a Levenberg-Marquardt descent of a batch of starts.

A simulation of 300 devices costs hardly more than one of a single device, so a dozen starts and all the shifted
parameter sets of their Jacobians share one call an iteration. scipy, which polishes the best of them, takes one start
at a time.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ITERATIONS = 40
# A search that gained less than this part of its cost in its last accepted steps is over.
GAIN = 1e-4
PATIENCE = 3
# Longest step of one parameter in the search's units: a factor e.
LONGEST = 1.0


def descend(
    residuals: Callable[[Array], Array],
    points: Array,
    low: Array,
    high: Array,
    *,
    step: float,
    robust: float | None = None,
) -> tuple[Array, Array]:
    """Points of lower cost from each start: (points [starts, parameters], costs [starts]), in the order given.

    Args:
        residuals: [sets, parameters] -> [sets, residuals]; nan where a set cannot be simulated.
        points: starts, [starts, parameters], each of which can be simulated.
        low, high: bounds.
        step: of central differences.
        robust: residuals beyond this count linearly (soft l1); None: squares throughout.
    """
    u, (rest, jacobian) = points.copy(), _expand(residuals, points, low, high, step)
    costs = _cost(rest, robust)
    damping = np.full(len(u), 1e-2)
    patience = np.full(len(u), PATIENCE)
    for _ in range(ITERATIONS):
        tried = np.clip(u + _steps(u, rest, jacobian, damping, low, high, robust), low, high)
        new_rest, new_jacobian = _expand(residuals, tried, low, high, step)
        new_costs = _cost(new_rest, robust)
        better = new_costs < costs
        small = better & (costs - new_costs < GAIN * costs)
        patience = np.where(small | (~better & (damping > 1e6)), patience - 1, np.where(better, PATIENCE, patience))
        damping = np.where(better, damping / 5, damping * 4).clip(1e-9, 1e9)
        u[better], rest[better], jacobian[better] = tried[better], new_rest[better], new_jacobian[better]
        costs = np.where(better, new_costs, costs)
        if (patience <= 0).all():
            break
    return u, costs


def _expand(residuals: Callable[[Array], Array], u: Array, low: Array, high: Array, step: float) -> tuple[Array, Array]:
    """Residuals [starts, residuals] and Jacobians [starts, residuals, parameters]; 0 where neither side is possible."""
    starts, size = u.shape
    up, down = np.minimum(u + step, high), np.maximum(u - step, low)
    shifted = np.repeat(u[:, None], 2 * size + 1, axis=1)
    for i in range(size):
        shifted[:, 1 + i, i], shifted[:, 1 + size + i, i] = up[:, i], down[:, i]
    found = residuals(shifted.reshape(-1, size)).reshape(starts, 2 * size + 1, -1)
    middle = found[:, 0]
    ahead, behind = found[:, 1 : size + 1], found[:, size + 1 :]
    no_ahead, no_behind = (np.isnan(np.asarray(0 * side.sum(-1), dtype=np.float64)) for side in (ahead, behind))
    ahead = np.where(no_ahead[..., None], middle[:, None], ahead)
    behind = np.where(no_behind[..., None], middle[:, None], behind)
    width = np.where(no_ahead, u, up) - np.where(no_behind, u, down)
    slope = (ahead - behind) / np.where(width > 0, width, 1.0)[..., None]
    return middle, np.nan_to_num(slope).transpose(0, 2, 1)


def _cost(rest: Array, robust: float | None) -> Array:
    with np.errstate(invalid="ignore"):
        squares = rest**2 if robust is None else 2 * robust**2 * (np.sqrt(1 + (rest / robust) ** 2) - 1)
        total = squares.sum(-1)
    return np.where(np.isfinite(total), total, np.inf)


def _steps(
    u: Array, rest: Array, jacobian: Array, damping: Array, low: Array, high: Array, robust: float | None
) -> Array:
    """Marquardt's steps; a parameter at a bound that its gradient pushes it beyond stays there."""
    weight = np.ones_like(rest) if robust is None else (1 + (rest / robust) ** 2) ** -0.5
    weighted = jacobian * weight[..., None]
    gradient = np.einsum("srp,sr->sp", weighted, rest)
    stuck = ((u <= low) & (gradient > 0)) | ((u >= high) & (gradient < 0))
    normal = np.einsum("srp,srq->spq", weighted, jacobian)
    normal = np.where(stuck[:, :, None] | stuck[:, None, :], 0.0, normal)
    gradient = np.where(stuck, 0.0, gradient)
    diagonal = np.einsum("spp->sp", normal)
    # A parameter without effect must not move, nor make the system singular.
    floor = 1e-12 * np.maximum(diagonal.max(-1, keepdims=True), 1e-300)
    extra = damping[:, None] * np.maximum(diagonal, floor) + floor
    system = normal + extra[:, :, None] * np.eye(u.shape[1])
    return np.clip(-np.linalg.solve(system, gradient[..., None])[..., 0], -LONGEST, LONGEST)
