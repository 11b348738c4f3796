"""What the sources of arrays with resistive wires deliver: their admittance, from the descent of `exact.py`.

Above a segment of the bit lines the array has two sides, its sources at voltages v and its bit lines at w:

    bit lines  d = s v - S w          sources  j = A v - s^T w

(reciprocity gives the second s). Through a segment of resistance r the bit lines' voltage becomes w + r d, so that

    A_{i+1} = A_i - r s_i^T M s_i,   M = (I + r S_i)^-1,

and the next word line adds its own 1^T Y 1 on the diagonal. M s_i is a part of what the descent computes anyway.
"""

from __future__ import annotations

import torch
from torch import Tensor

from memristor_plugins.wires._blocks import Ohm, check_conductances, resistances
from memristor_plugins.wires.exact import descent, parts


def source_admittance(
    g: Tensor, *, r_word: float, r_bit: float, r_source: float = 0.0, r_sink: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Effective conductances, and the admittance that the sources see: v^T A v is the power that they deliver.

    All of it is dissipated: in the cells, both lines' segments, the drivers and the terminations. Ohmic cells.

    Args:
        g: cell conductances [..., rows, cols], siemens, >= 0; float32 or float64, in whose precision it is solved.
        r_word, r_bit, r_source, r_sink: as of `effective_conductance`, ohm, >= 0.

    Returns:
        g_eff [..., rows, cols] as of `effective_conductance`, and A [..., rows, rows], siemens, symmetric positive
        semidefinite: the currents j = A v into the word lines while the bit lines' ends are at ground. Without
        resistance A = diag(sum of each word line's g).

    Raises:
        SimulationError: a conductance or resistance that is negative or not a number.
    """
    ohm = resistances(r_word, r_bit, r_source, r_sink)
    check_conductances(g)
    if not g.numel():
        return g.clone(), g.new_zeros(*g.shape[:-1], g.shape[-2])
    solved = [_solve(part, ohm) for part in parts(g.reshape(-1, *g.shape[-2:]))]
    effective, admittance = (torch.cat(of) for of in zip(*solved, strict=True))
    return effective.reshape(g.shape), admittance.reshape(*g.shape[:-1], g.shape[-2])


def _solve(g: Tensor, ohm: Ohm) -> tuple[Tensor, Tensor]:
    _, r_bit, _, r_sink = ohm
    rows, down = g.shape[-2], descent(g, ohm)
    power = g.new_zeros(*g.shape[:-1], rows)
    power[:, 0, 0] = down.sources[:, :, 0].sum(dim=-1)
    for i in range(1, rows):
        above = down.sources[:, :, :i].clone()
        down.step()
        power[:, :i, :i].baddbmm_(above.mT, down.sources[:, :, :i], alpha=-r_bit)
        power[:, i, i] = down.sources[:, :, i].sum(dim=-1)
    last = down.end(r_bit + r_sink)
    out = down.sources if last is None else last @ down.sources
    power.baddbmm_(down.sources.mT, out, alpha=-(r_bit + r_sink))
    return out.mT, (power + power.mT).mul_(0.5)
