"""Uniform quantisation over a range, and the range that signals ask for. Shared by DAC and ADC."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

Signed = Literal["auto", "signed", "unsigned"]

TINY = torch.finfo(torch.float32).tiny


class Codes(NamedTuple):
    """Codes of a converter: `first` to `last`, `step` apart, zero among them; signals are clipped to [low, high]."""

    first: int
    last: int
    step: float
    low: float
    high: float


def codes(bits: int, full_scale: Tensor) -> Codes:
    """What a converter of `bits` bits over [low, high] (shape [2], low <= 0) can report.

    low = 0: 2^bits codes from zero, step high / (2^bits - 1). low = -high: 2^bits - 1 codes symmetric about zero, step
    high / (2^(bits-1) - 1). Else 2^bits codes, step (high - low) / (2^bits - 1), moved by less than half a step so that
    zero is one of them.
    """
    # Plain numbers: element-wise kernels with tensor bounds are several times slower.
    low, high = full_scale.tolist()
    if low == 0:
        last = 2**bits - 1
        return Codes(0, last, max(high / last, TINY), 0.0, high)
    if low == -high:
        last = 2 ** (bits - 1) - 1
        return Codes(-last, last, max(high / last, TINY), low, high)
    step = max((high - low) / (2**bits - 1), TINY)
    first = round(low / step)
    last = 2**bits - 1 + first
    return Codes(first, last, step, first * step, last * step)


def quantise(x: Tensor, bits: int, full_scale: Tensor) -> Tensor:
    """Nearest code of `x`; values outside the range saturate.

    Gradients go straight through rounding. For x: 1 within the range, 0 where the converter saturates. For the range,
    which is scaled as a whole (on `full_scale[1]`): high dq/dhigh = q - x within the range, q where it saturates: the
    step's gradient of LSQ (Esser et al. 2020, arXiv:1902.08153, eq. 3) times the step; where it saturates, PACT's
    (Choi et al. 2018, arXiv:1805.06085, eq. 3).
    """
    if torch.is_grad_enabled() and (x.requires_grad or full_scale.requires_grad):
        quantised: Tensor = _Quantise.apply(x, full_scale, bits)  # type: ignore[no-untyped-call]
        return quantised
    return _nearest(x, codes(bits, full_scale))


def quantise_(x: Tensor, bits: int, full_scale: Tensor) -> Tensor:
    """The same, without gradients and in place: no memory that the cache does not hold yet."""
    to = codes(bits, full_scale)
    return x.clamp_(to.low, to.high).mul_(1.0 / to.step).round_().mul_(to.step)


def _nearest(x: Tensor, to: Codes) -> Tensor:
    return x.clamp(to.low, to.high).mul_(1.0 / to.step).round_().mul_(to.step)


class _Quantise(torch.autograd.Function):
    """One function: four passes forward and one backward, and only the input kept, which is an activation anyway."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, full_scale: Tensor, bits: int) -> Tensor:
        ctx.to = codes(bits, full_scale.detach())
        quantised = _nearest(x, ctx.to)
        ctx.learned = ctx.needs_input_grad[1]
        ctx.save_for_backward(x, *((quantised, full_scale) if ctx.learned else ()))
        return quantised

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, *more = ctx.saved_tensors
        low, high = ctx.to.low, ctx.to.high
        need_x = ctx.needs_input_grad[0]
        passed = torch.ops.aten.hardtanh_backward(grad, x, low, high) if need_x or ctx.learned else None
        if not ctx.learned:
            return passed, None, None
        quantised, full_scale = more
        slope = (grad * quantised - passed * x).sum(dtype=torch.float32) / max(high, TINY)
        grad_range = torch.stack((torch.zeros_like(slope), slope)).to(full_scale.dtype)
        return passed if need_x else None, grad_range, None


def observed_range(x: Tensor, percentile: float, signed: Signed) -> Tensor:
    """Range [low, high] that covers `percentile` percent of |x|; symmetric where negative values occur.

    Args:
        x: signals of any shape; at most 2^20 evenly spaced values of it are looked at below 100 percent.
        percentile: 100 takes the maximum; so does any where nearly all signals are zero.
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
        if not high:  # rarer than the percentile, but signals: a range of zero would lose them all
            high = magnitude.max()
    return torch.stack((-high if negative else torch.zeros_like(high), high))
