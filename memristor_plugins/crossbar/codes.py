"""Sums turned into codes of a uniform converter and added up: op by op, or in one compiled pass over memory.

The sums of all reads are added as codes, and multiplied by the converter's step once.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from memristor_plugins.crossbar.noise import NormalSource
from memristor_plugins.interfaces.normals import SMALL, WINDOW, pool

# Below so many sums a compiled pass costs more to call than it saves.
WORTHWHILE = 1 << 14


class Uniform(NamedTuple):
    """A converter x -> step * round(clip(x, low, high) / step), and how its codes may be added.

    Args:
        compiled: in a compiled pass.
        merged: banks may be added up, since digital arithmetic treats all alike.
    """

    low: float
    high: float
    step: float
    compiled: bool
    merged: bool


def add_codes(
    total: Tensor | None,
    raw: Tensor,
    squares: Tensor | None,
    gains: Tensor | None,
    normals: NormalSource,
    to: Uniform,
) -> Tensor:
    """total + the codes of one read's sums, in place where there is a total.

    Args:
        total: codes so far [batch, pixels, groups * converters, banks or 1, lines], or None for the first read.
        raw: sums [batch, pixels, groups * converters, banks, nodes, lines], dense; may be overwritten.
        squares: variances of the read noise, of the same shape, over the squared nominal gain, may be overwritten;
            None: no noise.
        gains: [batch, banks, nodes]; None: one node, gain one.
    """
    if to.compiled and raw.numel() >= WORTHWHILE and _compiles(raw, squares, gains, to):
        done = _compiled(total, raw, squares, gains, normals, to)
        if done is not None:
            return done
    sums = weigh(full(raw), gains)
    if squares is not None:
        sums = normals.add_(sums, deviation(squares, gains, sums.dtype))
    sums = sums.clamp_(to.low, to.high).mul_(1.0 / to.step).round_()
    if total is None:
        return sums
    return total.add_(sums if sums.shape == total.shape else sums.sum(dim=-2, keepdim=True))


def weigh(sums: Tensor, gains: Tensor | None) -> Tensor:
    """[batch, ..., banks, nodes, lines] -> the same without nodes, weighed by gains [batch, banks, nodes]."""
    if gains is None:
        return sums.squeeze(-2)
    g = spread(gains, sums.dim()).to(sums.dtype)
    weighed = sums[..., 0, :] * g[..., 0, :]
    for node in range(1, sums.shape[-2]):
        weighed = torch.addcmul(weighed, sums[..., node, :], g[..., node, :])
    return weighed


def deviation(squares: Tensor, gains: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Standard deviation of sums whose variances at each node are `squares`."""
    # Variances are told over the squared nominal gain, which the weights of the nodes add up to.
    variance = weigh(squares.to(dtype), None if gains is None else gains * gains.sum(dim=-1, keepdim=True))
    if squares.shape[-2] > 1:
        variance = variance.clamp_min_(0)  # interpolation weights have either sign
    return variance.sqrt_()


def spread(gains: Tensor, dim: int) -> Tensor:
    """[batch, banks, nodes] -> [batch, 1, ..., banks, nodes, 1] of `dim` axes."""
    return gains.reshape(gains.shape[0], *[1] * (dim - 4), *gains.shape[1:], 1)


def full(x: Tensor) -> Tensor:
    """In float32 at least: converters round sums finer than half precision holds them."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


# -- compiled --------------------------------------------------------------------------------------------------------


def _pass(
    total: Tensor | None,
    raw: Tensor,
    squares: Tensor | None,
    gains: Tensor | None,
    power: Tensor | None,
    one: Tensor | None,
    other: Tensor | None,
    numbers: Tensor,
) -> Tensor:
    """`add_codes` as one expression. Noise comes from outside: a compiled region takes no generator.

    Args:
        gains, power: [batch, 1, banks, nodes, 1], for sums and variances.
        one, other: normals, mixed by the last two of `numbers`, as `interfaces/normals.py` says.
        numbers: low, high, 1 / step, cosine, sine.
    """
    codes: Tensor | None = None
    # Without gains everything is flat, and all banks are one.
    for bank in range(1 if gains is None else gains.shape[2]):
        x = _bank(raw, gains, bank)
        if squares is not None and one is not None and other is not None:
            n = one if gains is None else one[:, :, bank]
            m = other if gains is None else other[:, :, bank]
            x = x + _bank(squares, power, bank).clamp_min(0).sqrt() * (n * numbers[3] + m * numbers[4])
        x = (x.clamp(numbers[0], numbers[1]) * numbers[2]).round()
        codes = x if codes is None else codes + x
    assert codes is not None, "a layer has at least one bank"
    if total is None:
        # Over the sums, where they are of one shape: memory that the cache holds.
        return raw.copy_(codes) if gains is None and raw.dtype == codes.dtype else codes
    return total.add_(codes)


def _bank(values: Tensor, factors: Tensor | None, bank: int) -> Tensor:
    """The sum over nodes of one bank's `values` times `factors`."""
    if factors is None:
        return values.float()
    total = values[:, :, bank, 0].float() * factors[:, :, bank, 0]
    for node in range(1, values.shape[3]):
        total = total + values[:, :, bank, node].float() * factors[:, :, bank, node]
    return total


class _Compiled:
    """`_pass` under torch.compile, until it fails once."""

    def __init__(self) -> None:
        self.kernel: Callable[..., Tensor] | None = None
        self.failed = False

    def __call__(self, *tensors: Tensor | None) -> Tensor | None:
        """The pass, or None where it cannot be compiled here; warns once."""
        if self.failed:
            return None
        if self.kernel is None:
            # One kernel for each variant: with noise or without, of so many banks and nodes, in each precision.
            torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 64)
            self.kernel = torch.compile(_pass, dynamic=True, fullgraph=True)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of torch's own parts, at each compilation
                return self.kernel(*tensors)
        except RuntimeError as error:  # what dynamo, inductor and a missing C++ compiler raise, before anything ran
            self.failed = True
            reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
            warnings.warn(
                f"compile=true: torch.compile does not work here, layers run eagerly: {reason[:160]}", stacklevel=2
            )
            return None


compiled_pass = _Compiled()


def _compiles(raw: Tensor, squares: Tensor | None, gains: Tensor | None, to: Uniform) -> bool:
    """The compiled pass covers these: float32 arithmetic, and normals of one window of the pool."""
    count = raw.numel() // raw.shape[-2]
    if raw.dtype == torch.float64 or (gains is not None and not to.merged):
        return False
    return squares is None or (raw.device.type == "cpu" and SMALL <= count <= WINDOW)


def _compiled(
    total: Tensor | None,
    raw: Tensor,
    squares: Tensor | None,
    gains: Tensor | None,
    normals: NormalSource,
    to: Uniform,
) -> Tensor | None:
    batch, pixels, groups, banks, nodes, lines = raw.shape
    if gains is None and to.merged and banks > 1:
        gains = raw.new_ones(1, banks, 1, dtype=torch.float32).expand(batch, -1, -1)
    shape: tuple[int, ...] = (batch, pixels * groups, banks, lines)
    inputs: tuple[int, ...] = (batch, pixels * groups, banks, nodes, lines)
    sums: tuple[int, ...] = (batch, pixels * groups, lines)
    factors = power = one = other = None
    if gains is None:
        shape = inputs = sums = (-1,)  # no axis matters: one kernel serves all layers
    else:
        factors = gains.detach().float()[:, None, :, :, None]
        power = factors * factors.sum(dim=-2, keepdim=True)
    cosine = sine = 0.0
    if squares is not None:
        count = raw.numel() // nodes
        first, second, angle = normals.window(count)
        one, other = pool()[first : first + count].view(shape), pool()[second : second + count].view(shape)
        cosine, sine = math.cos(angle), math.sin(angle)
    done = compiled_pass(
        None if total is None else total.view(sums),
        raw.view(inputs),
        None if squares is None else squares.view(inputs),
        factors,
        power,
        one,
        other,
        torch.tensor([to.low, to.high, 1.0 / to.step, cosine, sine], device=raw.device),
    )
    return None if done is None else done.view(batch, pixels, groups, banks if gains is None else 1, lines)
