"""Watts of an array while it is read, from the statistics of what its word lines are given."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from memristor_plugins.crossbar.geometry import Geometry, segments

# Second moments that are in flight at once.
IN_FLIGHT = 1 << 24


def row_sums(geometry: Geometry, values: Tensor) -> Tensor:
    """Sums over all reads of what each word line is given: [batch, channels, h, w] -> [batch, groups, rows], float64.

    In the precision of the values. Of the squared voltages these are the diagonal of the rows' second moments.
    """
    batch, channels, *size = values.shape
    values = values if values.is_floating_point() else values.float()
    windows = _windows(geometry, (size[0], size[1])).to(values)
    if values.is_contiguous(memory_format=torch.channels_last):
        sums = windows.mT @ values.permute(0, 2, 3, 1).reshape(batch, -1, channels)
    else:
        sums = (values.reshape(batch, channels, -1) @ windows).mT
    by_group: Tensor = sums.double().unflatten(2, (geometry.groups, -1))
    return by_group.transpose(1, 2).flatten(2)


def _windows(geometry: Geometry, size: tuple[int, int]) -> Tensor:
    """1 where a pixel is under a place of the kernel in some read, [pixels, places]: a sum over reads is a product."""
    axes = []
    for axis, (pixels, reads) in enumerate(zip(size, geometry.output_size(*size), strict=True)):
        place, read = torch.arange(geometry.kernel_size[axis]), torch.arange(reads)
        at = place[:, None] * geometry.dilation[axis] - geometry.padding[axis] + read * geometry.stride[axis]
        axes.append((at.unsqueeze(0) == torch.arange(pixels)[:, None, None]).any(dim=-1).float())
    down, across = axes
    return (down[:, None, :, None] * across[None, :, None, :]).flatten(2).flatten(0, 1)


def read_power(v2: Tensor, row_g: Tensor) -> Tensor:
    """Watts in cells: sum over word lines of their sum of v I(v) / G, [terms, batch, groups, rows], times their cells.

    `row_g` [terms, banks, nodes, groups, rows]; returns [batch, banks, nodes], float64, all reads added up. Ohmic cells
    are one term, v^2. Without wires this is what the sources deliver; with them, what the converters see of it.
    """
    return torch.einsum("tbgr,tkngr->bkn", v2.double(), row_g.double())


def source_power(geometry: Geometry, driven: list[Tensor], admittance: Tensor, lines: int, at_once: int) -> Tensor:
    """Watts that the sources of arrays with resistive wires deliver: sum over reads of v^T A v.

    From the second moments of the rows of each array, sum over reads of v v^T for each image.

    Args:
        geometry: the layer.
        driven: voltages [batch, channels, h, w] that are driven one after another; float64 for an exact sum, float32
            for its rounding.
        admittance: [banks, nodes, groups, arrays, lines, lines], siemens.
        lines: word lines of an array.
        at_once: those that are driven at once; the others stand at ground meanwhile.

    Returns:
        [batch, banks, nodes], float64.
    """
    # [(group, line, line), (bank, node)] of each array.
    wanted = admittance.permute(3, 2, 4, 5, 0, 1)
    power = []
    chunk = max(1, IN_FLIGHT // (geometry.groups * lines * lines))
    for first in range(0, len(driven[0]), chunk):
        some = [v[first : first + chunk] for v in driven]
        total = admittance.new_zeros(len(some[0]), admittance.shape[0] * admittance.shape[1])
        for array, moments in enumerate(second_moments(geometry, some, lines, at_once)):
            size = moments.shape[-1]
            seen = wanted[array, :, :size, :size].flatten(3).flatten(0, 2)
            total += moments.double().flatten(1) @ seen
        power.append(total)
    watts: Tensor = torch.cat(power).unflatten(-1, admittance.shape[:2])
    return watts


def second_moments(geometry: Geometry, driven: list[Tensor], lines: int, at_once: int) -> Iterator[Tensor]:
    """For each array on top of one another, sum over reads of v v^T: [batch, groups, rows, rows].

    Arguments as of `source_power`. Rows that are never driven at once have no moment.
    """
    (up, left), groups = geometry.padding, geometry.groups
    padded = [F.pad(v, (left, left, up, up)) if up or left else v for v in driven]
    size = geometry.output_size(*driven[0].shape[2:])
    for first in range(0, geometry.rows, lines):
        last = min(geometry.rows, first + lines)
        total: Tensor | None = None
        for values in padded:
            # [batch, groups, rows, reads]
            window = torch.cat(
                [
                    _view(geometry, values, s.position, size).unflatten(1, (groups, -1))[:, :, s.start : s.stop]
                    for s in segments(geometry, first, last)
                ],
                dim=2,
            ).flatten(3)
            moments = window @ window.mT
            total = moments if total is None else total.add_(moments)
        assert total is not None, "something is driven"
        if at_once < last - first:
            block = torch.arange(last - first, device=total.device) // at_once
            total = total * (block[:, None] == block)
        yield total


def _view(geometry: Geometry, padded: Tensor, position: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """What the word lines of one kernel position are given, [batch, channels, height', width']."""
    (down, right), (tall, wide) = geometry.stride, geometry.dilation
    top, left = position[0] * tall, position[1] * wide
    return padded[:, :, top : top + (size[0] - 1) * down + 1 : down, left : left + (size[1] - 1) * right + 1 : right]
