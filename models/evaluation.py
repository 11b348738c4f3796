"""Accuracy of a trained network on simulated chips."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from memristor_plugins.crossbar.batchnorm import kept_batchnorm, recalibrate_batchnorm
from memristor_plugins.crossbar.compensation import Kind, compensate
from memristor_plugins.crossbar.convert import program, running
from memristor_plugins.datamodules.base import ImageDataModule
from memristor_plugins.datamodules.loaders import RawBatch


@dataclass(frozen=True)
class ChipResult:
    """Accuracy (a fraction) of one chip, `time_s` seconds after programming."""

    chip: int
    time_s: float
    accuracy: float


def calibration_batches(data: ImageDataModule, count: int) -> Iterator[Tensor]:
    """The first `count` training images, prepared as for evaluation, in batches of the evaluation's size."""
    images = data.splits.train[: min(count, len(data.splits.train))]
    for first in range(0, len(images), data.eval_batch_size):
        part = images[first : first + data.eval_batch_size]
        yield data.prepare(RawBatch(part.pixels, part.labels, None), augment=False)[0]


@torch.inference_mode()
def accuracy(network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Share of images whose label is the network's first choice."""
    right = total = 0
    for images, labels in batches:
        right += int((network(images).argmax(dim=-1) == labels).sum())
        total += len(labels)
    return right / total


def six_views(network: nn.Module, images: Tensor) -> Tensor:
    """Logits averaged over an image and its copies moved by (1, 1) and (-1, -1) pixels, each also mirrored.

    The image itself and its mirror image weigh a quarter each, the moved ones an eighth, as in K. Jordan's published
    recipe (arXiv:2404.00498, sec. 3.6).
    """

    def both(x: Tensor) -> Tensor:
        logits: Tensor = 0.5 * network(x) + 0.5 * network(x.flip(-1))
        return logits

    padded = F.pad(images, (1, 1, 1, 1), mode="reflect")
    height, width = images.shape[-2:]
    moved = torch.stack([both(padded[..., p : p + height, p : p + width]) for p in (0, 2)]).mean(dim=0)
    return 0.5 * both(images) + 0.5 * moved


def on_chips(
    network: nn.Module,
    batches: Callable[[], Iterable[tuple[Tensor, Tensor]]],
    chips: Sequence[int],
    times: Sequence[float],
    report: Callable[[ChipResult], None] = lambda _: None,
    *,
    compensation: Kind = "none",
    norm_batches: Callable[[], Iterable[Tensor]] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[ChipResult]:
    """Accuracy on each chip at each time, in the order chip, time.

    Args:
        network: converted and calibrated.
        batches: gives the test batches, prepared, each time it is called.
        chips: seeds.
        times: seconds since programming.
        report: told each result as it comes.
        compensation: of drift, see `compensate`.
        norm_batches: gives the training images that batch norms are re-estimated on, on each chip at each time; None:
            they stay as trained.
        progress: told how many layers of a chip are programmed, and of how many.
    """
    network.eval()
    results = []
    with running(network, "analog"), kept_batchnorm(network):
        for chip in chips:
            for seconds in times:
                program(network, chip, seconds, progress=progress)
                compensate(network, compensation)
                if norm_batches is not None:
                    recalibrate_batchnorm(network, norm_batches())
                results.append(ChipResult(chip, seconds, accuracy(network, batches())))
                report(results[-1])
    return results
