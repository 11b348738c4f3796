"""The whole-batch transforms against a loop over images."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from memristor_plugins.datamodules import transforms


def reference_crop(images: Tensor, offsets: Tensor, padding: int) -> Tensor:
    height, width = images.shape[-2:]
    out = []
    for image, (y, x) in zip(images.float(), offsets.tolist(), strict=True):
        padded = F.pad(image, [padding] * 4, mode="reflect")
        out.append(padded[:, y : y + height, x : x + width])
    return torch.stack(out).to(images.dtype)


def reference_cutout(images: Tensor, centres: Tensor, size: int, value: float) -> Tensor:
    out = images.clone()
    for image, (y, x) in zip(out, centres.tolist(), strict=True):
        for row in range(image.shape[1]):
            for column in range(image.shape[2]):
                if 0 <= row - (y - size // 2) < size and 0 <= column - (x - size // 2) < size:
                    image[:, row, column] = value
    return out


def distinct(batch: int, channels: int, height: int, width: int) -> Tensor:
    """Images in which (nearly) every pixel differs, so that a wrong index shows."""
    return (
        (torch.arange(batch * channels * height * width) * 7 % 251).to(torch.uint8).view(batch, channels, height, width)
    )


shapes = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(2, 7), st.integers(2, 7))


@settings(deadline=None, max_examples=60)
@given(st.data(), shapes)
def test_crop_equals_padding_and_slicing(data: st.DataObject, shape: tuple[int, int, int, int]) -> None:
    images = distinct(*shape)
    padding = data.draw(st.integers(0, min(shape[2:]) - 1))
    corner = st.integers(0, 2 * padding)
    pairs = data.draw(st.lists(st.tuples(corner, corner), min_size=shape[0], max_size=shape[0]))
    offsets = torch.tensor(pairs)
    assert torch.equal(transforms.crop(images, offsets, padding), reference_crop(images, offsets, padding))


def test_crop_in_the_middle_is_the_identity() -> None:
    images = distinct(3, 3, 8, 8)
    assert torch.equal(transforms.crop(images, torch.full((3, 2), 2), 2), images)


def test_crop_takes_channels_last_and_floats() -> None:
    images = distinct(3, 3, 8, 8).float().contiguous(memory_format=torch.channels_last)
    offsets = torch.tensor([[0, 4], [3, 1], [2, 2]])
    assert torch.equal(transforms.crop(images, offsets, 2), reference_crop(images, offsets, 2))


@pytest.mark.parametrize("padding", [-1, 8])
def test_crop_refuses_a_padding_it_cannot_reflect(padding: int) -> None:
    with pytest.raises(ValueError, match=r"outside \[0, 7\]"):
        transforms.crop(distinct(1, 1, 8, 9), torch.zeros(1, 2, dtype=torch.int64), padding)


@settings(deadline=None, max_examples=40)
@given(st.data(), shapes)
def test_flip_mirrors_the_masked_images_only(data: st.DataObject, shape: tuple[int, int, int, int]) -> None:
    images = distinct(*shape)
    mask = data.draw(st.lists(st.booleans(), min_size=shape[0], max_size=shape[0]))
    result = transforms.flip(images, torch.tensor(mask))
    for image, new, mirrored in zip(images, result, mask, strict=True):
        expected = torch.stack([image[..., i] for i in reversed(range(shape[3]))], -1) if mirrored else image
        assert torch.equal(new, expected)


@settings(deadline=None, max_examples=60)
@given(st.data(), shapes, st.integers(0, 8))
def test_cutout_blanks_exactly_the_square(data: st.DataObject, shape: tuple[int, int, int, int], size: int) -> None:
    images = distinct(*shape).float() + 1
    centre = st.tuples(st.integers(0, shape[2] - 1), st.integers(0, shape[3] - 1))
    centres = torch.tensor(data.draw(st.lists(centre, min_size=shape[0], max_size=shape[0])))
    result = transforms.cutout(images, centres, size)
    assert torch.equal(result, reference_cutout(images, centres, size, 0.0))


def test_cutout_fills_with_the_value_asked_for() -> None:
    images = distinct(2, 3, 6, 6).float()
    centres = torch.tensor([[0, 5], [3, 3]])
    result = transforms.cutout(images, centres, 3, value=-2.0)
    assert torch.equal(result, reference_cutout(images, centres, 3, -2.0))
    assert (result == -2.0).sum().item() == 3 * (4 + 9)


@pytest.mark.parametrize("channels_last", [True, False])
def test_normalise_is_the_formula_channel_by_channel(channels_last: bool) -> None:
    pixels = distinct(5, 3, 4, 6)
    mean, std = (0.1, 0.5, 0.9), (0.2, 0.4, 0.25)
    result = transforms.normalise(pixels, mean, std, channels_last=channels_last)
    for channel in range(3):
        expected = (pixels[:, channel].double() / 255 - mean[channel]) / std[channel]
        torch.testing.assert_close(result[:, channel].double(), expected, rtol=0, atol=2e-6)
    assert result.dtype == torch.float32
    assert result.is_contiguous(memory_format=torch.channels_last) is channels_last
    assert result.is_contiguous() is not channels_last


def test_no_transform_writes_to_its_input() -> None:
    pixels = distinct(4, 3, 8, 8)
    before = pixels.clone()
    transforms.crop(pixels, torch.zeros(4, 2, dtype=torch.int64), 2)
    transforms.flip(pixels, torch.tensor([True, False, True, False]))
    transforms.cutout(pixels, torch.zeros(4, 2, dtype=torch.int64), 4, value=9)
    transforms.normalise(pixels, (0.5,) * 3, (0.5,) * 3, channels_last=True)
    assert torch.equal(pixels, before)
