"""What all data sets share: settings, splits, batches, normalisation and augmentation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import pytorch_lightning as pl
from torch import Tensor

from memristor_plugins.datamodules import checks, transforms
from memristor_plugins.datamodules.augmentation import Augmentation, Flip
from memristor_plugins.datamodules.images import Images, Splits
from memristor_plugins.datamodules.loaders import EvalBatches, RawBatch, TrainBatches
from memristor_plugins.errors import ConfigError


class ImageDataModule(pl.LightningDataModule, ABC):
    """Images that fit into memory, as uint8 tensors.

    A subclass gives the class attributes below and `load`. The model receives (images, labels): [b, c, h, w]
    float32, normalised, and [b] int64.

    Args:
        batch_size: training images a step and process; an epoch's remainder is dropped.
        eval_batch_size: validation and test images a step.
        seed: of the order and of the augmentation. Both are functions of (seed, epoch) only, so a resumed run
            sees what the uninterrupted one would have seen. The global generators are neither used nor
            changed.
        crop_padding: random shifts by up to this many pixels, reflected at the border; 0 is off.
        flip: `none`, `random` or `alternating`, see `Augmentation`.
        cutout: side in pixels of a square that is blanked; 0 is off.
        limit_train: use only the first this many training images, for quick looks.
        limit_val: likewise of the validation images.
        limit_test: likewise of the test images; `name` then says so.
        channels_last: memory format of the images; faster convolutions on most devices.

    Raises:
        ConfigError: naming `data.<setting>`, for a setting outside its range.
    """

    num_classes: ClassVar[int]
    input_shape: ClassVar[tuple[int, int, int]]
    """Channels, height and width of an image, pixels."""
    mean: ClassVar[tuple[float, ...]]
    """Mean of each channel on the scale 0..1."""
    std: ClassVar[tuple[float, ...]]
    """Standard deviation of each channel on the scale 0..1."""

    def __init__(
        self,
        *,
        batch_size: int,
        eval_batch_size: int,
        seed: int,
        crop_padding: int,
        flip: Flip,
        cutout: int,
        limit_train: int | None,
        limit_val: int | None,
        limit_test: int | None,
        channels_last: bool,
    ) -> None:
        super().__init__()
        self.batch_size = checks.integer("data.batch_size", batch_size, 1)
        self.eval_batch_size = checks.integer("data.eval_batch_size", eval_batch_size, 1)
        self.seed = checks.integer("data.seed", seed, 0)
        _, height, width = self.input_shape
        self.augmentation = Augmentation(crop_padding, flip, cutout, height, width)
        self.limit_train = checks.optional_integer("data.limit_train", limit_train, 1)
        self.limit_val = checks.optional_integer("data.limit_val", limit_val, 1)
        self.limit_test = checks.optional_integer("data.limit_test", limit_test, 1)
        self.channels_last = checks.boolean("data.channels_last", channels_last)
        self._splits: Splits | None = None

    @abstractmethod
    def load(self) -> Splits:
        """Read the whole data set; called once, by `setup`."""

    def setup(self, stage: str | None = None) -> None:
        """Read the data set unless that was done, and apply the limits; the same for every stage."""
        if self._splits is not None:
            return
        whole = self.load()
        train = _first(whole.train, self.limit_train, "data.limit_train", "training")
        if self.batch_size > len(train):
            raise ConfigError(
                "data.batch_size",
                f"{self.batch_size} exceeds the {len(train)} training images; use at most {len(train)}",
            )
        name = whole.name
        if self.limit_test is not None and self.limit_test < len(whole.test):
            name += f", first {self.limit_test} test images"
        self._splits = Splits(
            name,
            train,
            _first(whole.val, self.limit_val, "data.limit_val", "validation"),
            _first(whole.test, self.limit_test, "data.limit_test", "test"),
        )

    def adopt(self, splits: Splits) -> None:
        """Use images that a module of the same settings, but for the seed, has read; `setup` then reads nothing."""
        self._splits = splits

    @property
    def splits(self) -> Splits:
        """The images in use, after `setup`."""
        if self._splits is None:
            raise RuntimeError(f"{type(self).__name__}: call setup() first")
        return self._splits

    # Lightning declares a writable `name: str | None = None` and reads it nowhere
    @property
    def name(self) -> str:  # type: ignore[override]
        """What results measured on this data are called, after `setup`: the files found decide."""
        return self.splits.name

    def train_dataloader(self) -> TrainBatches:
        """Shuffled training batches of this process."""
        rank, world_size = (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)
        batches = TrainBatches(
            self.splits.train, self.batch_size, self.seed, self.augmentation, rank=rank, world_size=world_size
        )
        if not len(batches):
            most = len(self.splits.train) // world_size
            raise ConfigError(
                "data.batch_size", f"{self.batch_size} in each of {world_size} processes; use at most {most}"
            )
        return batches

    def val_dataloader(self) -> EvalBatches:
        """The validation images in file order."""
        return EvalBatches(self.splits.val, self.eval_batch_size)

    def test_dataloader(self) -> EvalBatches:
        """The test images in file order."""
        return EvalBatches(self.splits.test, self.eval_batch_size)

    def on_after_batch_transfer(self, batch: RawBatch, dataloader_idx: int) -> tuple[Tensor, Tensor]:
        """Lightning's hook, on the training device: `prepare`, with augmentation only while training."""
        return self.prepare(batch, augment=self.trainer is not None and bool(self.trainer.training))

    def prepare(self, batch: RawBatch, *, augment: bool) -> tuple[Tensor, Tensor]:
        """Turn a raw batch into what a model takes, on the batch's device.

        Args:
            batch: from one of the loaders.
            augment: apply the draws that a training batch carries. Batches of the evaluation loaders carry
                none.

        Returns:
            Images [b, c, h, w], float32, normalised, in the chosen memory format; labels [b], int64.
        """
        draws = batch.draws if augment else None
        pixels = batch.pixels
        # shift and mirror the bytes, a quarter of the floats' traffic; blank after normalisation, where 0 is
        # the mean
        if draws is not None and draws.offsets is not None:
            pixels = transforms.crop(pixels, draws.offsets, self.augmentation.crop_padding)
        if draws is not None and draws.flips is not None:
            pixels = transforms.flip(pixels, draws.flips)
        images = transforms.normalise(pixels, self.mean, self.std, channels_last=self.channels_last)
        if draws is not None and draws.centres is not None:
            images = transforms.cutout(images, draws.centres, self.augmentation.cutout)
        return images, batch.labels


def _first(images: Images, limit: int | None, option: str, what: str) -> Images:
    """The first `limit` images; a limit above their number would do nothing and is refused."""
    if limit is None:
        return images
    if limit > len(images):
        raise ConfigError(
            option,
            f"{limit} exceeds the {len(images)} {what} images; the nearest valid value is {len(images)}",
        )
    return images[:limit]
