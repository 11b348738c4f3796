"""How a layer with modulated kernels stands on stationary arrays: what drives its word lines, what adds its outputs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from memristor_plugins.crossbar.geometry import Geometry
from memristor_plugins.errors import SimulationError
from memristor_plugins.interfaces.kernel import Kernel, Modulation


@dataclass(frozen=True)
class Arrangement:
    """A layer whose arrays hold its banks as they are. Bank factors are the engine's, all others are realised here.

    Args:
        own: the layer's convolution.
        banks: kernels on the arrays that read the same word lines.
    """

    own: Geometry
    banks: int

    @property
    def geometry(self) -> Geometry:
        """The convolution that the arrays compute of what `drive` returns."""
        return self.own

    @property
    def apart(self) -> bool:
        """Outputs of banks and groups are told apart, and added up by `combine`."""
        return False

    def weight(self, w: Tensor) -> Tensor:
        """Banks [banks, out, in / groups, kh, kw] of the layer -> those of `geometry`."""
        return w

    def drive(self, x: Tensor, m: Modulation) -> Tensor:
        """The layer's input under factors of input channels and kernel positions -> what the drivers are given."""
        return x if m.input is None else x * m.input[:, :, None, None].to(x.dtype)

    def combine(self, y: Tensor, m: Modulation) -> Tensor:
        """What the arrays report -> the layer's output under factors of output channels."""
        return y if m.output is None else y * m.output[:, :, None, None].to(y.dtype)

    def multiplies(self, m: Modulation, pixels: int, positions: int) -> tuple[float, float]:
        """Digital multiplications of `drive` and `combine`, and multiply-accumulates of mixing inputs.

        Args:
            pixels, positions: of one image's input and output.
        """
        count = pixels * self.own.in_channels if m.input is not None else 0
        return float(count + (positions * self.own.out_channels if m.output is not None else 0)), 0.0


@dataclass(frozen=True)
class Positioned(Arrangement):
    """Factors of kernel positions: each word line carries its own product, so rows are inputs of a 1x1 convolution.

    Rows of the matrix are ordered kernel position first, as everywhere: the arrays are those of the layer as it is.
    """

    @property
    def geometry(self) -> Geometry:
        size = self.own.kernel_size[0] * self.own.kernel_size[1]
        return Geometry(self.own.in_channels * size, self.own.out_channels, groups=self.own.groups)

    def weight(self, w: Tensor) -> Tensor:
        # [banks, out, in / groups, kh, kw] -> [banks, out, kh * kw * in / groups, 1, 1]
        return w.permute(0, 1, 3, 4, 2).flatten(2)[..., None, None]

    def drive(self, x: Tensor, m: Modulation) -> Tensor:
        assert m.position is not None, "the kernel declares position factors"
        factors = m.position.flatten(1).to(x.dtype)
        lines = [view * factors[:, n, None, None, None] for n, view in enumerate(views(self.own, super().drive(x, m)))]
        if self.own.groups == 1:
            return torch.cat(lines, dim=1)
        # [batch, places, groups, channels, h, w] -> group outermost
        stacked: Tensor = torch.stack(lines, dim=1).unflatten(2, (self.own.groups, -1))
        return stacked.transpose(1, 2).flatten(1, 3)

    def multiplies(self, m: Modulation, pixels: int, positions: int) -> tuple[float, float]:
        factors, mixing = super().multiplies(m, pixels, positions)
        return factors + float(positions * self.geometry.in_channels), mixing


@dataclass(frozen=True)
class Driven(Arrangement):
    """Cells of one pixel whose word lines carry mixtures of the kernel's positions and chunks: groups that are added.

    Args:
        cells: number of cells.
        chunks: chunks of the input channels; a cell has as many inputs as one has.
    """

    cells: int
    chunks: int

    @property
    def geometry(self) -> Geometry:
        each = self.own.in_channels // self.chunks
        return Geometry(self.cells * each, self.cells * self.own.out_channels, groups=self.cells)

    @property
    def apart(self) -> bool:
        return True

    def weight(self, w: Tensor) -> Tensor:
        return w.flatten(0, 1).unsqueeze(0)

    def drive(self, x: Tensor, m: Modulation) -> Tensor:
        assert m.drive is not None, "the kernel declares drive factors"
        return drive(self.own, x, m.drive).flatten(1, 2)

    def combine(self, y: Tensor, m: Modulation) -> Tensor:
        return super().combine(y.unflatten(1, (self.cells, -1)).sum(dim=1), m)

    def multiplies(self, m: Modulation, pixels: int, positions: int) -> tuple[float, float]:
        size = self.own.kernel_size[0] * self.own.kernel_size[1]
        factors, _ = super().multiplies(m, pixels, positions)
        return factors, float(positions * self.cells * size * self.own.in_channels)


@dataclass(frozen=True)
class Parted(Arrangement):
    """Factors of each bank's outputs for each part of the input channels: parts are read apart, scaled and added.

    Args:
        parts: parts of the input channels.
    """

    parts: int

    @property
    def geometry(self) -> Geometry:
        return replace(self.own, out_channels=self.own.out_channels * self.parts, groups=self.parts)

    @property
    def apart(self) -> bool:
        return True

    def weight(self, w: Tensor) -> Tensor:
        return parted(w, self.parts)

    def combine(self, y: Tensor, m: Modulation) -> Tensor:
        assert m.column is not None, "the kernel declares column factors"
        y = y.unflatten(1, (self.parts, self.banks, -1))
        factors = m.column.transpose(1, 2)[..., None, None].to(y.dtype)
        return super().combine((y * factors).sum(dim=(1, 2)), m)

    def multiplies(self, m: Modulation, pixels: int, positions: int) -> tuple[float, float]:
        factors, mixing = super().multiplies(m, pixels, positions)
        return factors + float(positions * self.parts * self.banks * self.own.out_channels), mixing


def arrange(own: Geometry, kernel: Kernel | None, name: str) -> Arrangement:
    """How a layer stands on arrays, from the factors that its kernel declares.

    Raises:
        SimulationError: factors that arrays cannot realise, or not together; names the layer and what can be.
    """
    if kernel is None:
        return Arrangement(own, 1)
    factors = set(kernel.factors)
    kind = f"layer '{name}': {type(kernel).__name__} modulates by"
    if "joint" in factors:
        raise SimulationError(
            f"{kind} 'joint', which stationary arrays cannot realise; factors of bank, input, output, position, "
            "column (as kernel=weight_net) and drive (as kernel=kernel_warehouse) can be"
        )
    special = sorted(factors & {"position", "column", "drive"})
    if len(special) > 1 or (special == ["drive"] and factors & {"bank", "input"}):
        both = sorted(factors & {"position", "column", "drive", "bank", "input"})
        raise SimulationError(
            f"{kind} {', '.join(both)} together, which arrays are not simulated for; drop one of them"
        )
    if special and special != ["position"] and own.groups > 1:
        raise SimulationError(f"{kind} '{special[0]}', which is simulated for convolutions of one group")
    if special == ["position"]:
        return Positioned(own, kernel.banks)
    if special == ["drive"]:
        return Driven(own, 1, kernel.banks, own.in_channels // kernel.weight.shape[2])
    if special == ["column"]:
        return Parted(own, kernel.banks, kernel.parts)
    return Arrangement(own, kernel.banks)


def check_declared(kernel: Kernel, m: Modulation, name: str) -> None:
    """Refuse factors that a kernel gives without having declared them: its arrays were laid out without.

    Raises:
        SimulationError: naming layer, kernel and factor.
    """
    for factor in m.factors:
        if factor not in kernel.factors:
            raise SimulationError(
                f"layer '{name}': {type(kernel).__name__} modulates by '{factor}', which is not in its `factors`"
            )


def views(geometry: Geometry, x: Tensor) -> list[Tensor]:
    """What each kernel position sees of x [batch, channels, h, w]: [batch, channels, h', w'], row by row."""
    height, width = geometry.output_size(x.shape[2], x.shape[3])
    (ph, pw), (sh, sw), (dh, dw) = geometry.padding, geometry.stride, geometry.dilation
    x = F.pad(x, (pw, pw, ph, ph)) if ph or pw else x
    return [
        x[:, :, u * dh : u * dh + (height - 1) * sh + 1 : sh, v * dw : v * dw + (width - 1) * sw + 1 : sw]
        for u in range(geometry.kernel_size[0])
        for v in range(geometry.kernel_size[1])
    ]


def drive(geometry: Geometry, x: Tensor, factors: Tensor) -> Tensor:
    """Each cell's inputs, sum_(c, u, v) factors[b, k, c, u, v] x[b, (c, j)] seen from (u, v).

    Args:
        factors: [batch, cells, chunks, kh, kw].

    Returns:
        [batch, cells, in / chunks, height', width'].
    """
    batch, cells, chunks = factors.shape[:3]
    seen = torch.stack(views(geometry, x), dim=1).unflatten(2, (chunks, -1))  # [batch, places, chunks, j, h, w]
    by = factors.flatten(3).transpose(2, 3).flatten(2).to(x.dtype)  # [batch, cells, places * chunks]
    return torch.bmm(by, seen.flatten(1, 2).flatten(2)).view(batch, cells, *seen.shape[3:])


def parted(w: Tensor, parts: int) -> Tensor:
    """Banks [banks, out, in, kh, kw] -> [banks, parts * out, in / parts, kh, kw], part outermost."""
    split: Tensor = w.unflatten(2, (parts, -1))
    return split.transpose(1, 2).flatten(1, 2)
