"""Batches cut out of tensors in memory: no worker process and no per-image collation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from memristor_plugins.datamodules.augmentation import Augmentation, Draws
from memristor_plugins.datamodules.images import Images
from memristor_plugins.datamodules.keyed import keyed_generator


class RawBatch(NamedTuple):
    """What travels to the device: a quarter of the bytes of the float batch, and the random numbers to
    augment it.

    Args:
        pixels: [b, c, h, w], uint8.
        labels: [b], int64.
        draws: drawn on the CPU, so that every device sees the same augmented images; None for evaluation.
    """

    pixels: Tensor
    labels: Tensor
    draws: Draws | None


class EpochSampler:
    """The order of an epoch. Lightning looks for `dataloader.sampler.set_epoch` and calls it before every
    epoch.

    Args:
        size: number of images.
        seed: of the run.
    """

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, 0, 1, ..., that `order` and the augmentation are keyed by."""
        self.epoch = epoch

    def order(self) -> Tensor:
        """[size], int64: a permutation that is a function of (seed, epoch) alone."""
        return torch.randperm(self.size, generator=keyed_generator("data/order", self.seed, self.epoch))


class TrainBatches:
    """Shuffled training batches of equal size; the remainder of an epoch is dropped (another one in each
    epoch).

    With several processes each takes every `world_size`-th batch of the common order. `state_dict` and
    `load_state_dict` are what Lightning needs to go on in the middle of an epoch with the batches that are
    left.

    Args:
        images: the training split.
        batch_size: images a batch and process.
        seed: of the run.
        augmentation: what is drawn for each batch.
        rank: of this process.
        world_size: number of processes.
    """

    def __init__(
        self,
        images: Images,
        batch_size: int,
        seed: int,
        augmentation: Augmentation,
        *,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.images = images
        self.batch_size = batch_size
        self.augmentation = augmentation
        self.rank = rank
        self.world_size = world_size
        self.sampler = EpochSampler(len(images), seed)
        self._next = 0
        self._resume: tuple[int, int] | None = None

    def __len__(self) -> int:
        return len(self.images) // self.batch_size // self.world_size

    # A generator function on purpose: Lightning calls iter() before it sets the first epoch, and the body,
    # which reads the epoch, does not run before the first next().
    def __iter__(self) -> Iterator[RawBatch]:
        epoch = self.sampler.epoch
        start = 0
        if self._resume is not None:
            if self._resume[0] == epoch:
                start = self._resume[1]
            self._resume = None
        order = self.sampler.order()
        for step in range(start, len(self)):
            number = step * self.world_size + self.rank
            index = order[number * self.batch_size : (number + 1) * self.batch_size]
            draws = self.augmentation.draw(index, seed=self.sampler.seed, epoch=epoch, batch=number)
            # set before the batch is handed out: a checkpoint written after its step goes on with the
            # following one
            self._next = step + 1
            # index_select is some 50 times faster on uint8 than indexing with []
            yield RawBatch(self.images.pixels.index_select(0, index), self.images.labels.index_select(0, index), draws)

    def state_dict(self) -> dict[str, Any]:
        """Where the epoch stands: its number and the step that follows."""
        return {"epoch": self.sampler.epoch, "next": self._next}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on there, if the next iteration is of the same epoch; any other starts at its beginning."""
        self._resume = (int(state_dict["epoch"]), int(state_dict["next"]))


class EvalBatches:
    """All images once, in file order; the last batch may be smaller.

    Every process of a distributed run sees all of them: evaluation is cheap next to training, and shares of
    unequal size would weigh images differently in the averaged metric.

    Args:
        images: the split.
        batch_size: images a batch.
    """

    def __init__(self, images: Images, batch_size: int) -> None:
        self.images = images
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.images) // self.batch_size)

    def __iter__(self) -> Iterator[RawBatch]:
        for start in range(0, len(self.images), self.batch_size):
            part = self.images[start : start + self.batch_size]
            yield RawBatch(part.pixels, part.labels, None)
