"""CIFAR-10."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import torch

from memristor_plugins.datamodules import checks
from memristor_plugins.datamodules.augmentation import Flip
from memristor_plugins.datamodules.base import ImageDataModule
from memristor_plugins.datamodules.cifar10_release import (
    CIFAR10_RELEASE,
    CLASSES,
    SIDE,
    Part,
    Release,
    Stored,
)
from memristor_plugins.datamodules.cifar10_sources import cache_folder, fetch, locate
from memristor_plugins.datamodules.images import Images, Splits
from memristor_plugins.errors import ConfigError


class CIFAR10(ImageDataModule):
    """60,000 colour images of 32 x 32 pixels in ten classes (A. Krizhevsky, 2009).

    The first 45,000 training images train, the last 5,000 validate; the 10,000 test images select nothing.

    Args:
        root: the archive cifar-10-python.tar.gz, or a folder with it, with the extracted batches, or with
            Parquet files train-*.parquet and test-*.parquet (needs the extra `parquet`). None: the archive in
            the cache folder ($MEMRISTOR_PLUGINS_CACHE, else memristor-plugins in $XDG_CACHE_HOME or
            ~/.cache).
        download: with `root=None`, download the archive (170 MB) into the cache if it is not there.

    The other arguments are those of `ImageDataModule`. Images compressed with loss give results another
    `name`: "CIFAR-10, JPEG-75 copy". The files are read anew by each process.

    Raises:
        ConfigError: for `data.root`, if there is no complete and undamaged CIFAR-10 there.
    """

    num_classes: ClassVar[int] = CLASSES
    input_shape: ClassVar[tuple[int, int, int]] = (3, SIDE, SIDE)
    # Of the 50,000 original training images, as published with most recipes. Constants, so that a trained
    # network meets the same numbers on any copy: on the JPEG-75 copy the 50,000 have means 0.4913 0.4821
    # 0.4465 and deviations 0.2452 0.2428 0.2606
    mean: ClassVar[tuple[float, ...]] = (0.4914, 0.4822, 0.4465)
    std: ClassVar[tuple[float, ...]] = (0.2470, 0.2435, 0.2616)

    # What tests replace by something smaller
    _release: ClassVar[Release] = CIFAR10_RELEASE
    _val_images: ClassVar[int] = 5_000

    def __init__(
        self,
        *,
        root: str | None = None,
        download: bool = True,
        batch_size: int = 500,
        eval_batch_size: int = 1000,
        seed: int = 0,
        crop_padding: int = 2,
        flip: Flip = "alternating",
        cutout: int = 0,
        limit_train: int | None = None,
        limit_val: int | None = None,
        limit_test: int | None = None,
        channels_last: bool = True,
    ) -> None:
        super().__init__(
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            seed=seed,
            crop_padding=crop_padding,
            flip=flip,
            cutout=cutout,
            limit_train=limit_train,
            limit_val=limit_val,
            limit_test=limit_test,
            channels_last=channels_last,
        )
        if root is not None and (not isinstance(root, str) or not root):
            raise ConfigError("data.root", f"expected a path or null, got {root!r}")
        self.root = root
        self.download = checks.boolean("data.download", download)

    def prepare_data(self) -> None:
        """Download if that is asked for and needed; else check that there is something to read."""
        if self.root is None and self.download:
            fetch(self._release)
        else:
            self._reader()

    def load(self) -> Splits:
        """Read and decode all images."""
        stored = self._reader()()
        train, test = _images(stored.train), _images(stored.test)
        val = len(train) - self._val_images
        lossy = stored.train.lossy or stored.test.lossy
        name = f"CIFAR-10, {lossy} copy" if lossy else "CIFAR-10"
        return Splits(name, train[:val], train[val:], test)

    def _reader(self) -> Callable[[], Stored]:
        if self.root is not None:
            return locate(Path(self.root).expanduser(), self._release)
        archive = cache_folder() / self._release.file_name
        if not archive.exists():
            raise ConfigError(
                "data.root",
                f"{archive} does not exist; set data.download=true, or data.root to a copy of CIFAR-10",
            )
        return locate(archive, self._release)


def _images(part: Part) -> Images:
    return Images(torch.from_numpy(part.pixels), torch.from_numpy(part.labels))
