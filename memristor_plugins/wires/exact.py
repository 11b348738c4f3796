"""Ohmic cells: effective conductances, exactly, and their adjoint.

The method is that of `_blocks.py`, carried for the sources of all word lines at once: the outputs are
(I + (r_bit + r_sink) S_n)^-1 s_n. A network of resistors is reciprocal, so that an array of more columns than rows is
solved with word lines and bit lines exchanged. An array of n x m cells, m <= n, takes about 4/3 n m^3 + n^2 m^2
operations, of which nearly all are matrix products.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from memristor_plugins.wires._blocks import (
    Ohm,
    WordLines,
    check_conductances,
    inverse,
    is_tame,
    resistances,
    share,
    word_lines,
)

# Cells that are solved at once: a solution takes about 5 numbers a cell and column, an adjoint 5 sqrt(rows). On a CPU
# the matrices of a few arrays stay in its cache.
AT_ONCE = {"cpu": 1 << 16}
AT_ONCE_ELSEWHERE = 1 << 20


def effective_conductance(
    g: Tensor, *, r_word: float, r_bit: float, r_source: float = 0.0, r_sink: float = 0.0
) -> Tensor:
    """Effective conductances of crossbar arrays with resistive wires, i = v @ g_eff, exactly.

    Args:
        g: cell conductances [..., rows, cols], siemens, >= 0; float32 or float64, in whose precision it is solved: of
            the largest result, float64 is right within 1e-10, float32 within 1e-4 up to 256 x 256 cells (measured
            1.3e-5 with 128 x 128 and 2.4e-5 with 256 x 256 cells up to 20 uS, 1 ohm a segment).
        r_word, r_bit: resistance of a segment of a word line and of a bit line, ohm, >= 0.
        r_source: of each word line's driver, in series with the segment before its first cell, ohm.
        r_sink: of each bit line's termination, in series with the segment after its last cell, ohm.

    Returns:
        [..., rows, cols], siemens: voltages stand at the left of the word lines, outputs are the currents to ground at
        the bottom of the bit lines. Differentiable in g, by the circuit's adjoint; what a step of the solution held is
        not kept for it but found again, from one step in sqrt(rows).

    Raises:
        SimulationError: a conductance or resistance that is negative or not a number.
    """
    ohm = resistances(r_word, r_bit, r_source, r_sink)
    check_conductances(g)
    solved: Tensor = _Exact.apply(g.reshape(-1, *g.shape[-2:]), ohm)  # type: ignore[no-untyped-call]
    return solved.reshape(g.shape)


class _Exact(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, g: Tensor, ohm: Ohm) -> Tensor:
        ctx.save_for_backward(g)
        ctx.ohm = ohm
        if not g.numel():
            return g.clone()
        tall, ohm = _tall(g, ohm)
        solved = torch.cat([_solve(part, ohm) for part in parts(tall)])
        return solved if tall.shape == g.shape else _turned(solved)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (g,) = ctx.saved_tensors
        if not g.numel():
            return torch.zeros_like(g), None
        tall, ohm = _tall(g, ctx.ohm)
        pairs = zip(parts(tall), parts(grad if tall is g else _turned(grad)), strict=True)
        change = torch.cat([_adjoint(part, wanted, ohm) for part, wanted in pairs])
        return change if tall is g else _turned(change), None


def _tall(g: Tensor, ohm: Ohm) -> tuple[Tensor, Ohm]:
    """The arrays, or their reciprocal twins with bit lines for word lines: no more columns than rows."""
    if g.shape[-1] <= g.shape[-2]:
        return g, ohm
    r_word, r_bit, r_source, r_sink = ohm
    return _turned(g), (r_bit, r_word, r_sink, r_source)


def _turned(g: Tensor) -> Tensor:
    """Its own inverse: the bit lines' ends become the drivers, at the left."""
    return g.mT.flip(-1, -2)


def parts(g: Tensor) -> tuple[Tensor, ...]:
    """Arrays [arrays, rows, cols] in the portions that are solved at once."""
    cells = AT_ONCE.get(g.device.type, AT_ONCE_ELSEWHERE)
    some: tuple[Tensor, ...] = g.split(max(1, cells // g[0].numel()))
    return some


@dataclass
class Descent:
    """Down the bit lines, word line by word line.

    Args:
        y: the word lines.
        r_bit: resistance of a segment between them.
        tame: I - P is as good as (I + K)^-1.
        k: unit * S below the word line that was reached, [arrays, cols, cols]; `unit` is r_bit, or 1 where that is 0.
        sources: what flows down for one volt on each word line so far, [arrays, cols, rows].
        row: the word line that was reached.
    """

    y: WordLines
    r_bit: float
    tame: bool
    k: Tensor
    sources: Tensor
    row: int = 0

    @property
    def unit(self) -> float:
        return self.r_bit or 1.0

    def step(self) -> Tensor | None:
        """To the next word line. Returns what `through` takes to pass the segment: P, or M; None: no resistance."""
        self.row += 1
        line = self.y.matrix(self.row, self.unit)
        passing = None
        above = self.sources[:, :, : self.row]
        if self.r_bit:
            absorbed = share(self.k)
            passing = absorbed if self.tame else inverse(self.k + _eye(self.k))
            above.copy_(self.through(passing, above))
            self.k = absorbed + line
        else:
            self.k = self.k + line
        self.sources[:, :, self.row] = line.sum(dim=-1).div_(self.unit)
        return passing

    def through(self, passing: Tensor | None, right: Tensor) -> Tensor:
        """(I + K)^-1 right."""
        if passing is None:
            return right
        return torch.baddbmm(right, passing, right, alpha=-1) if self.tame else passing @ right

    def end(self, r: float) -> Tensor | None:
        """(I + r S)^-1 below the last word line; None where r is 0."""
        return inverse(_eye(self.k) + (r / self.unit) * self.k) if r else None


def descent(g: Tensor, ohm: Ohm) -> Descent:
    """At the first word line of arrays [arrays, rows, cols], none of which is 0."""
    r_word, r_bit, r_source, _ = ohm
    y = word_lines(g, r_word, r_source)
    k = y.matrix(0, r_bit or 1.0)
    sources = g.new_zeros(len(g), g.shape[-1], g.shape[-2])
    sources[:, :, 0] = k.sum(dim=-1) / (r_bit or 1.0)
    return Descent(y, r_bit, is_tame(g, r_bit), k, sources)


def _eye(like: Tensor) -> Tensor:
    return torch.eye(like.shape[-1], dtype=like.dtype, device=like.device)


def _solve(g: Tensor, ohm: Ohm) -> Tensor:
    down = descent(g, ohm)
    for _ in range(g.shape[-2] - 1):
        down.step()
    last = down.end(ohm[1] + ohm[3])
    return (down.sources if last is None else last @ down.sources).mT


def _adjoint(g: Tensor, grad: Tensor, ohm: Ohm) -> Tensor:
    """dL/dg = sum over r, c of grad[r, c] (drop across the cell at v = e_r) (drop with 1 V at output c alone).

    Goes up from the outputs, and down again from the nearest of about sqrt(rows) steps that were kept.
    """
    r_word, r_bit, r_source, r_sink = ohm
    rows, cols = g.shape[-2:]
    down, length = descent(g, ohm), max(1, isqrt(rows))
    kept = {}
    for i in range(rows):
        if i:
            down.step()
        if i % length == 0:
            kept[i] = down.k, down.sources[:, :, : i + 1].clone()
    last = down.end(r_bit + r_sink)
    places = torch.arange(1, cols + 1, dtype=g.dtype, device=g.device)
    line = r_source + r_word * torch.minimum(places[:, None], places[None])
    eye = _eye(down.k).expand(len(g), -1, -1)
    # Voltages of the bit line's nodes for each source, and for one volt at each output.
    below = torch.cat((g.new_zeros(len(g), cols, rows), eye), dim=-1)
    changes = []
    for first in reversed(sorted(kept)):
        down.row = first
        down.k, above = kept.pop(first)
        down.sources[:, :, : first + 1] = above
        reached: list[tuple[Tensor, Tensor | None]] = []
        for i in range(first, min(rows, first + length)):
            sources = down.sources[:, :, : i + 1].clone()
            reached.append((sources, down.step() if i + 1 < rows else None))
        for i in range(min(rows, first + length) - 1, first - 1, -1):
            sources, passing = reached.pop()
            r = r_bit if i + 1 < rows else r_bit + r_sink
            below[:, :, : i + 1].add_(sources, alpha=r)
            if i + 1 < rows:
                below = down.through(passing, below)
            elif last is not None:
                below = last @ below
            drop = eye - line @ down.y.matrix(i)
            forced = -below[..., :rows]
            forced[..., i] += 1
            forward, backward = drop @ forced, drop @ below[..., rows:]
            changes.append(((forward @ grad) * backward).sum(dim=-1))
    return torch.stack(changes[::-1], dim=-2)
