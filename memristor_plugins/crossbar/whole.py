"""A training step's read of whole columns: one product, then the errors of all their cells and converters together.

What is simplified against `chain.Chain`, which evaluation and `hardware.sums=each` run:

    converters  a column whose n partial sums are converted one by one is rounded once, to sqrt(n) steps: the same mean
                square error, n step^2 / 12, where none of them is nothing but padding, which errs by nothing. Sums
                beyond a converter's range (its calibration leaves out 0.01 %) are cut off where a column is one
                conversion and nothing digital follows it, and nowhere else.
    read noise  the variance of cell (i, o) is taken as r_i c_o / m, with r, c and m the means of its row, its column
                and all: the mean is kept, and one product serves all columns.

The cells of the fresh chip are drawn as `Chain` has them. What is not covered is read as evaluation does (`simple`,
`whole_columns`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from memristor_plugins.crossbar.chip import LayerChip
from memristor_plugins.crossbar.geometry import Geometry
from memristor_plugins.crossbar.modulated import modulated_conv2d
from memristor_plugins.crossbar.noise import NormalSource
from memristor_plugins.crossbar.plan import Plan
from memristor_plugins.crossbar.ranges import Ranges
from memristor_plugins.crossbar.readout import Readout, effective_matrix
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.interfaces.kernel import Modulation
from memristor_plugins.interfaces.mapping import Mapping
from memristor_plugins.interfaces.nonideality import Site

# Values of the outputs that are finished at once: with their deviations they stay in a core's cache.
IN_FLIGHT = 1 << 18


def simple(stack: Stack, geometry: Geometry) -> bool:
    """Whole columns can be read: currents are linear, inputs are driven at once, and every column is an output."""
    inputs = stack.at(Site.INPUT)
    at_once = inputs is None or inputs.slice_bits is None
    return at_once and not stack.has(Site.CURRENT) and stack.mapping.lines(geometry.cols) == geometry.cols


@dataclass(frozen=True)
class Noise:
    """Read noise of the cells of a layer, as the product of a row's and a column's share.

    Args:
        rows: kernel [banks * groups, in / groups, kh, kw], the mean over columns: its product with squared inputs is
            the mean variance of a bank's sums.
        columns: [groups, banks, cols], a column's variance over the mean.
    """

    rows: Tensor
    columns: Tensor


def noise_of(by: Tensor, geometry: Geometry, readout: Readout) -> Noise | None:
    """The read noise of a training step's readout, one gate voltage a bank; None: there is none.

    Args:
        by: squares of what each of an output's converters counts for.
    """
    if readout.variance is None:
        return None
    # [banks, groups, rows, cols]; a product that autocast would compute in half precision
    variance = (by.to(readout.variance).view(-1, 1, 1, 1, 1) * readout.variance[:, :, 0]).sum(dim=0)
    rows = variance.mean(dim=-1, keepdim=True)
    columns = variance.mean(dim=-2) / rows.mean(dim=-2).clamp_min(torch.finfo(rows.dtype).tiny)
    # [groups, rows, banks]: a convolution of `banks` outputs a group
    kernel = replace(geometry, out_channels=geometry.groups * len(rows)).to_kernel(rows[..., 0].permute(1, 2, 0))
    return Noise(kernel, columns.transpose(0, 1))


def coefficients(mapping: Mapping, readout: Readout) -> Tensor:
    """What each of an output's converters counts for, [converters]."""
    weight = readout.weight
    each = torch.eye(weight.shape[1], dtype=weight.dtype)  # on the CPU: asking a GPU for numbers would wait for it
    return mapping.from_current(each.unsqueeze(-1)).flatten()


@dataclass(frozen=True)
class WholeColumns:
    """What finishes the sums of whole columns.

    Args:
        geometry: the layer.
        seen: what the cells amount to, [banks, out, in / groups, kh, kw].
        noise: of the cells; None: none.
        uniform: low, high and step of a converter; None: sums stay analog.
        conversions: an output's conversions of each bank, weighed with the squares of what they count for; 1: one.
        clips: a column is one conversion, whose range its sums keep to.
        shared: the banks' sums are converted together.
        normals: source of the read noise.
    """

    geometry: Geometry
    seen: Tensor
    noise: Noise | None
    uniform: tuple[float, float, float] | None
    conversions: float
    clips: bool
    shared: bool
    normals: NormalSource

    def read(self, x: Tensor, gains: Tensor | None, digital: Tensor | None) -> Tensor:
        """[batch, out, height', width'] of converted inputs x [batch, in, height, width], without gradients.

        Args:
            gains: what the cells' third terminal applies, [batch, banks, 1]; None: one everywhere.
            digital: factors that are applied after the converters, [batch, banks]; None: ones.
        """
        g = self.geometry
        factors = digital if gains is None else gains[..., 0] if digital is None else gains[..., 0] * digital
        # As in autocast: a convolution of these would cast its kernel anew for every image.
        seen = self.seen.to(x.dtype)
        modulation = Modulation() if factors is None else Modulation(bank=factors)
        y = modulated_conv2d(
            x, seen, modulation, stride=g.stride, padding=g.padding, dilation=g.dilation, groups=g.groups
        )
        squares = None if self.noise is None else self._variances(x, factors)
        step = self._steps(y, digital)
        last = y.is_contiguous(memory_format=torch.channels_last) and not y.is_contiguous()
        # On a GPU a part costs launches, and no cache holds it.
        chunk = len(y) if y.is_cuda else max(1, IN_FLIGHT // max(1, y.shape[1:].numel()))
        for first in range(0, len(y), chunk):
            part = slice(first, first + chunk)
            sums = y[part].float() if y.dtype in (torch.bfloat16, torch.float16) else y[part]
            if squares is not None:
                self.normals.add_(sums, self._deviation(squares[part], sums, last))
            if step is not None and self.uniform is not None:
                if self.clips and digital is None:
                    sums.clamp_(*self.uniform[:2])
                by = step[part].to(sums.dtype)
                sums.mul_(by.reciprocal()).round_().mul_(by)
            y[part] = sums
        return y

    def _variances(self, x: Tensor, factors: Tensor | None) -> Tensor:
        """[batch, groups, banks, height', width']: mean variance of the columns of each bank."""
        assert self.noise is not None, "there is noise"
        g = replace(self.geometry, out_channels=len(self.noise.rows))
        squares: Tensor = g.convolve(x.square(), self.noise.rows.to(x.dtype)).unflatten(1, (g.groups, -1))
        return squares if factors is None else squares * factors.square()[:, None, :, None, None].to(x.dtype)

    def _steps(self, y: Tensor, digital: Tensor | None) -> Tensor | None:
        """The step of each image [batch, 1, 1, 1]; None: sums are not converted."""
        if self.uniform is None:
            return None
        count = y.new_full((len(y),), self.conversions, dtype=torch.float32)
        if digital is not None:
            count = count * digital.detach().float().square().sum(dim=1)
        elif not self.shared:
            count = count * len(self.seen)
        steps = (count.sqrt_() * self.uniform[2]).clamp_min_(torch.finfo(torch.float32).tiny)  # factors may all be zero
        return steps.view(-1, 1, 1, 1)

    def _deviation(self, squares: Tensor, sums: Tensor, last: bool) -> Tensor:
        """Deviation of each sum, dense as `sums` is."""
        assert self.noise is not None, "there is noise"
        columns = self.noise.columns.to(squares.dtype)
        if columns.shape[0] > 1:
            spread = torch.einsum("bgkhw,gko->bgohw", squares, columns).flatten(1, 2)
            spread = spread.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
        elif last:
            spread = (squares[:, 0].permute(0, 2, 3, 1) @ columns[0]).permute(0, 3, 1, 2)
        else:
            spread = (columns[0].T @ squares[:, 0].flatten(2)).view(sums.shape)
        return spread.to(sums.dtype).sqrt_()


def whole_columns(
    stack: Stack,
    geometry: Geometry,
    ranges: Ranges,
    plan: Plan,
    chip: LayerChip,
    readout: Readout,
    normals: NormalSource,
    *,
    shared: bool,
) -> WholeColumns | None:
    """The columns of a training step's chip; None where these have to be read one by one."""
    if readout.offset is not None or not simple(stack, geometry):
        return None
    if ranges.calibrating or ranges.must_look(stack) or ranges.learned_sum(stack) is not None:
        return None
    uniform = ranges.uniform(stack, chip)
    if stack.has(Site.SUM) and (uniform is None or (len(plan.reads) > 1 and ranges.cuts_often(stack))):
        return None
    by = coefficients(stack.mapping, readout).square()
    conversions = len(plan.reads) * float(by.sum())
    seen = torch.stack([geometry.to_kernel(bank) for bank in effective_matrix(stack.mapping, readout)])
    clips = conversions == 1 and readout.subtracted is None and (shared or len(seen) == 1)
    return WholeColumns(geometry, seen, noise_of(by, geometry, readout), uniform, conversions, clips, shared, normals)
