"""How a layer's weights stand as a matrix on word lines and bit lines, and how rows are split over arrays."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Geometry:
    """The linear operator of a layer: a 2-D convolution; a Linear is one with a 1x1 kernel on one pixel.

    Rows of the matrix are ordered kernel position first, input channel last, so that each array's rows are shifted
    views of the input.
    """

    in_channels: int
    out_channels: int
    kernel_size: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    @property
    def rows(self) -> int:
        """Word lines of one group's matrix."""
        return self.kernel_size[0] * self.kernel_size[1] * self.in_channels // self.groups

    @property
    def cols(self) -> int:
        """Outputs of one group's matrix."""
        return self.out_channels // self.groups

    def to_matrix(self, weight: Tensor) -> Tensor:
        """[..., out, in / groups, kh, kw] -> [..., groups, rows, cols]."""
        lead = weight.shape[:-4]
        w = weight.reshape(*lead, self.groups, self.cols, -1, *self.kernel_size)
        n = len(lead)
        # [..., g, o, i, h, w] -> [..., g, h, w, i, o]
        w = w.permute(*range(n), n, n + 3, n + 4, n + 2, n + 1)
        return w.reshape(*lead, self.groups, self.rows, self.cols)

    def to_kernel(self, matrix: Tensor) -> Tensor:
        """[..., groups, rows, cols] -> [groups * prod(...) * cols, in / groups, kh, kw], group outermost.

        The output channels of the grouped convolution then read [groups, ..., cols]. Channels last in memory.
        """
        lead = matrix.shape[:-3]
        n = len(lead)
        w = matrix.reshape(*lead, self.groups, *self.kernel_size, -1, self.cols)
        # [..., g, h, w, i, o] -> [g, ..., o, h, w, i]
        w = w.permute(n, *range(n), n + 4, n + 1, n + 2, n + 3)
        return w.reshape(-1, *self.kernel_size, self.in_channels // self.groups).permute(0, 3, 1, 2)

    def convolve(self, x: Tensor, kernel: Tensor) -> Tensor:
        """x [batch, in, h, w] under kernels [n * groups, in / groups, kh, kw], in the layer's geometry."""
        return F.conv2d(x, kernel, stride=self.stride, padding=self.padding, dilation=self.dilation, groups=self.groups)

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Pixels of the output."""
        h, w = (
            (size + 2 * p - d * (k - 1) - 1) // s + 1
            for size, p, d, k, s in zip(
                (height, width), self.padding, self.dilation, self.kernel_size, self.stride, strict=True
            )
        )
        return h, w


@dataclass(frozen=True)
class Segment:
    """Input channels [start, stop) of a group at one kernel position."""

    position: tuple[int, int]
    start: int
    stop: int


def segments(geometry: Geometry, first: int, last: int) -> list[Segment]:
    """Matrix rows [first, last) by kernel position."""
    channels = geometry.in_channels // geometry.groups
    cut, row = [], first
    while row < last:
        place, start = divmod(row, channels)
        stop = min(channels, start + last - row)
        cut.append(Segment(divmod(place, geometry.kernel_size[1]), start, stop))
        row += stop - start
    return cut


def interpolation(u: Tensor, nodes: Tensor) -> Tensor:
    """Lagrange coefficients [..., nodes] of points u [...] on nodes [J]; they add up to one."""
    if nodes.numel() == 1:
        return torch.ones_like(u).unsqueeze(-1)
    columns = []
    for j in range(nodes.numel()):
        others = torch.cat((nodes[:j], nodes[j + 1 :]))
        columns.append(((u.unsqueeze(-1) - others) / (nodes[j] - others)).prod(dim=-1))
    return torch.stack(columns, dim=-1)
