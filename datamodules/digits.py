"""Handwritten digits from scikit-learn: small, embedded, no download."""

from __future__ import annotations

from typing import ClassVar

import torch

from memristor_plugins.datamodules.augmentation import Flip
from memristor_plugins.datamodules.base import ImageDataModule
from memristor_plugins.datamodules.images import Images, Splits

# Between two writers each: N. 9 begins at image 1157, N. 11 at image 1415 (counted from 0)
FIRST_VAL = 1157
FIRST_TEST = 1415


class Digits(ImageDataModule):
    """1,797 handwritten digits of 8 x 8 pixels, `sklearn.datasets.load_digits`.

    E. Alpaydin, C. Kaynak, "Optical recognition of handwritten digits" (1998), UCI Machine Learning
    Repository, doi:10.24432/C50P49; scikit-learn ships its test part.

    Split by writer, in file order, fixed: images 0..1156 train, 1157..1414 validate, 1415..1796 test (1,157,
    258 and 382). The file goes from writer to writer; the borders are those that the scikit-learn MOOC's
    notebook "Sample grouping" gives (14 stretches, 13 writers: one hand may stand on both sides). That is
    the honest case: in use, the writer is a new one, and a random split flatters. Measured with scikit-learn
    1.9, trained on the first 1,415 images: logistic regression has 90.3 % on this test set and 96.1 % over
    random test sets of the same size, a 3-nearest-neighbour classifier 96.9 % and 98.4 %. Each digit makes
    9.2 % to 10.2 % of each part.

    The file's grey values 0..16 become 0..240 (times 15); `mean` and `std` are those of the training part.
    The arguments are those of `ImageDataModule`; mirrored digits are not digits, hence no flips by default.
    """

    num_classes: ClassVar[int] = 10
    input_shape: ClassVar[tuple[int, int, int]] = (1, 8, 8)
    mean: ClassVar[tuple[float, ...]] = (0.28845,)
    std: ClassVar[tuple[float, ...]] = (0.35365,)

    def __init__(
        self,
        *,
        batch_size: int = 64,
        eval_batch_size: int = 382,
        seed: int = 0,
        crop_padding: int = 1,
        flip: Flip = "none",
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

    def load(self) -> Splits:
        """Read the embedded file."""
        # here and not at the top: scikit-learn takes a second to import, and only this data set needs it
        from sklearn.datasets import load_digits

        values, labels = load_digits(return_X_y=True)
        pixels = torch.from_numpy(values).mul(15).to(torch.uint8).view(-1, *self.input_shape)
        images = Images(pixels, torch.from_numpy(labels).to(torch.int64))
        return Splits("digits", images[:FIRST_VAL], images[FIRST_VAL:FIRST_TEST], images[FIRST_TEST:])
