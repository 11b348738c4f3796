"""The sums that bit lines form and their converters report, image by image.

Signals are channels-last: each read of an array is a 1x1 convolution of the inputs on its word lines, which runs at the
digital layer's own speed, and its sums stay in a core's cache until they are converted and added.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from memristor_plugins.crossbar.codes import Uniform, add_codes, deviation, full, weigh
from memristor_plugins.crossbar.geometry import Geometry, segments
from memristor_plugins.crossbar.noise import NormalSource
from memristor_plugins.crossbar.readout import Readout

# Values of one read that are in flight at once.
IN_FLIGHT = 1 << 19

LAST = torch.channels_last


@dataclass(frozen=True)
class Columns:
    """What stands on the bit lines of a layer.

    Args:
        geometry: the layer.
        reads: matrix rows [first, last) of each converted sum.
        readout: the cells at one time.
        kernels: convolution kernels of each read [groups * converters * banks * nodes * lines, ...] for every term.
        variances: the same for the read noise, in bfloat16 (its deviation is right within 0.4 %); None without noise.
    """

    geometry: Geometry
    reads: tuple[tuple[int, int], ...]
    readout: Readout
    kernels: list[list[Tensor]] = field(repr=False)
    variances: list[Tensor] | None = field(repr=False)

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """Groups, converters, banks, nodes, lines: the order in which sums lie in memory."""
        _, converters, banks, nodes, groups, _, lines = self.readout.weight.shape
        return groups, converters, banks, nodes, lines


def columns(geometry: Geometry, reads: tuple[tuple[int, int], ...], readout: Readout, dtype: torch.dtype) -> Columns:
    """Lay the weights of a readout out as convolution kernels."""
    whole = len(reads) == 1
    kernels, variances = [], []
    for first, last in reads:
        kernels.append([_kernel(geometry, t[..., first:last, :].to(dtype), whole) for t in readout.weight])
        if readout.variance is not None:
            variance = _kernel(geometry, readout.variance[..., first:last, :], whole)
            variances.append(variance.to(torch.bfloat16 if dtype == torch.float32 else dtype))
    # The variances are laid out: the readout need not hold them too.
    return Columns(geometry, reads, replace(readout, variance=None), kernels, variances or None)


def _kernel(geometry: Geometry, matrix: Tensor, whole: bool) -> Tensor:
    """[..., groups, rows, lines] -> [groups * prod(...) * lines, rows, 1, 1]; or the layer's own kernel size."""
    if whole:
        kernel = geometry.to_kernel(matrix)
    else:
        lead = matrix.dim() - 3
        kernel = matrix.permute(lead, *range(lead), lead + 2, lead + 1).flatten(0, -2)[:, :, None, None]
    return kernel.contiguous(memory_format=LAST)


@dataclass(frozen=True)
class Finish:
    """How sums are finished.

    Args:
        gains: what the cells' third terminal applies, [batch, banks, nodes]; None: one everywhere, one node.
        observe: told each partial sum [..., groups, converters, banks, lines] before it is converted; None: nobody is.
        convert: the converter of read `r`, on sums of that shape, which it may overwrite; None: sums stay analog.
        slope: derivative of a converted sum, from the sum and what it was converted to, which `read` then also adds up,
            as further banks; None: not wanted.
        normals: source of the read noise.
        uniform: what `convert` does, where that is all it does: sums may then be added as codes.
        from_current: sums of all converters -> outputs, see `Mapping.from_current`.
        shared: the banks' sums are added before they are converted.
    """

    gains: Tensor | None
    observe: Callable[[Tensor], None] | None
    convert: Callable[[Tensor, int], Tensor] | None
    slope: Callable[[Tensor, Tensor], Tensor] | None
    normals: NormalSource
    from_current: Callable[[Tensor], Tensor]
    uniform: Uniform | None = None
    shared: bool = False


def read(inputs: list[Tensor], columns: Columns, finish: Finish) -> Tensor:
    """Drive the word lines and add up what the converters report.

    Args:
        inputs: for each term, what the word lines carry, [batch, channels, height, width].

    Returns:
        [batch, height', width', groups, banks, cols]; one bank where they are shared.
    """
    x = inputs[0]
    geometry = columns.geometry
    height, width = geometry.output_size(x.shape[2], x.shape[3])
    groups, converters, banks, nodes, lines = columns.shape
    values = height * width * groups * converters * banks * nodes * lines
    chunk = max(1, IN_FLIGHT // values)
    if len(columns.reads) == 1:
        # Nothing is read twice: larger parts cost less than a cold cache.
        chunk *= 8
    out: Tensor | None = None
    for first in range(0, max(1, x.shape[0]), chunk):
        some = [t[first : first + chunk] for t in inputs]
        gains = None if finish.gains is None else finish.gains[first : first + chunk]
        part = _read_some(some, columns, finish, gains)
        if chunk >= x.shape[0]:
            return part
        out = part.new_empty(x.shape[0], *part.shape[1:]) if out is None else out
        out[first : first + chunk] = part
    assert out is not None, "there is at least one part"
    return out


def _read_some(inputs: list[Tensor], columns: Columns, finish: Finish, gains: Tensor | None) -> Tensor:
    lines = _WordLines(inputs, columns, noisy=columns.variances is not None)
    uniform = finish.uniform if columns.readout.offset is None else None
    total: Tensor | None = None
    for index in range(len(columns.reads)):
        raw, squares = lines.sums(index), lines.variances(index) if lines.noisy else None
        if uniform is not None:
            with torch.no_grad():
                total = add_codes(total, raw, squares, gains, finish.normals, uniform)
        else:
            sums = _converted(raw, squares, gains, index, columns, finish)
            total = sums if total is None else total.add_(sums)
    assert total is not None, "a layer has at least one row"
    groups, converters = columns.shape[:2]
    total = total.unflatten(2, (groups, converters)).unflatten(1, (lines.height, lines.width))
    out = finish.from_current(total.movedim(-3, 0))
    return out if uniform is None else out.mul_(uniform.step)


def _converted(
    raw: Tensor, squares: Tensor | None, gains: Tensor | None, index: int, columns: Columns, finish: Finish
) -> Tensor:
    """What any converter reports of one read, [batch, pixels, groups * converters, banks, lines]."""
    sums = weigh(full(raw), gains)
    offset = columns.readout.offset
    if offset is not None:
        constant = offset.sum(dim=-2) if len(columns.reads) == 1 else offset[..., index, :]
        sums = sums + _weigh_offset(constant, gains).to(sums.dtype)
    if squares is not None:
        with torch.no_grad():
            sums = finish.normals.add_(sums, deviation(squares, gains, sums.dtype))
    if finish.shared:
        sums = sums.sum(dim=-2, keepdim=True)
    if finish.observe is None and finish.convert is None:
        return sums
    sums = sums.unflatten(2, columns.shape[:2])
    if finish.observe is not None:
        finish.observe(sums)
    if finish.convert is not None:
        before = sums.clone() if finish.slope is not None else None
        sums = finish.convert(sums, index)
        if before is not None and finish.slope is not None:
            sums = torch.cat((sums, finish.slope(before, sums)), dim=-2)
    return sums.flatten(2, 3)


def _weigh_offset(offset: Tensor, gains: Tensor | None) -> Tensor:
    """[converters, banks, nodes, groups, lines] -> [1 or batch, 1, groups * converters, banks, lines]."""
    offset = offset.permute(3, 0, 1, 2, 4).flatten(0, 1)
    if gains is None:
        return offset[:, :, 0][None, None]
    g = gains.to(offset.dtype)[:, None, :, :, None]
    return (offset[None] * g).sum(dim=-2)[:, None]


class _WordLines:
    """The signals of a few images on the word lines of each read."""

    def __init__(self, inputs: list[Tensor], columns: Columns, *, noisy: bool) -> None:
        self.columns, self.geometry, self.noisy = columns, columns.geometry, noisy
        self.whole = len(columns.reads) == 1
        self.height, self.width = self.geometry.output_size(*inputs[0].shape[2:])
        ph, pw = (0, 0) if self.whole else self.geometry.padding
        self.inputs = [_last(F.pad(x, (pw, pw, ph, ph)) if ph or pw else x) for x in inputs]
        # The terms of a current law add up to the voltage, which a fluctuation of the conductance is driven with.
        driven = self.inputs[0] if len(inputs) == 1 else torch.stack(self.inputs).sum(dim=0)
        self.squares = driven.square() if noisy else None
        if self.squares is not None and columns.variances is not None:
            self.squares = self.squares.to(columns.variances[0].dtype)

    def sums(self, index: int) -> Tensor:
        """[batch, pixels, groups * converters, banks, nodes, lines] of one read, dense."""
        total: Tensor | None = None
        for x, kernel in zip(self.inputs, self.columns.kernels[index], strict=True):
            part = self._apply(x, kernel, index)
            total = part if total is None else total.add_(part)
        assert total is not None, "there is at least one term"
        return self._by_pixel(total)

    def variances(self, index: int) -> Tensor:
        """Variance of the same sums."""
        assert self.squares is not None, "the read is noisy"
        assert self.columns.variances is not None, "the read is noisy"
        return self._by_pixel(self._apply(self.squares, self.columns.variances[index], index))

    def _by_pixel(self, sums: Tensor) -> Tensor:
        groups, converters, *rest = self.columns.shape
        by_pixel = _last(sums).permute(0, 2, 3, 1).flatten(1, 2)
        return by_pixel.unflatten(-1, (groups * converters, *rest))  # type: ignore[no-any-return]

    def _apply(self, x: Tensor, kernel: Tensor, index: int) -> Tensor:
        if self.whole:
            return self.geometry.convolve(x, kernel)
        first, last = self.columns.reads[index]
        g = self.geometry
        channels, (sh, sw), (dh, dw) = g.in_channels // g.groups, g.stride, g.dilation
        parts = []
        for s in segments(g, first, last):
            top, left = s.position[0] * dh, s.position[1] * dw
            view = x[:, :, top : top + (self.height - 1) * sh + 1 : sh, left : left + (self.width - 1) * sw + 1 : sw]
            if g.groups == 1:
                parts.append(view[:, s.start : s.stop])
            else:
                parts.append(view.unflatten(1, (g.groups, channels))[:, :, s.start : s.stop])
        signal = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1 if g.groups == 1 else 2)
        if g.groups > 1:
            signal = signal.flatten(1, 2)
        return F.conv2d(_last(signal), kernel, groups=g.groups)


def _last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=LAST)
