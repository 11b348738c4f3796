"""What the largest weight of is stored at the end of the conductance range. Shared by the mappings."""

from __future__ import annotations

from math import ceil
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Scaling = Literal["layer", "column", "array"]


def largest(weight: Tensor, scaling: Scaling, rows: int, across: int) -> Tensor:
    """Largest |weight| that shares a scale, of weights [..., rows, cols].

    Zeros alone have no scale of their own; any scale stores them exactly, and theirs is 1.

    Args:
        weight: signed, any unit.
        scaling: `layer`: over everything; `column`: over each column; `array`: over each physical array.
        rows: word lines of one array.
        across: outputs that one array holds side by side.

    Returns:
        Broadcastable to [..., rows, cols]: [1, ..., 1], [..., 1, cols], or [..., rows, cols].
    """
    magnitude = weight.detach().abs()
    if scaling == "layer":
        top = magnitude.amax(dim=tuple(range(weight.dim())), keepdim=True)
    elif scaling == "column":
        top = magnitude.amax(dim=-2, keepdim=True)
    else:
        tall, wide = ceil(weight.shape[-2] / rows), ceil(weight.shape[-1] / across)
        padded = F.pad(magnitude, (0, wide * across - weight.shape[-1], 0, tall * rows - weight.shape[-2]))
        top = padded.unflatten(-1, (wide, across)).unflatten(-3, (tall, rows)).amax(dim=(-3, -1))
        top = top.repeat_interleave(rows, dim=-2).repeat_interleave(across, dim=-1)
        top = top[..., : weight.shape[-2], : weight.shape[-1]]
    return torch.where(top > 0, top, torch.ones_like(top))
