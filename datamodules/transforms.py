"""Whole-batch image transforms as pure functions.

None of them draws random numbers: the offsets, masks and centres are arguments, so that one draw gives the
same images on every device. All return a new tensor (or the input itself, where nothing changes) and never
write to the input.
"""

from __future__ import annotations

import torch
from torch import Tensor


def _reflect(index: Tensor, size: int) -> Tensor:
    """Fold [1 - size, 2 (size - 1)] into [0, size - 1] about the border pixels, which are not repeated."""
    return (size - 1) - ((size - 1) - index.abs()).abs()


def crop(images: Tensor, offsets: Tensor, padding: int) -> Tensor:
    """Cut a window of the original size out of each image after reflection padding.

    Equals `F.pad(image, [padding] * 4, mode="reflect")[:, y : y + h, x : x + w]` for each image with its own
    (y, x). The padded images are never built: the reflection is folded into the index of one gather.

    Args:
        images: [b, c, h, w], any dtype (reflection padding in torch itself lacks uint8).
        offsets: [b, 2], int64, window corner (y, x) in the padded image, each in [0, 2 padding];
            (padding, padding) leaves the image as it is.
        padding: pixels on each side, in [0, min(h, w) - 1].

    Returns:
        [b, c, h, w].

    Raises:
        ValueError: for a padding outside its range.
    """
    batch, channels, height, width = images.shape
    if not 0 <= padding <= min(height, width) - 1:
        raise ValueError(f"padding: {padding} is outside [0, {min(height, width) - 1}] for {height} x {width} images")
    rows = _reflect(offsets[:, :1] + torch.arange(-padding, height - padding, device=images.device), height)
    columns = _reflect(offsets[:, 1:] + torch.arange(-padding, width - padding, device=images.device), width)
    # One gather over flattened pixels is several times faster than advanced indexing on both axes
    pixel = (rows[:, :, None] * width + columns[:, None, :]).view(batch, 1, height * width)
    flat = images.reshape(batch, channels, height * width)
    return flat.gather(2, pixel.expand(-1, channels, -1)).view(batch, channels, height, width)


def flip(images: Tensor, mask: Tensor) -> Tensor:
    """Mirror left to right the images whose mask is set.

    Args:
        images: [b, c, h, w].
        mask: [b], bool.
    """
    return torch.where(mask[:, None, None, None], images.flip(-1), images)


def cutout(images: Tensor, centres: Tensor, size: int, value: float = 0.0) -> Tensor:
    """Replace a square in each image by a constant; squares that reach over the border are clipped there.

    T. DeVries, G. W. Taylor, "Improved regularization of convolutional neural networks with cutout" (2017),
    arXiv:1708.04552. On normalised images `value=0` is the mean of the data set, as in that paper.

    Args:
        images: [b, c, h, w].
        centres: [b, 2], int64, (y, x); the square spans [y - size // 2, y - size // 2 + size) and likewise in
            x.
        size: side of the square in pixels, >= 0.
        value: what the square is filled with.
    """
    _, _, height, width = images.shape
    first = centres - size // 2
    y = torch.arange(height, device=images.device) - first[:, :1]
    x = torch.arange(width, device=images.device) - first[:, 1:]
    inside = ((y >= 0) & (y < size))[:, :, None] & ((x >= 0) & (x < size))[:, None, :]
    # masked_fill without underscore returns another memory format than it was given
    return images.clone().masked_fill_(inside[:, None], value)


def normalise(pixels: Tensor, mean: tuple[float, ...], std: tuple[float, ...], *, channels_last: bool) -> Tensor:
    """(pixels / 255 - mean) / std for each channel.

    Args:
        pixels: [b, c, h, w], uint8.
        mean: of each channel, on the scale 0..1.
        std: of each channel, on the scale 0..1.
        channels_last: whether the result has `torch.channels_last` memory format.

    Returns:
        [b, c, h, w], float32; a precision plugin casts it further.
    """
    layout = torch.channels_last if channels_last else torch.contiguous_format
    # 255 goes into the constants: two passes over the batch instead of three
    centre = torch.tensor(mean, device=pixels.device).mul_(255.0).view(-1, 1, 1)
    scale = torch.tensor(std, device=pixels.device).mul_(255.0).view(-1, 1, 1)
    return pixels.to(torch.float32, memory_format=layout).sub_(centre).div_(scale)
