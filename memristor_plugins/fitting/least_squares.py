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

from memristor_plugins.errors import SimulationError
from memristor_plugins.fitting.free import Free
from memristor_plugins.fitting.free import starts as cloud
from memristor_plugins.fitting.side_by_side import descend

Array = NDArray[np.float64]
# [sets, parameters] values in SI units -> [sets, residuals], dimensionless; nan where a set cannot be simulated.
Residuals = Callable[[Array], Array]

# Step of central differences in the search's units. Simulations are good to 1e-6 or so: a smaller step would see
# that error, a larger one the curvature.
STEP = 1e-3
IMPOSSIBLE = 1e6
# Relative changes of cost and parameters at which a polish ends: far below what any interval is wide.
ENOUGH = 1e-7
# scipy begins strictly inside the bounds.
EDGE = 1e-9


@dataclass(frozen=True)
class Solution:
    """A minimum of the sum of squares.

    Args:
        search: the parameters, in the search's units (`Free.search`).
        residuals: there.
        jacobian: of the residuals by the search's units, [residuals, parameters].
        weights: of each residual, 1 unless the loss is robust.
        costs: of each start's search, ascending: how often the same minimum was found.
        evaluations: parameter sets simulated.
    """

    search: Array
    residuals: Array
    jacobian: Array
    weights: Array
    costs: tuple[float, ...]
    evaluations: int


class _Counted:
    """Residuals and their Jacobian at points of the search, from one call where parameter sets share its cost."""

    def __init__(self, residuals: Residuals, free: Sequence[Free], together: bool) -> None:
        self.residuals, self.free, self.together = residuals, free, together
        self.low, self.high = (np.array(b) for b in zip(*(f.bounds for f in free), strict=True))
        self.kept: dict[bytes, Array] = {}
        self.count = 0

    def at(self, points: Array) -> Array:
        """[points, residuals]."""
        self.count += len(points)
        values = np.stack([f.value(points[:, i]) for i, f in enumerate(self.free)], axis=1)
        return self.residuals(values)

    def _shifted(self, u: Array) -> tuple[Array, Array, Array]:
        up, down = np.minimum(u + STEP, self.high), np.maximum(u - STEP, self.low)
        one_by_one = np.eye(len(u), dtype=bool)
        return up, down, np.concatenate([u[None], *(np.where(one_by_one, end, u) for end in (up, down))])

    def one(self, u: Array) -> Array:
        """[residuals]; nan where `u` cannot be simulated."""
        if not self.together:
            return np.asarray(self.at(u[None])[0], dtype=np.float64)
        self.kept = {u.tobytes(): self.at(self._shifted(u)[2])}
        return np.array(self.kept[u.tobytes()][0], dtype=np.float64)

    def tried(self, u: Array) -> Array:
        """For the search: what cannot be simulated is as bad as can be, so that the step is shortened."""
        rest = self.one(u)
        return rest if np.isfinite(rest).all() else np.full_like(rest, IMPOSSIBLE)

    def jacobian(self, u: Array) -> Array:
        """By central differences; where one side cannot be simulated, by the other and the middle."""
        up, down, points = self._shifted(u)
        found = self.kept.pop(u.tobytes(), None)
        if found is None:
            found = self.at(points)
        middle, ahead, behind = found[0], found[1 : len(u) + 1], found[len(u) + 1 :]
        for i in range(len(u)):
            if not np.isfinite(ahead[i]).all():
                ahead[i], up[i] = middle, u[i]
            if not np.isfinite(behind[i]).all():
                behind[i], down[i] = middle, u[i]
            if up[i] == down[i]:
                raise SimulationError(f"no simulation is possible on either side of {self.free[i].name} at {u[i]:g}")
        return np.asarray(((ahead - behind) / (up - down)[:, None]).T, dtype=np.float64)


def minimise(
    residuals: Residuals,
    free: Sequence[Free],
    *,
    coarse: Residuals | None = None,
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
        coarse: cheaper residuals, which the starts are searched with; the best of them is then polished with
            `residuals`. None: there are none.
        starts: how many starts are searched: the given one and the best of the screened. Where residuals are
            `coarse` all are searched side by side, else one after the other.
        screen: how many points of a cloud about the start are looked at, in one batch.
        spread: reach of that cloud, see `free.starts`.
        robust: residuals beyond this count linearly (soft l1); None: squares throughout.
        seed: of the cloud.
        together: many parameter sets cost hardly more than one, so residuals bring their Jacobian along.
        tell: told of each start.

    Raises:
        SimulationError: no start can be simulated.
    """
    from scipy.optimize import least_squares

    fine = _Counted(residuals, free, together)
    search = fine if coarse is None else _Counted(coarse, free, together)

    points = cloud(free, screen, spread, seed)
    screened = np.sum(search.at(points) ** 2, axis=1)
    costs = np.where(np.isfinite(screened), screened, np.inf)
    if not np.isfinite(costs).any():
        raise SimulationError("no start of the search can be simulated; give parameters nearer to the measurement")
    best = [int(i) for i in np.argsort(costs[1:])[: max(starts - 1, 0)] + 1 if np.isfinite(costs[i])]
    begin = points[([0] if np.isfinite(costs[0]) else []) + best]
    if coarse is not None:
        begin, found = descend(search.at, begin, fine.low, fine.high, step=STEP, robust=robust)
        if tell is not None:
            tell(f"{len(begin)} starts searched; sums of squares {', '.join(f'{c:.3g}' for c in np.sort(found))}")
        begin = begin[[int(np.argmin(found))]]
    ends = []
    for number, point in enumerate(begin, start=1):
        end = least_squares(
            fine.tried,
            np.clip(point, fine.low + EDGE, fine.high - EDGE),
            jac=fine.jacobian,
            bounds=(fine.low, fine.high),
            x_scale="jac",
            loss="linear" if robust is None else "soft_l1",
            f_scale=1.0 if robust is None else robust,
            ftol=ENOUGH,
            xtol=ENOUGH,
            max_nfev=60 if coarse is None else 20,
        )
        ends.append(end)
        if tell is not None:
            tell(f"polish {number} of {len(begin)}: sum of squares {2 * end.cost:.4g}")
    ends.sort(key=lambda d: float(d.cost))
    u = np.asarray(ends[0].x, dtype=np.float64)
    rest = fine.one(u)
    weights = np.ones_like(rest) if robust is None else (1 + (rest / robust) ** 2) ** -0.5
    minima = [2 * float(d.cost) for d in ends] if coarse is None else np.sort(found).tolist()
    counted = fine.count + (0 if search is fine else search.count)
    return Solution(u, rest, fine.jacobian(u), weights, tuple(minima), counted)
