"""The sums that bit lines form: on whole columns, or on each array's share of a column with a converter of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from memristor_plugins.crossbar.geometry import Geometry, Segment, offset, shifted_rows, tiles
from memristor_plugins.crossbar.noise import NormalSource

# Values of one array's sums that are in flight at once: small enough to stay in a core's cache between passes.
IN_FLIGHT = 1 << 19


@dataclass(frozen=True)
class Columns:
    """What stands on the bit lines, and what happens to their sums.

    Args:
        geometry: the layer.
        rows: word lines of one array.
        weight: [converters, banks, nodes, groups, rows, cols].
        variance: of read noise, same shape, or None.
        gains: what the cells' third terminal applies, [batch, banks, nodes]; None: one everywhere, one node.
        observe: told each partial sum before it is converted; None once ranges are known.
        convert: the converter; None where sums stay analog.
        normals: source of the read noise; needed with `variance`.
    """

    geometry: Geometry
    rows: int
    weight: Tensor
    variance: Tensor | None
    gains: Tensor | None
    observe: Callable[[Tensor], None] | None
    convert: Callable[[Tensor], Tensor] | None
    normals: NormalSource | None

    def finish(self, sums: Tensor, square_sums: Tensor | None, gains: Tensor | None) -> Tensor:
        """Gain, noise and nodes of raw sums [batch, pixels, converters, banks, nodes, cols], before conversion."""
        sums = _weigh(sums, gains)
        if square_sums is None or self.normals is None:
            return sums
        with torch.no_grad():
            # Variances are told over the squared nominal gain, which the weights of the nodes add up to.
            total = None if gains is None else gains * gains.sum(dim=-1, keepdim=True)
            std = _weigh(square_sums, total).clamp_min_(0).sqrt_()
            noise = self.normals.fill_(torch.empty(sums.shape, dtype=torch.float32, device=sums.device))
        return torch.addcmul(sums, noise.to(sums.dtype), std)


def _weigh(sums: Tensor, gains: Tensor | None) -> Tensor:
    """[batch, pixels, converters, banks, nodes, cols] -> the same without nodes, weighed by gains."""
    if gains is None:
        return sums[:, :, :, :, 0]
    g = gains.to(sums.dtype)[:, None, None, :, :, None]
    weighed = sums[:, :, :, :, 0] * g[:, :, :, :, 0]
    for node in range(1, sums.shape[4]):
        weighed = torch.addcmul(weighed, sums[:, :, :, :, node], g[:, :, :, :, node])
    return weighed


def whole(x: Tensor, columns: Columns) -> Tensor:
    """Sums over whole columns by one convolution; converters, if any, act on them.

    Args:
        x: converted inputs [batch, channels, height, width].

    Returns:
        [converters, batch, banks, height', width', out].
    """
    geometry = columns.geometry
    converters, banks, nodes = columns.weight.shape[:3]
    height, width = geometry.output_size(x.shape[2], x.shape[3])

    def run(inputs: Tensor, matrix: Tensor) -> Tensor:
        y = geometry.convolve(inputs, geometry.to_kernel(matrix).to(inputs.dtype)).permute(0, 2, 3, 1)
        y = y.reshape(y.shape[0], height * width, geometry.groups, converters, banks, nodes, geometry.cols)
        # Groups join the columns: [batch, pixels, converters, banks, nodes, out].
        return y.permute(0, 1, 3, 4, 5, 2, 6).reshape(*y.shape[:2], converters, banks, nodes, geometry.out_channels)

    squares = None
    if columns.variance is not None:
        with torch.no_grad():
            squares = run(x.square(), columns.variance)
    sums = columns.finish(run(x, columns.weight), squares, columns.gains)
    if columns.observe is not None:
        columns.observe(sums)
    if columns.convert is not None:
        sums = columns.convert(sums)
    y = sums.reshape(x.shape[0], height, width, converters, banks, geometry.out_channels)
    return y.permute(3, 0, 4, 1, 2, 5)


def tiled(x: Tensor, columns: Columns) -> Tensor:
    """Sums of each array of `rows` word lines, converted, then added: matrix products over shifted views of the input.

    Arguments and result as `whole`.
    """
    geometry = columns.geometry
    converters, banks, nodes = columns.weight.shape[:3]
    height, width = geometry.output_size(x.shape[2], x.shape[3])
    cut = tiles(geometry, columns.rows)
    # [groups, rows, converters * banks * nodes * cols]
    matrices = _side_by_side(columns.weight).to(x.dtype)
    variances = None if columns.variance is None else _side_by_side(columns.variance).to(x.dtype)
    pixels = (x.shape[2] + 2 * geometry.padding[0]) * (x.shape[3] + 2 * geometry.padding[1])
    chunk = max(1, IN_FLIGHT // (pixels * matrices.shape[-1]))
    out = x.new_empty(x.shape[0], height, width, converters, banks, geometry.groups, geometry.cols)
    for first in range(0, x.shape[0], chunk):
        part = x[first : first + chunk]
        gains = None if columns.gains is None else columns.gains[first : first + chunk]
        rows = _Rows(part, geometry)
        squares = None if variances is None else _Rows(part.square(), geometry)
        for group in range(geometry.groups):
            total: Tensor | None = None
            for segments in cut:
                raw = rows.product(segments, matrices[group], group)
                raw = raw.view(part.shape[0], -1, converters, banks, nodes, geometry.cols)
                raw_squares = None
                if squares is not None and variances is not None:
                    raw_squares = squares.product(segments, variances[group], group).view(raw.shape)
                sums = columns.finish(raw, raw_squares, gains)
                if columns.observe is not None:
                    columns.observe(sums)
                if columns.convert is not None:
                    sums = columns.convert(sums)
                total = sums if total is None else total.add_(sums)
            assert total is not None, "a layer has at least one row"
            out[first : first + chunk, :, :, :, :, group] = total.unflatten(1, (height, width))
    y = out.reshape(x.shape[0], height, width, converters, banks, geometry.out_channels)
    return y.permute(3, 0, 4, 1, 2, 5)


def _side_by_side(matrix: Tensor) -> Tensor:
    """[converters, banks, nodes, groups, rows, cols] -> [groups, rows, converters * banks * nodes * cols]."""
    return matrix.permute(3, 4, 0, 1, 2, 5).flatten(2).contiguous()


class _Rows:
    """The word-line signals of a few images, one matrix row a pixel."""

    def __init__(self, x: Tensor, geometry: Geometry) -> None:
        self.geometry = geometry
        self.batch = x.shape[0]
        self.height, self.width = geometry.output_size(x.shape[2], x.shape[3])
        self.dense = geometry.stride == (1, 1)
        self.flat, (self.hp, self.wp) = shifted_rows(x, geometry)

    def product(self, segments: list[Segment], matrix: Tensor, group: int) -> Tensor:
        """Sums of one array [batch * pixels, cols].

        With a stride of one the product runs over the padded image, whose rows are views; the border is cut off after.
        """
        first, *rest = list(self._operands(segments, matrix, group))
        out = torch.mm(*first)
        for signal, weight in rest:
            out = out.addmm_(signal, weight)
        if not self.dense:
            return out
        image = out.view(self.batch, self.hp, self.wp, -1)
        return image[:, : self.height, : self.width].reshape(-1, out.shape[-1])

    def _operands(self, segments: list[Segment], matrix: Tensor, group: int) -> Iterator[tuple[Tensor, Tensor]]:
        base = group * (self.geometry.in_channels // self.geometry.groups)
        count = self.batch * self.hp * self.wp
        for s in segments:
            start = offset(s, self.geometry, self.wp)
            signal = self.flat[start : start + count, base + s.start : base + s.stop]
            if not self.dense:
                (sh, sw), image = self.geometry.stride, signal.unflatten(0, (self.batch, self.hp, self.wp))
                image = image[:, : (self.height - 1) * sh + 1 : sh, : (self.width - 1) * sw + 1 : sw]
                signal = image.reshape(-1, s.stop - s.start)
            yield signal, matrix[s.row : s.row + s.stop - s.start]
