"""What solvers of crossbar arrays share: the matrix of a word line, and how bit lines add word line to word line.

With line resistances R[c, c'] = r_source + r_word min(c, c') from the driver to the nodes that two columns share (c
counted from 1), the currents that word line i pushes into the bit lines at voltages w are

    j = Y_i (v_i 1 - w),   Y_i = (I + G_i R)^-1 G_i,

a semiseparable matrix with a closed form. What flows down the bit lines below word line i is d_i = s_i - S_i w_i, with

    S_i = M S_{i-1} + Y_i,   s_i = M s_{i-1} + Y_i 1 v_i,   M = (I + r_bit S_{i-1})^-1,

symmetric positive semidefinite. With K = r_bit S and P = I - M = K (I + K)^-1 this is K_i = P + r_bit Y_i: one
inverse-like matrix a word line and nothing else of its order. P is found from K without forming I - M, where small
resistances would cancel. Only resistances appear: zeros of resistance and of conductance are values like any other.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from memristor_plugins.errors import SimulationError

SMALL = 32
# Largest r_bit times a bit line's conductances for which I - P is as good as (I + K)^-1.
TAME = 1e4

Ohm = tuple[float, float, float, float]


def resistances(r_word: float, r_bit: float, r_source: float, r_sink: float) -> Ohm:
    """The four, checked.

    Raises:
        SimulationError: one that is negative or not a number.
    """
    for name, ohm in (("r_word", r_word), ("r_bit", r_bit), ("r_source", r_source), ("r_sink", r_sink)):
        if not 0 <= ohm < float("inf"):
            raise SimulationError(f"{name} must be >= 0 ohm and finite, got {ohm:g}")
    return r_word, r_bit, r_source, r_sink


def check_conductances(g: Tensor) -> None:
    """Raises `SimulationError` where `g` is not [..., rows, cols] of conductances; names the first that is none."""
    if g.dim() < 2 or g.dtype not in (torch.float32, torch.float64):
        raise SimulationError(
            f"g must be conductances [..., rows, cols] in float32 or float64, got {g.dtype} {list(g.shape)}"
        )
    good = (g >= 0) & g.isfinite()
    if not bool(good.all()):
        where = [int(i) for i in (~good).nonzero()[0]]
        raise SimulationError(
            f"g{where} is {float(g[tuple(where)].detach()):g} S; conductances must be >= 0 and finite"
        )


@dataclass(frozen=True)
class WordLines:
    """Y of every word line of some arrays, in the factors that it is made of.

    Built from the far end: the cells beyond a segment of resistance r draw alpha times the voltage before it, so that
    the segment passes rho = 1 / (1 + r alpha) of it, and Y = diag(g) - r rho a a^T summed over segments, with a the
    cells' currents at one volt: below and above its diagonal an outer product of two vectors.

    Args:
        g: [arrays, rows, cols].
        shared: sum over segments up to a column of r rho, times the squares of all rho between.
        logs: ln of the product of rho up to a column; not positive, and not increasing.
        narrow: products of exponentials of `logs` leave the range of their dtype.
    """

    g: Tensor
    shared: Tensor
    logs: Tensor
    narrow: bool

    def matrix(self, row: int, unit: float = 1.0) -> Tensor:
        """unit * Y of one word line, [arrays, cols, cols]."""
        g, logs = self.g[:, row], self.logs[:, row]
        middle = logs[:, -1:] / 2  # about which neither exponential leaves the range that the other needs
        left, right = g * self.shared[:, row], g * -unit
        if not self.narrow:
            outer = (left * (middle - logs).exp()).unsqueeze(-1) * (right * (logs - middle).exp()).unsqueeze(-2)
        else:
            between = (logs.unsqueeze(-2) - logs.unsqueeze(-1)).clamp_max(0).exp()
            outer = left.unsqueeze(-1) * between * right.unsqueeze(-2)
        y = outer.triu_().add(outer.triu(1).mT)
        y.diagonal(dim1=-2, dim2=-1).add_(g, alpha=unit)
        return y


def word_lines(g: Tensor, r_word: float, r_source: float) -> WordLines:
    """Factors of Y for arrays [arrays, rows, cols] of at least one column."""
    cols = g.shape[-1]
    alpha = torch.zeros_like(g[..., 0])
    passed = []
    for c in range(cols - 1, -1, -1):
        alpha = alpha + g[..., c]
        rho = 1 / (1 + (r_word + (r_source if c == 0 else 0.0)) * alpha)
        alpha = alpha * rho
        passed.append(rho)
    rho = torch.stack(passed[::-1], dim=-1)
    kappa = r_word * rho
    kappa[..., 0] += r_source * rho[..., 0]
    squares = rho.square()
    sums = [kappa[..., 0]]
    for c in range(1, cols):
        sums.append(torch.addcmul(kappa[..., c], squares[..., c], sums[-1]))
    logs = rho.log().cumsum(dim=-1)
    narrow = float(logs.detach().min()) <= (-1200.0 if g.dtype == torch.float64 else -150.0)
    return WordLines(g, torch.stack(sums, dim=-1), logs, narrow)


def share(k: Tensor) -> Tensor:
    """K (I + K)^-1 of symmetric positive semidefinite matrices [arrays, n, n], accurate where K is small.

    By halves: products run far faster than factorisations do.
    """
    size = k.shape[-1]
    if size <= SMALL:
        eye = torch.eye(size, dtype=k.dtype, device=k.device)
        return torch.cholesky_inverse(torch.linalg.cholesky_ex(k + eye)[0]) @ k
    half = size // 2
    side = k[:, :half, half:]
    first = share(k[:, :half, :half])
    across = torch.baddbmm(side, first, side, alpha=-1)
    last = share(torch.baddbmm(k[:, half:, half:], side.mT, across, alpha=-1))
    corner = torch.baddbmm(across, across, last, alpha=-1)
    whole = torch.empty_like(k)
    whole[:, :half, :half] = torch.baddbmm(first, corner, across.mT, alpha=-1)
    whole[:, :half, half:] = corner
    whole[:, half:, :half] = corner.mT
    whole[:, half:, half:] = last
    return whole


def is_tame(g: Tensor, r_bit: float) -> bool:
    """I - P is as good as (I + K)^-1 everywhere in the arrays [arrays, rows, cols]."""
    return r_bit * float(g.detach().sum(dim=-2).max()) <= TAME


def inverse(a: Tensor) -> Tensor:
    """Inverse of symmetric positive definite matrices [arrays, n, n], by halves."""
    size = a.shape[-1]
    if size <= SMALL:
        return torch.cholesky_inverse(torch.linalg.cholesky_ex(a)[0])
    half = size // 2
    side = a[:, :half, half:]
    first = inverse(a[:, :half, :half])
    across = first @ side
    last = inverse(torch.baddbmm(a[:, half:, half:], side.mT, across, alpha=-1))
    corner = across @ last
    whole = torch.empty_like(a)
    whole[:, :half, :half] = torch.baddbmm(first, corner, across.mT)
    whole[:, :half, half:] = -corner
    whole[:, half:, :half] = -corner.mT
    whole[:, half:, half:] = last
    return whole


def load(j: Tensor, segment: float, end: float, dim: int) -> Tensor:
    """sum_k (end + segment min(c, k)) j[k] at every place c of a line, counted from its end: what j drops there."""
    total = j.sum(dim=dim, keepdim=True)
    beyond = total - j.cumsum(dim=dim) + j
    return end * total + segment * beyond.cumsum(dim=dim)
