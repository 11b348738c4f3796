"""Laws of pulsed update, as pure functions: share u of the range that p identical pulses cross from its start.

Each is stated for one direction. Depression is the same law from the upper bound, with parameters of its own.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def exponential(p: Tensor, a: float) -> Tensor:
    """u = (1 - exp(-p / a)) / (1 - exp(-1 / a)): NeuroSim's law.

    Args:
        p: pulses over those that cross the range; u = 1 beyond 1.
        a: curvature parameter, > 0; a straight line where infinite.
    """
    p = p.clamp_max(1.0)
    return p if math.isinf(a) else torch.expm1(-p / a) / math.expm1(-1 / a)


def exponential_inverse(u: Tensor, a: float) -> Tensor:
    """p = -a ln(1 - u (1 - exp(-1 / a))) of `exponential`, u in [0, 1]."""
    return u if math.isinf(a) else -a * torch.log1p(u * math.expm1(-1 / a))


def nonlinearity(a: float) -> float:
    """NL = 10.10 max |f(p) - p| on normalised axes, of the exponential law; 0 for a straight line."""
    if math.isinf(a):
        return 0.0
    full = -math.expm1(-1 / a)
    p = -a * math.log(a * full)  # where the slope is one
    return 10.10 * (-math.expm1(-p / a) / full - p)


def curvature(label: float) -> float:
    """The parameter a of the exponential law whose nonlinearity is `label`, in [0, 10); infinite for 0."""
    if label == 0:
        return math.inf
    low, high = math.log(1e-4), math.log(1e5)
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if nonlinearity(math.exp(middle)) > label else (low, middle)
    return math.exp((low + high) / 2)


def soft_bounds(p: Tensor, step: float) -> Tensor:
    """u = 1 - (1 - step)^p, of the recurrence u += step (1 - u), 0 < step < 1."""
    return -torch.expm1(p * math.log1p(-step))


def soft_bounds_inverse(u: Tensor, step: float) -> Tensor:
    """p of `soft_bounds`; u is kept below one, which no number of pulses reaches."""
    return torch.log1p(-u.clamp_max(1 - 1e-6)) / math.log1p(-step)


def linear_step(p: Tensor, step: float, slope: float) -> Tensor:
    """u of the recurrence u += step (1 - slope w), w = 2u - 1, up to the hard bound u = 1.

    w(p) = (1 - (1 + slope) r^p) / slope with r = 1 - 2 step slope.

    Args:
        step: share of the range of a pulse in the middle, > 0.
        slope: how much a pulse shrinks from the middle to the bound, in [0, 1]; 1 is soft bounds.
    """
    if slope < 1e-9:
        return (step * p).clamp_max(1.0)
    w = (1 - (1 + slope) * torch.exp(p * math.log1p(-2 * step * slope))) / slope
    return ((w + 1) / 2).clamp(0.0, 1.0)


def linear_step_inverse(u: Tensor, step: float, slope: float) -> Tensor:
    """p of `linear_step`; with slope one, u is kept below one, which no number of pulses reaches."""
    if slope < 1e-9:
        return u / step
    left = ((1 - slope * (2 * u - 1)) / (1 + slope)).clamp_min(1e-6)
    return left.log() / math.log1p(-2 * step * slope)


def exp_step(u: float, *, step: float, amplitude: float, exponent: float, a: float, b: float) -> float:
    """One pulse at u: step max(1 - A exp(gamma z), 0), z = a w + b, w = 2u - 1."""
    return step * max(1 - amplitude * math.exp(exponent * (a * (2 * u - 1) + b)), 0.0)


def pow_step(u: float, *, step: float, exponent: float) -> float:
    """One pulse at u: step (1 - u)^gamma."""
    return step * math.pow(max(1 - u, 0.0), exponent)
