"""Resistive wires in two cumulative sums."""

from __future__ import annotations

from torch import Tensor

from memristor_plugins.wires._blocks import load


def effective_conductance_fast(
    g: Tensor, *, r_word: float, r_bit: float, r_source: float = 0.0, r_sink: float = 0.0
) -> Tensor:
    """An approximation of `effective_conductance` from cumulative sums, for training steps.

    g_eff = g / ((1 + sum_c' R_word[c, c'] g[r, c']) (1 + sum_r' R_bit[r, r'] g[r', c])): exact to first order in the
    resistances, each line's load taken with the other lines at their nominal voltages.

    Measured on arrays of 128x128 cells uniform in 0.1 to 20 uS, with 100 ohm at source and sink: at 1 ohm a segment the
    mean error is 2.4 % of the mean exact conductance, the largest 1.9 % of the largest, where leaving wires out errs by
    37 % and 41 %; at 5 ohm 7.9 % and 6.1 %. With half the cells at 0.1 uS it is a third of that.

    Arguments and result as `effective_conductance`; differentiable.
    """
    along = load(g, r_word, r_source, dim=-1)
    down = load(g.flip(-2), r_bit, r_sink, dim=-2).flip(-2)
    return g / ((1 + along) * (1 + down))
