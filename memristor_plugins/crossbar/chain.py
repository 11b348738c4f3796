"""From converted inputs to a layer's outputs: current law, slices, arrays, converters and digital arithmetic."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from memristor_plugins.crossbar import sums
from memristor_plugins.crossbar.chip import LayerChip
from memristor_plugins.crossbar.geometry import Geometry
from memristor_plugins.crossbar.noise import NormalSource
from memristor_plugins.crossbar.ranges import Ranges
from memristor_plugins.crossbar.readout import effective_matrix
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.crossbar.whole import WholeColumns
from memristor_plugins.interfaces.nonideality import Site


@dataclass(frozen=True)
class Programmed:
    """A layer on a chip at a time, ready to be read.

    Args:
        chip: cells and converters.
        columns: what stands on the bit lines.
        normals: source of the read noise.
        gate: generator of the gate lines' noise.
        compensation: factors of each output that digital arithmetic applies, [banks, groups, cols]; None: none.
        whole: reads whole columns in a training step, whose `columns` are then not laid out; None: each read is read.
    """

    chip: LayerChip
    columns: sums.Columns
    normals: NormalSource
    gate: torch.Generator
    compensation: Tensor | None = None
    whole: WholeColumns | None = None


@dataclass(frozen=True)
class Chain:
    """The chain of one layer on one chip.

    Args:
        stack: what acts.
        geometry: what stands on the arrays.
        ranges: of the layer's converters.
        programmed: the chip.
        shared: banks share their converters.
        apart: outputs of the banks are told apart, [groups, banks, cols]; else they are added up.
        compiled: run what can be fused under `torch.compile`.
    """

    stack: Stack
    geometry: Geometry
    ranges: Ranges
    programmed: Programmed
    shared: bool
    apart: bool
    compiled: bool

    def kernels(self) -> Tensor:
        """The weights that the chip amounts to for small signals, [banks, out, in / groups, kh, kw]."""
        if self.programmed.whole is not None:
            return self.programmed.whole.seen
        columns = self.programmed.columns
        terms, converters, banks, nodes = columns.readout.weight.shape[:4]
        if terms == converters == banks == nodes == len(columns.reads) == 1 and columns.readout.subtracted is None:
            return columns.kernels[0][0].unsqueeze(0)  # laid out already
        matrix = effective_matrix(self.stack.mapping, columns.readout)
        return torch.stack([self.geometry.to_kernel(bank) for bank in matrix])

    def run(self, x: Tensor, gains: Tensor | None, digital: Tensor | None, slope: list[Tensor] | None = None) -> Tensor:
        """[batch, out, height', width'] of converted inputs [batch, channels, height, width].

        Args:
            gains: what the cells' third terminal applies, [batch, banks, nodes]; None: one everywhere.
            digital: bank factors that digital arithmetic applies, [batch, banks]; None: none.
            slope: where the derivative with respect to the sums' learned range is left, of the outputs' shape; None: it
                is not wanted.
        """
        stack, programmed = self.stack, self.programmed
        if programmed.whole is not None:
            return programmed.whole.read(x, gains, digital)
        inputs, current = stack.at(Site.INPUT), stack.at(Site.CURRENT)
        parts, weights = [x], [1.0]
        if inputs is not None and inputs.slice_bits is not None:
            sliced, by = inputs.slices(x, replace(stack.context(), full_scale=self.ranges.known("input")))
            parts, weights = list(sliced), by
        volts = 1.0 if current is None else stack.device.read_voltage / self.ranges.full_scale_input(x)

        def terms(part: Tensor) -> list[Tensor]:
            if current is None:
                return [part]
            return [t / volts for t in current.inputs(part * volts, stack.context())]

        if self.ranges.must_look(stack):
            look = self.ranges.finish(stack, programmed.chip, gains, programmed.normals, look=True, shared=self.shared)
            for part in parts:
                sums.read(terms(part), programmed.columns, look)
        # Nothing that follows tells banks apart.
        merged = digital is None and programmed.compensation is None and programmed.columns.readout.subtracted is None
        finish = self.ranges.finish(
            stack,
            programmed.chip,
            gains,
            programmed.normals,
            slope=slope is not None,
            shared=self.shared,
            compiled=self.compiled,
            merged=merged,
        )
        y: Tensor | None = None
        slopes: Tensor | None = None
        for part, weight in zip(parts, weights, strict=True):
            read = sums.read(terms(part), programmed.columns, finish)
            if slope is not None:
                read, change = read.chunk(2, dim=-2)
                slopes = change * weight if slopes is None else slopes.add_(change, alpha=weight)
            y = read if weight == 1.0 and y is None else read * weight if y is None else y.add_(read, alpha=weight)
        assert y is not None
        if slope is not None and slopes is not None:
            slope.append(self._combine(slopes, digital))
        subtracted = programmed.columns.readout.subtracted
        if subtracted is not None:
            y = y - self._subtract(x, subtracted, gains)
        return self._combine(y, digital)

    def _subtract(self, x: Tensor, subtracted: Tensor, gains: Tensor | None) -> Tensor:
        """What a mapping with a reference subtracts digitally: [batch, height', width', groups, banks, cols]."""
        g = self.geometry
        ones = x.new_ones(g.groups, g.in_channels // g.groups, *g.kernel_size)
        total = g.convolve(x, ones).permute(0, 2, 3, 1)[..., None, None]
        offset = subtracted.transpose(0, 1).to(total.dtype)
        if gains is not None:
            total = total * gains.sum(dim=-1).to(total.dtype)[:, None, None, None, :, None]
        total = total * offset
        return total.sum(dim=-2, keepdim=True) if self.shared else total

    def _combine(self, y: Tensor, digital: Tensor | None) -> Tensor:
        """[batch, height, width, groups, banks, cols] -> [batch, out, height, width]."""
        if self.programmed.compensation is not None:
            y = y * self.programmed.compensation.transpose(0, 1).to(y.dtype)
        if digital is not None:
            y = y * digital.to(y.dtype)[:, None, None, None, :, None]
        if not self.apart:
            y = y.squeeze(-2) if y.shape[-2] == 1 else y.sum(dim=-2)
        return y.flatten(3).permute(0, 3, 1, 2)
