"""Successive approximation on a binary-weighted capacitor array."""

from __future__ import annotations

import torch
from torch import Generator, Tensor


def sample_capacitors(bits: int, std: float, shape: tuple[int, ...], generator: Generator) -> Tensor:
    """What each bit of each converter weighs, in LSB, [bits, *shape], least significant first.

    Capacitor i is 2^i unit capacitors, each off by an independent normal of relative deviation `std`: its own deviation
    is std 2^(i/2). A bit weighs (2^bits - 1) C_i / sum_j C_j, so that the first and last levels are where they should
    be: gain and offset are errors of their own.

    With T = 2^bits - 1, level k holds k of T unit capacitors, so that its integral nonlinearity, in LSB, has the
    deviation std sqrt(k (T - k) / T): std sqrt(T) / 2 at mid-scale. There the step from 0111... to 1000... is
    C_(bits-1) - sum_(j<bits-1) C_j, and its differential nonlinearity has std sqrt(T), the largest. (To first order in
    std, and to 1/T in the second.)
    """
    nominal = 2.0 ** torch.arange(bits).view(-1, *[1] * len(shape))
    drawn = torch.randn((bits, *shape), generator=generator)
    capacitors = nominal.sqrt().mul(std).mul(drawn).add(nominal).clamp_min_(0)
    return capacitors * ((2.0**bits - 1) / capacitors.sum(dim=0).clamp_min(torch.finfo(torch.float32).tiny))


def approximate(x: Tensor, weights: Tensor) -> Tensor:
    """Codes that successive approximation finds for `x` in LSB: ideally floor(x + 1/2) within 0 ... 2^bits - 1.

    From the most significant bit down, a bit is kept where what is left of x + 1/2 reaches its weight. Levels that
    mismatch has put out of order are then never reported, as in the circuit.

    Args:
        x: [...], any shape.
        weights: [bits, ...], each broadcastable to x.
    """
    rest, code = x.add(0.5).clamp_(-1.0, 2.0 ** weights.shape[0]), torch.zeros_like(x)
    kept = torch.empty_like(x)
    for bit in range(weights.shape[0] - 1, -1, -1):
        torch.ge(rest, weights[bit], out=kept)
        rest.addcmul_(kept, weights[bit], value=-1)
        code.add_(kept, alpha=2.0**bit)
    return code.add_(rest, alpha=0.0)  # not a number stays none
