"""Noise of reads that follow each other: part of it lasts for some reads, the rest is new each time.

A stationary Gaussian process of standard deviation sigma with correlation c phi^k between reads k apart (k >= 1):
a first-order autoregressive part of variance c sigma^2 and white noise. c and phi follow from the correlations at
lags 1 and 10. A cell is only known by a record of n reads, and taking its mean away hides slow noise; the fit
accounts for that exactly.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Generator, Tensor

LAGS = (1, 10)


class ReadProcess(NamedTuple):
    """Standard deviation of a single read about the cell's own conductance, and correlations at lags 1 and 10."""

    std: float
    lag_1: float
    lag_10: float

    @property
    def decay(self) -> float:
        """phi: how much of the lasting part is left from one read to the next."""
        if self.lag_1 <= 0 or self.lag_10 <= 0:
            return 0.0
        return min(math.pow(self.lag_10 / self.lag_1, 1 / 9), 1.0)

    @property
    def lasting(self) -> float:
        """c: share of the variance that lasts."""
        return min(self.lag_1 / self.decay, 1.0) if self.decay > 0 else max(self.lag_1, 0.0)


def noise(
    shape: torch.Size | tuple[int, ...],
    count: int,
    *,
    lasting: Tensor | float,
    decay: Tensor | float,
    generator: Generator,
) -> Tensor:
    """Unit-variance noise of `count` reads in a row, [count, *shape], float32 on the generator's device.

    Args:
        shape: of the cells; each cell's noise is independent.
        lasting, decay: c and phi, floats or tensors that broadcast to the cells, in [0, 1].
    """

    def draw() -> Tensor:
        return torch.randn(shape, generator=generator, device=generator.device)

    c, phi = (torch.as_tensor(value, dtype=torch.float32, device=generator.device) for value in (lasting, decay))
    slow = draw()
    reads = []
    for k in range(count):
        if k:
            slow = phi * slow + (1 - phi.square()).sqrt() * draw()
        reads.append(c.sqrt() * slow + (1 - c).sqrt() * draw())
    return torch.stack(reads)


def autocovariance(records: Tensor, lags: tuple[int, ...]) -> Tensor:
    """Mean product of deviations `lag` reads apart, over cells [cells, reads]; each cell's own mean taken away."""
    d = records - records.mean(dim=1, keepdim=True)
    n = d.shape[1]
    return torch.stack([(d[:, lag:] * d[:, : n - lag]).mean() for lag in lags])


def fit(records: Tensor) -> ReadProcess:
    """The process whose records of as many reads have, on average, the autocovariances of `records` at lags 0, 1, 10.

    A record of n reads less its own mean has the covariance M Gamma M, M = 1 - 11^T / n; its diagonals' means are
    linear in the variances of the lasting and the new part, and phi is found by search.

    Args:
        records: reads [cells, reads] in any unit, at least 20 reads, float64.
    """
    n = records.shape[1]
    lags = (0, *LAGS)
    measured = autocovariance(records, lags)
    if float(measured[0]) <= 0:
        return ReadProcess(0.0, 0.0, 0.0)
    white = torch.tensor([1 - 1 / n, -1 / n, -1 / n], dtype=torch.float64)

    def mismatch(phi: float) -> tuple[float, float, float]:
        """(error at lag 10, variance of the lasting part, variance of the new part)."""
        slow = _expected(phi, n, lags)
        det = float(slow[0] * white[1] - slow[1] * white[0])
        a = float(measured[0] * white[1] - measured[1] * white[0]) / det
        b = float(slow[0] * measured[1] - slow[1] * measured[0]) / det
        if b < 0:  # nothing is new: the lasting part alone, by its variance
            a, b = float(measured[0] / slow[0]), 0.0
        a = max(a, 0.0)
        return abs(a * float(slow[2]) + b * float(white[2]) - float(measured[2])), a, b

    # phi = exp(-1 / tau), tau from a fifth of a read to ten records, first coarsely and then around the best.
    low, high = math.log(0.2), math.log(10.0 * n)
    for _ in range(4):
        grid = torch.linspace(low, high, 41, dtype=torch.float64).tolist()
        best = min(grid, key=lambda log_tau: mismatch(math.exp(-math.exp(-log_tau)))[0])
        width = (high - low) / 40
        low, high = best - width, best + width
    phi = math.exp(-math.exp(-best))
    _, a, b = mismatch(phi)
    c = a / (a + b)
    return ReadProcess(math.sqrt(a + b), c * phi, c * phi**10)


def variance_of_mean(process: ReadProcess, count: int) -> float:
    """Variance of the mean of `count` reads of one cell, in the unit of `process.std` squared."""
    k = torch.arange(1, count, dtype=torch.float64)
    pairs = 2 * ((count - k) * process.decay**k).sum() * process.lasting
    return process.std**2 * (count + float(pairs)) / count**2


def _expected(phi: float, n: int, lags: tuple[int, ...]) -> Tensor:
    """Means of the diagonals of M Gamma M for Gamma = phi^|i - j|."""
    i = torch.arange(n, dtype=torch.float64)
    gamma = phi ** (i[:, None] - i[None, :]).abs()
    centred = gamma - gamma.mean(dim=0, keepdim=True)
    centred = centred - centred.mean(dim=1, keepdim=True)
    return torch.stack([torch.diagonal(centred, lag).mean() for lag in lags])
