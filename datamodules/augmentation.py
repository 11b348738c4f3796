"""What the augmentation of a training batch is, and the random numbers it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

from memristor_plugins.datamodules import checks
from memristor_plugins.datamodules.keyed import keyed_generator

Flip = Literal["none", "random", "alternating"]


class Draws(NamedTuple):
    """The random numbers of one training batch; None where the transform is off.

    Args:
        offsets: [b, 2], int64, see `transforms.crop`.
        flips: [b], bool, see `transforms.flip`.
        centres: [b, 2], int64, see `transforms.cutout`.
    """

    offsets: Tensor | None
    flips: Tensor | None
    centres: Tensor | None


@dataclass(frozen=True)
class Augmentation:
    """Settings of the training images' augmentation.

    Args:
        crop_padding: random shifts by up to this many pixels, reflected at the border; 0 is off.
        flip: `none`; `random`: each image is mirrored with probability 1/2 each time; `alternating`: a fair
            coin for each image before the first epoch, then the other way round in every further epoch, so
            that any two consecutive epochs show both sides of every image (K. Jordan, "94% on CIFAR-10 in
            3.29 seconds on a single GPU" (2024), arXiv:2404.00498).
        cutout: side in pixels of the square that is blanked; 0 is off.
        height: of the images, pixels.
        width: of the images, pixels.

    Raises:
        ConfigError: naming `data.<setting>`, for values outside their range.
    """

    crop_padding: int
    flip: Flip
    cutout: int
    height: int
    width: int

    def __post_init__(self) -> None:
        side = min(self.height, self.width)
        checks.integer("data.crop_padding", self.crop_padding, 0, side - 1)
        checks.choice("data.flip", self.flip, get_args(Flip))
        checks.integer("data.cutout", self.cutout, 0, side)

    def draw(self, index: Tensor, *, seed: int, epoch: int, batch: int) -> Draws:
        """Draw for one batch, on the CPU.

        Each transform has a generator of its own, so switching one on or off leaves the others' numbers
        alone.

        Args:
            index: [b], int64, the images' places in the training split.
            seed: of the run.
            epoch: 0, 1, ...
            batch: number of the batch in the epoch, counted over all ranks.
        """
        size = len(index)
        offsets = flips = centres = None
        if self.crop_padding:
            generator = keyed_generator("data/crop", seed, epoch, batch)
            offsets = torch.randint(2 * self.crop_padding + 1, (size, 2), generator=generator)
        if self.flip == "random":
            generator = keyed_generator("data/flip", seed, epoch, batch)
            flips = torch.randint(2, (size,), generator=generator).bool()
        if self.flip == "alternating":
            flips = coin(index, seed) ^ bool(epoch % 2)
        if self.cutout:
            generator = keyed_generator("data/cutout", seed, epoch, batch)
            rows = torch.randint(self.height, (size,), generator=generator)
            columns = torch.randint(self.width, (size,), generator=generator)
            centres = torch.stack([rows, columns], dim=1)
        return Draws(offsets, flips, centres)


def coin(index: Tensor, seed: int) -> Tensor:
    """A fair coin for each image, a hash of (seed, index): independent of how many images there are and of
    the batch.

    The hash is SplitMix64's output function (G. L. Steele et al., OOPSLA 2014, doi:10.1145/2660193.2660195).

    Args:
        index: [b], int64, >= 0, on the CPU.
        seed: of the run.

    Returns:
        [b], bool.
    """
    start = int(torch.randint(2**62, (), generator=keyed_generator("data/coin", seed)))
    # numpy, because unsigned products that wrap are defined there, and torch has no arithmetic on uint64
    bits = (index.numpy().astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(start)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return torch.from_numpy(bits >> np.uint64(63) == 1)
