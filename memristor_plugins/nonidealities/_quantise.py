"""Uniform quantisation over a calibrated range, and how that range is calibrated. Shared by DAC and ADC."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

Signed = Literal["auto", "signed", "unsigned"]


def step_size(bits: int, full_scale: Tensor) -> Tensor:
    """Distance of two codes, in the units of the range [low, high] (shape [2]).

    Unsigned (low = 0): high / (2^bits - 1). Signed: symmetric about zero with 2^bits - 1 codes, so that zero is one:
    high / (2^(bits-1) - 1).
    """
    low, high = full_scale[0], full_scale[1]
    steps = torch.where(low < 0, 2.0 ** (bits - 1) - 1.0, 2.0**bits - 1.0)
    return torch.clamp_min(high / steps, torch.finfo(torch.float32).tiny)


def quantise(x: Tensor, bits: int, full_scale: Tensor) -> Tensor:
    """Nearest code of `x` within [low, high]; values outside saturate.

    The gradient passes straight through rounding and is zero where the converter saturates.
    """
    # Plain numbers: element-wise kernels with tensor bounds are several times slower.
    low, high, step = (float(v) for v in (*full_scale, step_size(bits, full_scale)))
    if not (torch.is_grad_enabled() and x.requires_grad):
        return x.clamp(low, high).mul_(1.0 / step).round_().mul_(step)
    clipped = torch.nn.functional.hardtanh(x, low, high)
    rounded: Tensor = _Round.apply(clipped, step)  # type: ignore[no-untyped-call]
    return rounded


class _Round(torch.autograd.Function):
    """Multiples of a step; the gradient passes straight through. A function of its own: three passes, none saved."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, step: float) -> Tensor:
        return x.mul(1.0 / step).round_().mul_(step)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


def observed_range(x: Tensor, percentile: float, signed: Signed) -> Tensor:
    """Range [low, high] that covers `percentile` percent of |x|; symmetric where negative values occur.

    Args:
        x: signals of any shape; at most 2^20 evenly spaced values of it are looked at below 100 percent.
        percentile: 100 takes the maximum.
        signed: `auto` looks at the sign of the smallest value.
    """
    flat = x.detach().reshape(-1).float()
    negative = bool(flat.min() < 0) if signed == "auto" else signed == "signed"
    magnitude = flat.abs() if negative else flat.clamp_min(0)
    if percentile >= 100.0:
        high = magnitude.max()
    else:
        stride = max(1, magnitude.numel() >> 20)
        sample = magnitude[::stride]
        rank = min(sample.numel(), max(1, round(sample.numel() * percentile / 100.0)))
        high = sample.kthvalue(rank).values
    return torch.stack((-high if negative else torch.zeros_like(high), high))
