"""How a layer's conductances lie on physical arrays: planes on adjacent bit lines, padding cells at g_min."""

from __future__ import annotations

from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor

from memristor_plugins.interfaces.mapping import Mapping


def reads(rows: int, array_rows: int, rows_per_read: int) -> list[tuple[int, int]]:
    """Matrix rows [first, last) whose currents one conversion adds up: an array's, `rows_per_read` at a time."""
    cut = []
    for array in range(0, rows, array_rows):
        end = min(rows, array + array_rows)
        cut += [(first, min(end, first + rows_per_read)) for first in range(array, end, rows_per_read)]
    return cut


def lines_across(mapping: Mapping) -> int:
    """Lines of the weight matrix that one array holds, all their planes beside one another."""
    return max(1, mapping.columns // mapping.planes)


def arrays_across(mapping: Mapping, lines: int) -> int:
    """Arrays side by side that `lines` take."""
    return ceil(lines / lines_across(mapping))


def over_lines(values: Tensor, mapping: Mapping, lines: int) -> Tensor:
    """A value for each array side by side [..., arrays] -> the same for each line [..., lines]."""
    return values.repeat_interleave(lines_across(mapping), dim=-1)[..., :lines]


def to_arrays(g: Tensor, mapping: Mapping, padding: float) -> Tensor:
    """Conductances [planes, ..., rows, lines] -> physical arrays [..., row tiles, arrays, word lines, bit lines].

    Word lines beyond the last row and bit lines beyond the last line hold `padding` siemens.
    """
    planes, rows, lines = g.shape[0], g.shape[-2], g.shape[-1]
    across, tall = lines_across(mapping), ceil(rows / mapping.rows)
    wide = arrays_across(mapping, lines)
    g = F.pad(g, (0, wide * across - lines, 0, tall * mapping.rows - rows), value=padding)
    g = g.unflatten(-1, (wide, across)).unflatten(-3, (tall, mapping.rows))
    # [planes, ..., tall, R, wide, across] -> [..., tall, wide, R, across, planes]
    g = g.movedim(0, -1).transpose(-4, -3).flatten(-2)
    return F.pad(g, (0, mapping.columns - across * planes), value=padding)


def from_arrays(arrays: Tensor, mapping: Mapping, rows: int, lines: int, planes: int) -> Tensor:
    """The inverse of `to_arrays`: [planes, ..., rows, lines]."""
    across = lines_across(mapping)
    g = arrays[..., : across * planes].unflatten(-1, (across, planes))
    g = torch.movedim(g.transpose(-4, -3), -1, 0)  # [planes, ..., tall, R, wide, across]
    return g.flatten(-2).flatten(-3, -2)[..., :rows, :lines]
