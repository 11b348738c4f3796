"""What CIFAR-10 consists of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

TRAIN_BATCHES = tuple(f"data_batch_{i}" for i in range(1, 6))
TEST_BATCH = "test_batch"
BATCH_FOLDER = "cifar-10-batches-py"
CLASSES = 10
SIDE = 32


@dataclass(frozen=True)
class Release:
    """The archive and how many images it holds.

    Args:
        url: of the archive.
        size: of the archive, bytes.
        sha256: of the archive, hexadecimal.
        train_images: in the five training batches together, equally many in each.
        test_images: in the test batch.
    """

    url: str
    size: int
    sha256: str
    train_images: int
    test_images: int

    @property
    def file_name(self) -> str:
        """Of the archive."""
        return self.url.rsplit("/", 1)[-1]


# A. Krizhevsky, "Learning multiple layers of features from tiny images" (2009); MD5
# c58f30108f718f92721af3b57e74349a
CIFAR10_RELEASE = Release(
    url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    size=170_498_071,
    sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    train_images=50_000,
    test_images=10_000,
)


class Part(NamedTuple):
    """Training or test images as read.

    Args:
        pixels: [n, 3, 32, 32], uint8.
        labels: [n], int64, 0..9.
        lossy: how the images were compressed with loss, such as "JPEG-75"; None if they were not.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    lossy: str | None = None


class Stored(NamedTuple):
    """All images of a source."""

    train: Part
    test: Part
