"""Read noise: a normal for each partial sum of each image."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from memristor_plugins.interfaces.normals import SMALL, pool, windows


class NormalSource:
    """Adds independent normal noise, from the seed of one parent generator.

    On a CPU the normals of large tensors are mixed from a pool (`interfaces/normals.py`): drawing them costs four times
    what the partial sums themselves do.
    """

    def __init__(self, parent: Generator) -> None:
        seed = int(torch.randint(0, 2**62, (1,), generator=parent, device=parent.device))
        self.generator = Generator().manual_seed(seed)
        self._on_device: Generator | None = None

    def add_(self, sums: Tensor, std: Tensor) -> Tensor:
        """sums + std * n in place, n standard normal; both dense, of the same shape and strides."""
        if sums.device.type != "cpu":
            return sums.addcmul_(self._native(sums), std)
        if sums.numel() < SMALL or sums.dtype != torch.float32:
            return sums.addcmul_(torch.empty_like(sums).normal_(generator=self.generator), std)
        flat, deviations = _flat(sums), _flat(std)
        for first, last, one, other, angle in windows(flat.numel(), self.generator):
            part, deviation = flat[first:last], deviations[first:last]
            part.addcmul_(deviation, pool()[one : one + last - first], value=math.cos(angle))
            part.addcmul_(deviation, pool()[other : other + last - first], value=math.sin(angle))
        return sums

    def window(self, count: int) -> tuple[int, int, float]:
        """Places in the pool, and the angle, that `count` (at most `WINDOW`) normals are mixed from."""
        ((_, _, one, other, angle),) = windows(count, self.generator)
        return one, other, angle

    def _native(self, like: Tensor) -> Tensor:
        if self._on_device is None:
            self._on_device = Generator(like.device).manual_seed(self.generator.initial_seed())
        return torch.empty_like(like).normal_(generator=self._on_device)


def _flat(dense: Tensor) -> Tensor:
    """All values of a dense tensor of any memory format, as they lie in memory."""
    return dense.as_strided((dense.numel(),), (1,), dense.storage_offset())
