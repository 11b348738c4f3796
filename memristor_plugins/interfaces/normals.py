"""Standard normals from a generator: drawn one by one, or mixed from a pool where speed matters more.

A CPU draws a normal in 2.5 ns, on one core; a training step on a fresh chip needs several a cell, and read noise one a
partial sum. `PooledGenerator` mixes them from a pool of independent ones, after Wallace, ACM TOMS 22, 119 (1996),
10.1145/225545.225554: a window of the result is cos(a) P[i:] + sin(a) P[j:] with an angle and two disjoint windows
drawn anew each time. Within a window all are independent and exactly normal; two windows that both touch a place of the
pool are correlated there at one lag. Chips are never drawn so: theirs are a generator's own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache

import torch
from torch import Generator, Tensor

POOL = 1 << 21
WINDOW = POOL // 4
SMALL = 1 << 12


class PooledGenerator(Generator):
    """A CPU generator whose large draws of standard normals are mixed from a pool. See the module's text."""


def normals(shape: torch.Size | tuple[int, ...], generator: Generator, dtype: torch.dtype = torch.float32) -> Tensor:
    """Standard normals of `shape` on the generator's device."""
    count = math.prod(shape)
    if count < SMALL or dtype != torch.float32 or not isinstance(generator, PooledGenerator):
        return torch.randn(shape, generator=generator, device=generator.device, dtype=dtype)
    out = torch.empty(count)
    for first, last, one, other, angle in windows(count, generator):
        part = torch.mul(pool()[one : one + last - first], math.cos(angle), out=out[first:last])
        part.add_(pool()[other : other + last - first], alpha=math.sin(angle))
    return out.view(shape)


@cache
def pool() -> Tensor:
    """Independent normals of mean 0 and variance 1, twice over so that no window wraps. Drawn from a fixed seed."""
    drawn = torch.randn(POOL, generator=Generator().manual_seed(0x57A11ACE), dtype=torch.float64)
    drawn = ((drawn - drawn.mean()) / drawn.std(correction=0)).float()
    return torch.cat((drawn, drawn))


def windows(count: int, generator: Generator) -> Iterator[tuple[int, int, int, int, float]]:
    """(first, last, place in the pool, another one that is disjoint, angle) for each window of `count` normals."""
    drawn = torch.rand(-(-count // WINDOW), 3, generator=generator, dtype=torch.float64).tolist()
    for index, (a, b, c) in enumerate(drawn):
        one = int(a * POOL)
        other = (one + WINDOW + int(b * (POOL - 2 * WINDOW))) % POOL
        yield index * WINDOW, min(count, (index + 1) * WINDOW), one, other, 2 * math.pi * c
