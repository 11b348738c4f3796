"""What the converters see of a programmed layer at one time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from memristor_plugins.crossbar.chip import LayerChip
from memristor_plugins.crossbar.layout import arrays_across, over_lines, reads
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.crossbar.wired import seen_by_reads, seen_by_sources, seen_through_wires
from memristor_plugins.interfaces.mapping import Mapping
from memristor_plugins.interfaces.nonideality import Context, Site


@dataclass(frozen=True)
class Readout:
    """Effective weights of one layer.

    Args:
        weight: [terms, converters, banks, nodes, groups, rows, lines], weight units over the nominal gain of each node;
            a converter reports the sum of terms.
        variance: [converters, banks, nodes, groups, rows, lines]: variance of the read noise, over the nominal gain
            squared; None without read noise.
        offset: [converters, banks, nodes, groups, reads, lines]: what flows without input, output units over the
            nominal gain; None: nothing does.
        row_g: conductance of all cells on each word line, those that hold no weight too,
            [terms, banks, nodes, groups, rows], float64, over the nominal gain; None in a training step.
        nodes: ln of the nominal gains at which cells' own gains are exact, [banks, nodes]; 0 where gains are scalars.
        subtracted: what digital arithmetic subtracts for a unit of every input, [banks, groups, cols or 1]; or None.
        admittance: that the sources of each array row see, arrays side by side added up,
            [banks, nodes, groups, arrays, word lines, word lines], float64, over the nominal gain; None: without wires,
            or not asked for.
    """

    weight: Tensor
    variance: Tensor | None
    offset: Tensor | None
    row_g: Tensor | None
    nodes: Tensor
    subtracted: Tensor | None
    admittance: Tensor | None = None


def read_out(
    stack: Stack,
    chip: LayerChip,
    seconds: float,
    *,
    nodes: Tensor | None,
    full_scale: Tensor,
    training: bool = False,
    key: str = "",
    power: bool = False,
) -> Readout:
    """Solve a programmed layer for what its converters see `seconds` after programming.

    Args:
        nodes: ln of nominal gains [banks, nodes] to compute every cell's own gain at; None: cells stand at their
            largest gain.
        full_scale: range [low, high] of the inputs, shape [2]; [0, 0]: not known, and an input of 1 is driven with the
            device's read voltage.
        training: a training step: effects may approximate as they state.
        key: tells apart repeated draws, such as training steps.
        power: solve arrays with resistive wires for what their sources deliver, too.
    """
    context = stack.context(seconds, training=training)
    g = chip.conductance(stack, context, key)
    state = replace(chip.state, g=g)  # what a gate acts on is what the cell holds now
    context = replace(context, cells=state)
    at = g.new_zeros(g.shape[1], 1) if nodes is None else nodes
    parts = []
    for node in at.unbind(dim=1):
        nominal = node.exp().view(-1, 1, 1, 1)
        gained = g if nodes is None else g * stack.device.gain(state, stack.device.gate_voltage(nominal))
        parts.append(_at_gain(stack, chip, context, gained, None if nodes is None else nominal, full_scale, power))
    weights, variances, offsets, rows, admittances = zip(*parts, strict=True)
    return Readout(
        _stacked(weights, 3),
        None if variances[0] is None else _stacked(variances, 2),
        None if offsets[0] is None else _stacked(offsets, 2),
        None if rows[0] is None else _stacked(rows, 2),
        at,
        reference(chip),
        None if admittances[0] is None else torch.stack(admittances, dim=1),
    )


def _stacked(parts: Sequence[Tensor], dim: int) -> Tensor:
    """As `torch.stack`; a single part is not copied, which a training step would notice."""
    return parts[0].unsqueeze(dim) if len(parts) == 1 else torch.stack(tuple(parts), dim=dim)


def effective_matrix(mapping: Mapping, readout: Readout) -> Tensor:
    """Weights that a readout amounts to for small signals, [banks, groups, rows, cols]."""
    matrix = mapping.from_current(readout.weight.mean(dim=(0, 3)))
    return matrix if readout.subtracted is None else matrix - readout.subtracted.unsqueeze(-2)


def reference(chip: LayerChip) -> Tensor | None:
    """What digital arithmetic subtracts for a unit of every input of a layer as programmed: `Readout.subtracted`."""
    offset = chip.mapped.offset
    return None if offset is None else offset.expand(*chip.state.g.shape[1:3], 1, offset.shape[-1])[:, :, 0]


def _at_gain(
    stack: Stack, chip: LayerChip, context: Context, g: Tensor, nominal: Tensor | None, full_scale: Tensor, power: bool
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
    """Weight [terms, converters, ...], variance, offset, row conductance [terms, ...] and admittance of the sources.

    At one gate voltage; `nominal` None: gain 1.
    """

    def told(values: Tensor) -> Tensor:
        return values if nominal is None else values / nominal

    mapping, scale = stack.mapping, chip.mapped.scale
    wires, noise, current = stack.at(Site.WIRES), stack.at(Site.READ), stack.at(Site.CURRENT)
    leaked = admittance = None
    if stack.has(Site.LEAK):
        seen, leaked = seen_by_reads(stack, g, context)
    elif power and wires is not None:
        seen, admittance = seen_by_sources(stack, g, context)
        admittance = admittance if nominal is None or admittance is None else admittance / nominal.unsqueeze(-1)
    else:
        seen = seen_through_wires(stack, g, context)
    std = None
    if noise is not None:
        std = told(noise.apply(g, None, context))
        if wires is not None:
            # A cell's fluctuation reaches the output as its conductance does: attenuated on both lines.
            std = std * (seen / g).nan_to_num_(1.0)
    terms = seen.unsqueeze(0) if current is None else current.apply(seen, None, context)
    rows = None if context.training else _row_g(stack, terms, context, nominal)
    gain, offset = _drivers(stack, chip, replace(context, full_scale=full_scale), g.shape[-1])
    if gain is not None:
        terms = terms * gain
        std = None if std is None else std * gain
    weight = _stacked([mapping.to_effective(told(term), scale) for term in terms], 0)
    constant = None
    if offset is not None:
        constant = _by_read(mapping.to_effective(told(seen * offset), scale), stack)
    if leaked is not None:
        full = float(full_scale.abs().max()) or 1.0
        unselected = mapping.to_effective(told(leaked), _scale_of_reads(scale, stack, g.shape[-2])) * full
        constant = unselected if constant is None else constant + unselected
    variance = None if std is None else mapping.effective_std(std, scale).square_()
    return weight, variance, constant, rows, admittance


def _row_g(stack: Stack, terms: Tensor, context: Context, nominal: Tensor | None) -> Tensor:
    """Sums over each word line's cells [terms, banks, groups, rows]; those of unused bit lines hold g_min."""
    mapping, lines, current = stack.mapping, terms.shape[-1], stack.at(Site.CURRENT)
    rows = terms.sum(dim=(1, -1), dtype=torch.float64)
    unused = arrays_across(mapping, lines) * mapping.columns - lines * mapping.planes
    empty = terms.new_full((1,), stack.device.g_min)
    empty = empty.unsqueeze(0) if current is None else current.apply(empty, None, context)
    rows = rows + unused * empty.double().view(-1, 1, 1, 1)
    return rows if nominal is None else rows / nominal.squeeze(-1)


def _drivers(stack: Stack, chip: LayerChip, context: Context, lines: int) -> tuple[Tensor | None, Tensor | None]:
    """Gain and offset of the word lines' drivers at every line, [banks, groups, rows, lines]."""
    for name, effect in stack.all_at(Site.INPUT):
        state = chip.drawn.get(name)
        if state is not None:
            gain, offset = effect.lines(state, context)
            constant = over_lines(offset, stack.mapping, lines) if bool(offset.any()) else None
            return over_lines(gain, stack.mapping, lines), constant
    return None, None


def _by_read(values: Tensor, stack: Stack) -> Tensor:
    """Sums over the rows of each read [..., rows, lines] -> [..., reads, lines]."""
    cut = reads(values.shape[-2], stack.mapping.rows, stack.rows_per_read)
    return torch.stack([values[..., first:last, :].sum(dim=-2) for first, last in cut], dim=-2)


def _scale_of_reads(scale: Tensor, stack: Stack, rows: int) -> Tensor:
    """`Mapped.scale` with reads for rows; rows of one array share it."""
    if scale.shape[-2] == 1:
        return scale
    return scale[..., [first for first, _ in reads(rows, stack.mapping.rows, stack.rows_per_read)], :]


def gate_nodes(gain_min: float, count: int) -> Tensor:
    """ln of the nominal gains at which cells' gains are computed: Chebyshev points of [ln gain_min, 0]."""
    middle = 0.5 * math.log(gain_min)
    points = [middle * (1 + math.cos(math.pi * (2 * j + 1) / (2 * count))) for j in range(count)]
    return torch.tensor(points, dtype=torch.float64)
