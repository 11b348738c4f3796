"""Cells of any current law between resistive wires: a damped Newton iteration on the factorisation of ohmic cells.

In voltages u across the cells, with word-line voltages v and the lines' resistances R (word and bit lines together),

    F(u) = u + R I(g, u) - v = 0,    F is cumulative sums,    dF/du = I + R D,    D = dI/du.

A direction solves the ohmic circuit of conductances D, by the blocks of `_blocks.py`, for the right-hand side -F. All
input vectors of an array first share one factorisation, at the mean of their D: where the law bends little the
iteration contracts fast, and a further vector then costs products with two matrices a word line. Vectors that do not
contract tenfold in a step get factorisations of their own (Newton's method), and steps are halved until they reduce F.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from memristor_plugins.errors import SimulationError
from memristor_plugins.wires._blocks import (
    Ohm,
    check_conductances,
    inverse,
    is_tame,
    load,
    resistances,
    share,
    word_lines,
)

Law = Callable[[Tensor, Tensor], Tensor]

# Bytes of the matrices of one factorisation, and of the voltages, that are in flight at once.
AT_ONCE = 1 << 27
# A shared step that leaves more than this of F is followed by Newton's own.
CONTRACTION = 0.1
HALVINGS = 30


@dataclass(frozen=True)
class Solved:
    """What `solve_nonlinear` found.

    Args:
        current: at the bottom of every bit line, amperes, [..., vectors, cols].
        residual: largest |F| of each vector over its largest voltage, [..., vectors].
        iterations: steps that each vector took, [..., vectors].
    """

    current: Tensor
    residual: Tensor
    iterations: Tensor


@torch.no_grad()
def solve_nonlinear(
    g: Tensor,
    v: Tensor,
    law: Law,
    *,
    r_word: float,
    r_bit: float,
    r_source: float = 0.0,
    r_sink: float = 0.0,
    tolerance: float | None = None,
    max_iterations: int = 100,
    name: str = "",
) -> Solved:
    """Output currents of crossbar arrays with resistive wires and cells that are not ohmic.

    Args:
        g: what a cell holds, siemens, [..., rows, cols]; float32 or float64, in whose precision it is solved.
        v: voltages of the word lines' drivers, volts, [..., vectors, rows]; leading sizes broadcast against those of g.
        law: current in amperes of cells `g` at `u` volts, element by element, differentiable in u and not falling:
            `device.current`, or `iv.law(context)` of a non-ideality.
        r_word, r_bit, r_source, r_sink: as `effective_conductance`.
        tolerance: largest |F| over the largest voltage; None: 1e-12, or 1e-5 in float32.
        max_iterations: of each vector.
        name: of the layer, for errors.

    Returns:
        Currents, residuals and iterations. Not differentiable.

    Raises:
        SimulationError: bad conductances or resistances; a vector that does not converge: names layer and array.
    """
    ohm = resistances(r_word, r_bit, r_source, r_sink)
    check_conductances(g)
    if v.dim() < 2 or v.shape[-1] != g.shape[-2] or v.dtype != g.dtype or not bool(v.isfinite().all()):
        raise SimulationError(
            f"v must be finite voltages [..., vectors, {g.shape[-2]}] in {g.dtype}, got {v.dtype} {list(v.shape)}"
        )
    if tolerance is None:
        tolerance = 1e-12 if g.dtype == torch.float64 else 1e-5
    lead = torch.broadcast_shapes(g.shape[:-2], v.shape[:-2])
    arrays = g.expand(*lead, *g.shape[-2:]).reshape(-1, 1, *g.shape[-2:])
    volts = v.expand(*lead, *v.shape[-2:]).reshape(-1, *v.shape[-2:])
    vectors, cols = v.shape[-2], g.shape[-1]
    current = v.new_empty(len(arrays), vectors, cols)
    residual, iterations = v.new_empty(len(arrays), vectors), torch.empty(len(arrays), vectors, dtype=torch.long)
    per_vector = max(1, g.shape[-2] * cols * v.element_size() * 8)
    for array, vector in _blocks(len(arrays), vectors, _at_once(g), max(1, AT_ONCE // per_vector)):
        problem = _Problem(arrays[array], volts[array, vector], law, ohm)
        found = problem.solve(tolerance, max_iterations)
        bad = (~(found.residual <= tolerance)).nonzero().tolist()
        if bad:
            first, which = bad[0]
            layer = f"layer '{name}', " if name else ""
            index = [int(i) for i in torch.unravel_index(torch.tensor(array.start + first), lead)] if lead else []
            raise SimulationError(
                f"{layer}array {index}, input vector {vector.start + which}: the circuit did not converge: after "
                f"{int(found.iterations[first, which])} iterations {float(found.residual[first, which]):.2g} of the "
                f"voltage is left, {tolerance:g} was asked for. The law of the cells must not fall with the voltage; "
                "smaller wire resistances or voltages help"
            )
        current[array, vector], residual[array, vector] = found.current, found.residual
        iterations[array, vector] = found.iterations.cpu()
    shape = (*lead, vectors)
    return Solved(current.view(*shape, cols), residual.view(shape), iterations.view(shape).to(v.device))


def _at_once(g: Tensor) -> int:
    """Factorisations that are held at once."""
    rows, cols = g.shape[-2:]
    return max(1, AT_ONCE // max(1, rows * cols * cols * g.element_size()))


def _blocks(arrays: int, vectors: int, factors: int, voltages: int) -> Iterator[tuple[slice, slice]]:
    """Arrays and vectors that are solved together."""
    few = max(1, min(factors, voltages))
    for first in range(0, arrays, few):
        wide = max(1, voltages // min(few, arrays - first))
        for start in range(0, vectors, wide):
            yield slice(first, min(arrays, first + few)), slice(start, min(vectors, start + wide))


class _Problem:
    """Some arrays [arrays, 1, rows, cols] and some vectors of each [arrays, vectors, rows]."""

    def __init__(self, g: Tensor, v: Tensor, law: Law, ohm: Ohm) -> None:
        self.g, self.v, self.law, self.ohm = g, v.unsqueeze(-1), law, ohm
        self.scale = v.abs().amax(dim=-1).clamp_min(torch.finfo(v.dtype).tiny)

    def solve(self, tolerance: float, max_iterations: int) -> Solved:
        vectors = self.v.shape[1]
        u = self.v.expand(*self.v.shape[:-1], self.g.shape[-1]).clone()
        current, slope = self._currents(self.g, u)
        f = self._residual(u, current, self.v)
        size = self._size(f, self.scale)
        steps = torch.zeros(size.shape, dtype=torch.long, device=u.device)
        # All vectors of an array by one factorisation, as long as they contract.
        left = (size > tolerance).nonzero(as_tuple=True)
        if vectors > 1 and len(left[0]):
            factors = _Factors(slope.mean(dim=1), self.ohm)
            for _ in range(max_iterations):
                tried = u - factors.solve(f)
                there = self._residual(tried, self._currents(self.g, tried)[0], self.v)
                smaller = self._size(there, self.scale)
                better = (smaller < CONTRACTION * size) & (size > tolerance)
                if not bool(better.any()):
                    break
                steps += better
                u = torch.where(better[..., None, None], tried, u)
                f = torch.where(better[..., None, None], there, f)
                size = torch.where(better, smaller, size)
            left = (size > tolerance).nonzero(as_tuple=True)
        # Each of the others by itself.
        few = _at_once(self.g)
        for array, vector in zip(left[0].split(few), left[1].split(few), strict=True):
            at = (array, vector)
            own = self._newton(self.g[array, 0], u[at], self.v[at], self.scale[at], tolerance, max_iterations)
            u[at], size[at] = own[:2]
            steps[at] += own[2]
        return Solved(self._currents(self.g, u)[0].sum(dim=-2), size, steps)

    def _newton(
        self, g: Tensor, u: Tensor, v: Tensor, scale: Tensor, tolerance: float, max_iterations: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Voltages [problems, rows, cols], sizes of F and steps of problems with factorisations of their own."""
        u = u.clone()
        current, slope = self._currents(g, u)
        f = self._residual(u, current, v)
        size = self._size(f, scale)
        steps = torch.zeros(len(u), dtype=torch.long, device=u.device)
        for _ in range(max_iterations):
            at = (~(size <= tolerance)).nonzero().squeeze(1)
            if not len(at):
                break
            steps[at] += 1
            direction = _Factors(slope[at], self.ohm).solve(f[at].unsqueeze(1)).squeeze(1)
            step = torch.ones(len(at), device=u.device, dtype=u.dtype)
            for _ in range(HALVINGS):
                tried = u[at] - step[:, None, None] * direction
                there, bent = self._currents(g[at], tried)
                left = self._residual(tried, there, v[at])
                smaller = self._size(left, scale[at])
                enough = smaller < (1 - step / 4) * size[at]
                done = at[enough]
                u[done], f[done], slope[done], size[done] = tried[enough], left[enough], bent[enough], smaller[enough]
                if bool(enough.all()):
                    break
                at, direction, step = at[~enough], direction[~enough], step[~enough] / 2
            else:
                if len(at):  # no step of any length helps
                    break
        return u, size, steps

    def _currents(self, g: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """I(g, u) and dI/du, the second at least 0: elsewhere the factorisation would not exist."""
        with torch.enable_grad():
            at = u.detach().requires_grad_()
            current = self.law(g, at)
            (slope,) = torch.autograd.grad(current.sum(), at)
        return current.detach(), slope.nan_to_num_(0.0, 0.0, 0.0).clamp_min_(0)

    def _residual(self, u: Tensor, current: Tensor, v: Tensor) -> Tensor:
        r_word, r_bit, r_source, r_sink = self.ohm
        along = load(current, r_word, r_source, dim=-1)
        down = load(current.flip(-2), r_bit, r_sink, dim=-2).flip(-2)
        return along.add_(down).add_(u).sub_(v)

    @staticmethod
    def _size(f: Tensor, scale: Tensor) -> Tensor:
        return f.abs().amax(dim=(-2, -1)).nan_to_num(torch.inf) / scale


class _Factors:
    """The ohmic circuit of conductances d [arrays, rows, cols]: solves (I + R D) x = b.

    With what a cell's current puts on the bit lines, j = D x, word line i gives j_i = Y_i (b_i - w_i) at bit-line
    voltages w_i; t_i = Y_i b_i is added up downwards, w found upwards. Y is applied to vectors as a ladder of segments.
    """

    def __init__(self, d: Tensor, ohm: Ohm) -> None:
        self.r_word, self.r_bit, self.r_source, self.r_sink = ohm
        rows, cols = d.shape[-2:]
        self.d = d
        y, unit = word_lines(d, self.r_word, self.r_source), self.r_bit or 1.0
        k = y.matrix(0, unit)
        eye = torch.eye(cols, dtype=d.dtype, device=d.device)
        self.tame = is_tame(d, self.r_bit)
        self.passing: list[Tensor] = []
        for i in range(1, rows):
            if self.r_bit:
                absorbed = share(k)
                self.passing.append(absorbed if self.tame else inverse(eye + k))
                k = absorbed + y.matrix(i, unit)
            else:
                k = k + y.matrix(i, unit)
        self.last = inverse(eye + (self.r_bit + self.r_sink) / unit * k)
        alpha = torch.zeros_like(d[..., 0])
        passed = []
        for c in range(cols - 1, -1, -1):
            rho = 1 / (1 + self._segment(c) * (alpha + d[..., c]))
            alpha = (alpha + d[..., c]) * rho
            passed.append((alpha, rho))
        self.ladder = passed[::-1]

    def _segment(self, c: int) -> float:
        return self.r_word + (self.r_source if c == 0 else 0.0)

    def solve(self, b: Tensor) -> Tensor:
        """x for right-hand sides [arrays, vectors, rows, cols]."""
        rows = b.shape[-2]
        t = self.d.unsqueeze(1) * self._along_word_lines(b)
        flows, flow = [], t[:, :, 0]
        for i in range(1, rows):
            flows.append(flow)
            flow = self._pass(flow, i - 1) + t[:, :, i]
        w = ((self.r_bit + self.r_sink) * flow) @ self.last
        lines = [w]
        for i in range(rows - 2, -1, -1):
            w = self._pass(w + self.r_bit * flows[i], i)
            lines.append(w)
        return self._along_word_lines(b - torch.stack(lines[::-1], dim=-2))

    def _pass(self, right: Tensor, i: int) -> Tensor:
        """(I + K)^-1 of a segment of the bit lines."""
        if not self.r_bit:
            return right
        passing = self.passing[i]
        return torch.baddbmm(right, right, passing, alpha=-1) if self.tame else right @ passing

    def _along_word_lines(self, b: Tensor) -> Tensor:
        """(I + R D)^-1 b with R of the word lines alone: what is left of b across the cells."""
        cols = b.shape[-1]
        forced = (self.d.unsqueeze(1) * b).movedim(-1, 0).contiguous()
        beta = torch.zeros_like(forced[0])
        sums = []
        for c in range(cols - 1, -1, -1):
            beta = (beta + forced[c]) * self.ladder[c][1].unsqueeze(1)
            sums.append(beta)
        sums.reverse()
        q = torch.zeros_like(beta)
        found = torch.empty_like(forced)
        for c in range(cols):
            through = self.ladder[c][0].unsqueeze(1) * q + sums[c]
            q = q - self._segment(c) * through
            torch.add(b[..., c], q, out=found[c])
        return found.movedim(0, -1)
