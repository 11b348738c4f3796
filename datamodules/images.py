"""Images in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Images:
    """Images and their classes.

    Args:
        pixels: [n, channels, height, width], uint8, 0..255.
        labels: [n], int64, the class index.

    Raises:
        ValueError: for another dtype or for shapes that do not agree.
    """

    pixels: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if self.pixels.dtype != torch.uint8 or self.pixels.ndim != 4:
            raise ValueError(f"pixels: expected uint8 [n, c, h, w], got {self.pixels.dtype} {list(self.pixels.shape)}")
        if self.labels.dtype != torch.int64 or self.labels.shape != self.pixels.shape[:1]:
            found = f"{self.labels.dtype} {list(self.labels.shape)}"
            raise ValueError(f"labels: expected int64 [{len(self.pixels)}], got {found}")

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, part: slice) -> Images:
        """The images of a slice; shares memory with the whole."""
        return Images(self.pixels[part], self.labels[part])


class Splits(NamedTuple):
    """A data set in its three parts.

    Args:
        name: what results measured on it are called.
        train: what the optimiser sees.
        val: what selects models and hyper-parameters.
        test: for the final figure only.
    """

    name: str
    train: Images
    val: Images
    test: Images
