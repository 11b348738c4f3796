"""Monotonic curves given by points: interpolated, and inverted exactly."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def locate(x: Tensor, xs: Tensor) -> tuple[Tensor, Tensor]:
    """Where `x` lies among ascending points `xs` (shape [n], n >= 2): (i, f), between points i - 1 and i, f in [0, 1].

    Values beyond the ends are taken to the ends. Both results have the shape of `x`.
    """
    xs = xs.to(x)
    x = x.clamp(xs[0], xs[-1])
    i = torch.searchsorted(xs, x.detach().contiguous(), right=True).clamp_(1, xs.numel() - 1)
    low = xs[i - 1]
    # Points that coincide after rounding to the dtype of x are one point.
    return i, (x - low) / (xs[i] - low).clamp_min(torch.finfo(x.dtype).tiny)


def value_at(place: tuple[Tensor, Tensor], ys: Tensor) -> Tensor:
    """y between the points of `place` (from `locate`), linear; `ys` of shape [n]."""
    i, share = place
    ys = ys.to(share)
    return torch.lerp(ys[i - 1], ys[i], share)


def on_grid(x: Tensor, ys: Tensor) -> Tensor:
    """y between points that divide [0, 1] evenly, linear; `x`, any shape, is taken into [0, 1]; `ys` [n], n >= 2."""
    ys = ys.to(x)
    scaled = x.clamp(0.0, 1.0) * (ys.numel() - 1)
    i = scaled.detach().long().clamp_(max=ys.numel() - 2)
    return torch.lerp(ys[i], ys[i + 1], scaled - i)


def interpolate(x: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
    """Piecewise linear y(x) through points, of the shape, dtype and device of `x`; constant beyond the ends.

    Args:
        x: any shape.
        xs: ascending, shape [n], n >= 1.
        ys: shape [n].
    """
    if xs.numel() == 1:
        return ys.to(x).expand(x.shape).clone()
    return value_at(locate(x, xs), ys)


def trajectory(step: Callable[[float], float], *, longest: int, end: float = 1.0) -> tuple[Tensor, Tensor]:
    """Pulse numbers and shares u of the range from u = 0, by the exact recurrence u += step(u), float64.

    Ends where u reaches `end`, where a step is below 1e-9, or after `longest` pulses.
    """
    shares = [0.0]
    while len(shares) <= longest and shares[-1] < end:
        change = step(shares[-1])
        if change < 1e-9:
            break
        shares.append(shares[-1] + change)
    # The last pulse may overshoot the bound: keep the part of it that counts, so that the curve has no kink.
    pulses = torch.arange(len(shares), dtype=torch.float64)
    if shares[-1] > end and len(shares) > 1:
        pulses[-1] = len(shares) - 2 + (end - shares[-2]) / (shares[-1] - shares[-2])
        shares[-1] = end
    return pulses, torch.tensor(shares, dtype=torch.float64)
