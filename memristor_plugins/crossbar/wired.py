"""Conductances as the ends of physical arrays' lines see them: wires, and word lines that are not selected."""

from __future__ import annotations

import torch
from torch import Tensor

from memristor_plugins.crossbar.layout import from_arrays, reads, to_arrays
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.interfaces.nonideality import Context, Site


def seen_through_wires(stack: Stack, g: Tensor, context: Context) -> Tensor:
    """Effective conductances of cells `g` [planes, ..., rows, lines], all word lines of an array driven at once."""
    wires, mapping = stack.at(Site.WIRES), stack.mapping
    if wires is None:
        return g
    arrays: Tensor = wires.apply(to_arrays(g, mapping, stack.device.g_min), None, context)
    return from_arrays(arrays, mapping, g.shape[-2], g.shape[-1], mapping.planes)


def seen_by_sources(stack: Stack, g: Tensor, context: Context) -> tuple[Tensor, Tensor | None]:
    """The same, with the admittance that the drivers of the word lines see, if the wires tell.

    Returns:
        Effective conductances, and [..., arrays, word lines, word lines], arrays side by side added up.
    """
    wires, mapping = stack.at(Site.WIRES), stack.mapping
    assert wires is not None, "resistive wires have sources"
    solved = wires.circuit(to_arrays(g, mapping, stack.device.g_min), context)
    if solved is None:
        return seen_through_wires(stack, g, context), None
    arrays, admittance = solved
    seen = from_arrays(arrays, mapping, g.shape[-2], g.shape[-1], mapping.planes)
    return seen, admittance.sum(dim=-3)


def line_currents(stack: Stack, g: Tensor, context: Context) -> Tensor:
    """Current of each bit line at one volt on the word lines that are read, [planes, ..., lines], siemens."""
    if stack.has(Site.LEAK):
        return seen_by_reads(stack, g, context)[0].sum(dim=-2)
    return seen_through_wires(stack, g, context).sum(dim=-2)


def seen_by_reads(stack: Stack, g: Tensor, context: Context) -> tuple[Tensor, Tensor]:
    """The same where some word lines are read at a time and the others leak.

    Every read of an array is a circuit of its own, whose unselected cells, padding cells among them, conduct what the
    `LEAK` effect says and are held at a share of the read voltage.

    Returns:
        Effective conductances of the cells as they are read, [planes, ..., rows, lines], and what flows into each line
        from unselected cells, over the read voltage, [planes, ..., reads, lines].
    """
    wires, leak, mapping = stack.at(Site.WIRES), stack.at(Site.LEAK), stack.mapping
    assert leak is not None, "word lines that are not selected are those of a leak"
    arrays = to_arrays(g, mapping, stack.device.g_min)
    idle, bias = leak.unselected(arrays, context)
    seen, leaks = torch.empty_like(arrays), []
    for first in range(0, mapping.rows, stack.rows_per_read):
        chosen = slice(first, first + stack.rows_per_read)
        circuit = idle.clone()
        circuit[..., chosen, :] = arrays[..., chosen, :]
        if wires is not None:
            circuit = wires.apply(circuit, None, context)
        seen[..., chosen, :] = circuit[..., chosen, :]
        circuit[..., chosen, :] = 0
        leaks.append(circuit.sum(dim=-2).mul_(bias))
    rows, lines = g.shape[-2:]
    leaked = from_arrays(torch.stack(leaks, dim=-2), mapping, arrays.shape[-4] * len(leaks), lines, mapping.planes)
    cut = reads(rows, mapping.rows, stack.rows_per_read)
    at = [first // mapping.rows * len(leaks) + first % mapping.rows // stack.rows_per_read for first, _ in cut]
    return from_arrays(seen, mapping, rows, lines, mapping.planes), leaked[..., at, :]
