"""The data module under Lightning, and the digits."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor

from memristor_plugins.datamodules import Digits, ImageDataModule, Images, Splits
from memristor_plugins.errors import ConfigError

# Lightning 2.6.6 uses a name that torch 2.13 has deprecated
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")

# the resumed run here writes no checkpoints of its own
no_callback = pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`:UserWarning")

Step = tuple[int, int, Tensor, Tensor]


class Small(ImageDataModule):
    """60 images of noise; the label is the number of the image."""

    num_classes: ClassVar[int] = 60
    input_shape: ClassVar[tuple[int, int, int]] = (3, 6, 6)
    mean: ClassVar[tuple[float, ...]] = (0.5, 0.4, 0.3)
    std: ClassVar[tuple[float, ...]] = (0.2, 0.3, 0.4)

    def __init__(self, **changes: Any) -> None:
        values: dict[str, Any] = {
            "batch_size": 8,
            "eval_batch_size": 7,
            "seed": 0,
            "crop_padding": 2,
            "flip": "random",
            "cutout": 3,
            "limit_train": None,
            "limit_val": None,
            "limit_test": None,
            "channels_last": True,
        }
        super().__init__(**(values | changes))

    def load(self) -> Splits:
        pixels = torch.randint(256, (60, 3, 6, 6), generator=torch.Generator().manual_seed(0))
        images = Images(pixels.to(torch.uint8), torch.arange(60))
        return Splits("noise", images[:40], images[40:50], images[50:])


class Recorder(pl.LightningModule):
    """Keeps what each step receives; the loss has nothing to learn."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.train_steps: list[Step] = []
        self.eval_steps: list[Step] = []

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        self.train_steps.append((self.current_epoch, batch_idx, *batch))
        return self.weight * batch[0].mean()

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.eval_steps.append((self.current_epoch, batch_idx, *batch))

    test_step = validation_step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer(folder: Path, **changes: Any) -> pl.Trainer:
    values: dict[str, Any] = {
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "num_sanity_val_steps": 0,
        "default_root_dir": folder,
    }
    return pl.Trainer(**(values | changes))


def assert_same_steps(found: list[Step], expected: list[Step]) -> None:
    assert [step[:2] for step in found] == [step[:2] for step in expected]
    for mine, other in zip(found, expected, strict=True):
        assert torch.equal(mine[3], other[3])
        assert torch.equal(mine[2], other[2])


def plain(data: Small, labels: Tensor) -> Tensor:
    """The normalised images of these labels, computed image by image."""
    pixels = torch.cat([part.pixels for part in data.splits[1:]])[labels].double() / 255
    mean, std = (torch.tensor(values).double().view(3, 1, 1) for values in (data.mean, data.std))
    return ((pixels - mean) / std).float()


def test_training_augments_and_evaluation_does_not(tmp_path: Path) -> None:
    model, data = Recorder(), Small()
    runner = trainer(tmp_path, max_epochs=1, num_sanity_val_steps=2)
    runner.fit(model, data)
    assert len(model.train_steps) == 5
    for _, _, images, labels in model.train_steps:
        assert images.shape == (8, 3, 6, 6)
        assert images.dtype == torch.float32
        assert images.is_contiguous(memory_format=torch.channels_last)
        changed = (images - plain(data, labels)).abs().amax(dim=(1, 2, 3)) > 1e-3
        assert changed.all()
        # the blanked square holds the mean of the data set in all channels
        assert (images == 0).all(dim=1).flatten(1).any(dim=1).all()
    # two batches of the sanity check, then the whole split
    assert [len(step[3]) for step in model.eval_steps] == [7, 3, 7, 3]
    runner.test(model, data, verbose=False)
    assert [step[3].tolist() for step in model.eval_steps[-2:]] == [list(range(50, 57)), list(range(57, 60))]
    for _, _, images, labels in model.eval_steps:
        torch.testing.assert_close(images, plain(data, labels), rtol=0, atol=1e-5)


def test_without_augmentation_training_images_are_only_normalised(tmp_path: Path) -> None:
    model, data = Recorder(), Small(crop_padding=0, flip="none", cutout=0, channels_last=False)
    trainer(tmp_path, max_epochs=1, limit_val_batches=0).fit(model, data)
    for _, _, images, labels in model.train_steps:
        torch.testing.assert_close(images, plain(data, labels), rtol=0, atol=1e-5)
        assert images.is_contiguous()


def test_only_a_trainer_that_trains_augments(tmp_path: Path) -> None:
    data = Small()
    data.setup()
    batch = next(iter(data.train_dataloader()))
    expected = plain(data, batch.labels)
    outside, _ = data.on_after_batch_transfer(batch, 0)
    torch.testing.assert_close(outside, expected, rtol=0, atol=1e-5)
    data.trainer = trainer(tmp_path)
    data.trainer.validating = True
    validating, _ = data.on_after_batch_transfer(batch, 0)
    assert torch.equal(validating, outside)
    data.trainer.training = True
    training, _ = data.on_after_batch_transfer(batch, 0)
    assert torch.equal(training, data.prepare(batch, augment=True)[0])
    assert not torch.equal(training, outside)


def test_alternating_flips_differ_between_epochs_for_each_image(tmp_path: Path) -> None:
    model, data = Recorder(), Small(crop_padding=0, flip="alternating", cutout=0)
    trainer(tmp_path, max_epochs=3, limit_val_batches=0).fit(model, data)
    seen: dict[int, list[Tensor]] = {}
    for _, _, images, labels in model.train_steps:
        for image, label in zip(images, labels.tolist(), strict=True):
            seen.setdefault(label, []).append(image)
    assert len(seen) == 40
    for first, second, third in seen.values():
        assert torch.equal(first.flip(-1), second)
        assert torch.equal(first, third)


@no_callback
@pytest.mark.parametrize("at_train_end", [True, False])
def test_a_run_resumed_between_epochs_sees_what_the_whole_run_saw(tmp_path: Path, at_train_end: bool) -> None:
    whole = Recorder()
    trainer(tmp_path, max_epochs=4).fit(whole, Small())
    epochs = [torch.cat([step[3] for step in whole.train_steps if step[0] == epoch]) for epoch in range(4)]
    assert not torch.equal(epochs[0], epochs[1])

    keep = ModelCheckpoint(tmp_path / "a", save_last=True, save_on_train_epoch_end=at_train_end)
    trainer(tmp_path, max_epochs=2, enable_checkpointing=True, callbacks=[keep]).fit(Recorder(), Small())
    resumed = Recorder()
    torch.manual_seed(7)
    trainer(tmp_path, max_epochs=4).fit(resumed, Small(), ckpt_path=keep.last_model_path, weights_only=True)
    assert_same_steps(resumed.train_steps, [step for step in whole.train_steps if step[0] >= 2])


@no_callback
def test_a_run_resumed_within_an_epoch_sees_what_the_whole_run_saw(tmp_path: Path) -> None:
    whole = Recorder()
    trainer(tmp_path, max_epochs=3, limit_val_batches=0).fit(whole, Small())

    keep = ModelCheckpoint(tmp_path / "a", every_n_train_steps=7, save_top_k=-1)
    trainer(tmp_path, max_epochs=2, limit_val_batches=0, enable_checkpointing=True, callbacks=[keep]).fit(
        Recorder(), Small()
    )
    resumed = Recorder()
    trainer(tmp_path, max_epochs=3, limit_val_batches=0).fit(
        resumed, Small(), ckpt_path=tmp_path / "a" / "epoch=1-step=7.ckpt", weights_only=True
    )
    assert_same_steps(resumed.train_steps, whole.train_steps[7:])


def test_splits_and_name_wait_for_setup() -> None:
    data = Small()
    with pytest.raises(RuntimeError, match=r"Small: call setup\(\) first"):
        _ = data.name
    data.setup()
    splits = data.splits
    data.setup("test")
    assert data.splits is splits
    assert data.name == "noise"


def test_limits_take_the_first_images_and_show_in_the_name() -> None:
    data = Small(limit_train=20, limit_val=4, limit_test=3)
    data.setup()
    assert [part.labels.tolist() for part in data.splits[1:]] == [
        list(range(20)),
        list(range(40, 44)),
        list(range(50, 53)),
    ]
    assert data.name == "noise, first 3 test images"
    whole = Small(limit_test=10)
    whole.setup()
    assert whole.name == "noise"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "data.batch_size: 0 is too small; the nearest valid value is 1"),
        ({"batch_size": True}, "data.batch_size: expected an integer, got True"),
        ({"batch_size": "8"}, "data.batch_size: expected an integer, got '8'"),
        ({"eval_batch_size": -3}, "data.eval_batch_size: -3 is too small; the nearest valid value is 1"),
        ({"seed": -1}, "data.seed: -1 is too small; the nearest valid value is 0"),
        ({"crop_padding": 6}, "data.crop_padding: 6 is too large; the nearest valid value is 5"),
        ({"limit_train": 0}, "data.limit_train: 0 is too small; the nearest valid value is 1"),
        ({"channels_last": "no"}, "data.channels_last: expected true or false, got 'no'"),
    ],
)
def test_settings_outside_their_range_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Small(**changes)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 41}, "data.batch_size: 41 exceeds the 40 training images; use at most 40"),
        (
            {"limit_train": 5},
            "data.batch_size: 8 exceeds the 5 training images; use at most 5",
        ),
        (
            {"limit_test": 11},
            "data.limit_test: 11 exceeds the 10 test images; the nearest valid value is 10",
        ),
    ],
)
def test_settings_that_the_data_cannot_meet_are_named(changes: dict[str, Any], message: str) -> None:
    data = Small(**changes)
    with pytest.raises(ConfigError) as raised:
        data.setup()
    assert str(raised.value) == message


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_another_device_sees_the_same_images() -> None:
    data = Small()
    data.setup()
    for batch in data.train_dataloader():
        there = data.transfer_batch_to_device(batch, torch.device("cuda"), 0)
        for mine, other in zip(data.prepare(batch, augment=True), data.prepare(there, augment=True), strict=True):
            torch.testing.assert_close(mine, other.cpu(), rtol=0, atol=1e-5)


def test_digits_are_split_between_writers() -> None:
    from sklearn.datasets import load_digits

    data = Digits()
    data.setup()
    assert data.name == "digits"
    assert [len(part) for part in data.splits[1:]] == [1_157, 258, 382]
    raw = load_digits()
    pixels = torch.cat([part.pixels for part in data.splits[1:]])
    assert pixels.shape == (1_797, *Digits.input_shape)
    assert torch.equal(pixels[:, 0].double(), torch.from_numpy(raw.images) * 15)
    assert torch.cat([part.labels for part in data.splits[1:]]).tolist() == raw.target.tolist()


def test_digits_constants_are_those_of_the_training_part() -> None:
    data = Digits()
    data.setup()
    images = data.splits.train.pixels.double() / 255
    assert Digits.mean[0] == pytest.approx(images.mean().item(), abs=1e-5)
    assert Digits.std[0] == pytest.approx(images.std(correction=0).item(), abs=1e-5)


def test_digits_train(tmp_path: Path) -> None:
    model = Recorder()
    trainer(tmp_path, max_epochs=1).fit(model, Digits(limit_train=256))
    assert [tuple(step[2].shape) for step in model.train_steps] == [(64, 1, 8, 8)] * 4
    assert [tuple(step[2].shape) for step in model.eval_steps] == [(258, 1, 8, 8)]
