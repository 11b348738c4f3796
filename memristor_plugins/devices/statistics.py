"""Laws that statistical cell models share, as pure functions of tensors."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

import torch
from torch import Tensor

from memristor_plugins.errors import SimulationError

DAY = 86_400.0  # s


def polynomial(x: Tensor, coefficients: Sequence[float]) -> Tensor:
    """sum_i c_i x^i of the shape of `x`, coefficients in ascending order (at least one), by Horner's rule."""
    total = torch.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total.mul_(x).add_(coefficient) if not x.requires_grad else total * x + coefficient
    return total


def power_law(g: Tensor, seconds: float, *, nu: Tensor, t0: float) -> Tensor:
    """G(t) = G ((t + t0) / t0)^-nu in siemens: structural relaxation, `seconds` (>= 0) after the first read at t0.

    Args:
        g: conductance at the first read, siemens, any shape.
        nu: drift exponent of each cell, broadcastable to `g`.
        t0: time of the first read after the last pulse, seconds, > 0.
    """
    return g * torch.exp(nu * -math.log1p(seconds / t0))


def accumulated_flicker(seconds: float, *, t_read: float) -> float:
    """sqrt(ln((t + t_r) / (2 t_r))): 1/f noise gathered from programming to t, over its value for ln(...) = 1.

    Args:
        seconds: t, time since the last pulse, > t_read.
        t_read: t_r, length of a read, seconds, > 0.
    """
    return math.sqrt(math.log((seconds + t_read) / (2 * t_read)))


def between(x: float, knots: Sequence[float]) -> tuple[int, float]:
    """(i, f) with x = (1 - f) knots[i] + f knots[i + 1], for x within the ascending knots (at least two)."""
    i = min(max(bisect_right(knots, x) - 1, 0), len(knots) - 2)
    return i, (x - knots[i]) / (knots[i + 1] - knots[i])


def carried(g: Tensor, target: Tensor, then: Tensor, now: Tensor) -> Tensor:
    """What cells hold when their error has moved from `then` to `now`: g + now - then, clipped at zero, siemens.

    A cell that was clipped at zero resumes from what it would hold without the clip, target + then (< 0), so
    that g(t) = max(target + now, 0) for a cell that was written.
    """
    free = torch.where(g > 0, g, torch.minimum(g, target + then))
    return (free + now - then).clamp_min(0.0)


def check_seconds(device: str, seconds: float, *, last: float = math.inf, first: float = 0.0) -> None:
    """Raise SimulationError unless `seconds` is 0 (as programmed) or within what was measured, [first, last]."""
    if not seconds >= 0:
        raise SimulationError(f"a cell has no conductance {seconds:g} s after programming; seconds must be >= 0")
    if seconds == 0 or first <= seconds <= last:
        return
    nearest = first if seconds < first else last
    raise SimulationError(
        f"{device} was measured from {first:g} s to {last:g} s after programming, not at {seconds:g} s; "
        f"the nearest valid time is {nearest:g} s"
    )
