"""The state of one layer on one chip, and what its converters see of it at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from memristor_plugins.crossbar.seeds import derive
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.errors import SimulationError
from memristor_plugins.interfaces.device import CellState
from memristor_plugins.interfaces.mapping import Mapped
from memristor_plugins.interfaces.nonideality import Context, Site


@dataclass(frozen=True)
class LayerChip:
    """One layer's cells on one chip, fabricated and programmed.

    Args:
        seed: the chip.
        layer: the layer's name.
        state: programmed cells [planes, banks, groups, rows, cols].
        scale: weight units per siemens.
        drawn: per-chip states of defects by name.
    """

    seed: int
    layer: str
    state: CellState
    scale: Tensor
    drawn: dict[str, Any] = field(default_factory=dict)

    def conductance(self, stack: Stack, seconds: float) -> Tensor:
        """Conductances in siemens at a time, largest gate gain.

        Raises:
            SimulationError: a conductance is negative or not a number; names the layer and where.
        """
        age = stack.at(Site.AGE)
        context = Context(stack.device, seconds=seconds)
        g = self.state.g if age is None else age.apply(self.state, None, context)
        for name, effect in stack.defects():
            g = effect.apply(g, self.drawn[name], context)
        bad = ~(g >= 0)
        if bool(bad.any()):
            where = [int(i) for i in bad.nonzero()[0]]
            raise SimulationError(
                f"layer '{self.layer}', chip {self.seed}: conductance {float(g[tuple(where)]):g} S at "
                f"[plane, bank, group, row, column] = {where}; conductances must be >= 0"
            )
        return g


def programme(stack: Stack, matrix: Tensor, *, seed: int, layer: str, key: str = "") -> LayerChip:
    """Fabricate and program one layer.

    Args:
        matrix: weights [banks, groups, rows, cols].
        seed: the chip; every draw derives from (seed, layer, purpose).
        layer: name relative to the converted network.
        key: tells apart repeated draws of one chip, such as training steps.
    """
    mapped: Mapped = stack.mapping.to_conductance(matrix.detach().float().cpu(), stack.device)
    write = stack.at(Site.WRITE)
    generator = derive(seed, layer, f"program{key}")
    if write is not None:
        state = write.apply(mapped.g, None, Context(stack.device, generator=generator))
    elif any(stack.at(site) is not None for site in (Site.AGE, Site.GATE, Site.READ)):
        state = stack.device.hold(mapped.g, generator=generator)
    else:
        state = CellState(mapped.g, mapped.g, stack.device.fabricate((0,), generator=generator))
    drawn = {
        name: effect.sample(mapped.g.shape, generator=derive(seed, layer, f"{name}{key}"))
        for name, effect in stack.defects()
    }
    chip = LayerChip(seed, layer, state, mapped.scale, drawn)
    return chip if matrix.device.type == "cpu" else _moved(chip, matrix.device)


def _moved(chip: LayerChip, device: torch.device) -> LayerChip:
    drawn = {n: s.to(device) if isinstance(s, Tensor) else s for n, s in chip.drawn.items()}
    return replace(chip, state=chip.state.map(lambda t: t.to(device)), scale=chip.scale.to(device), drawn=drawn)


@dataclass(frozen=True)
class Readout:
    """What the converters see of a programmed layer at one time.

    Args:
        weight: [converters, banks, nodes, groups, rows, cols], weight units over the nominal gain of each node.
        variance: the same shape: variance of the read noise, over the nominal gain squared; None without read noise.
        row_g: conductance of all cells on each word line, [banks, nodes, groups, rows], over the nominal gain.
        nodes: ln of the nominal gains at which cells' own gains are exact, [banks, nodes]; 0 where gains are scalars.
    """

    weight: Tensor
    variance: Tensor | None
    row_g: Tensor
    nodes: Tensor


def read_out(stack: Stack, chip: LayerChip, seconds: float, *, nodes: Tensor | None) -> Readout:
    """Solve a programmed layer for what its converters see `seconds` after programming.

    Args:
        nodes: ln of nominal gains [banks, nodes] to compute every cell's own gain at; None: cells stand at their
            largest gain.
    """
    g = chip.conductance(stack, seconds)
    noise = stack.at(Site.READ)
    device, mapping = stack.device, stack.mapping
    state = replace(chip.state, g=g)  # what a gate acts on is what the cell holds now
    context = Context(device, seconds=seconds, cells=state)
    weights, variances, rows = [], [], []
    at = g.new_zeros(g.shape[1], 1) if nodes is None else nodes
    for node in at.unbind(dim=1):
        nominal = node.exp().view(-1, 1, 1, 1)
        gained = g if nodes is None else g * device.gain(state, device.gate_voltage(nominal))
        weights.append(mapping.to_effective(gained / nominal, chip.scale))
        rows.append((gained / nominal).sum(dim=(0, -1)))
        if noise is not None:
            std = noise.apply(gained, None, context) / nominal
            variances.append(mapping.effective_std(std, chip.scale).square())
    return Readout(
        torch.stack(weights, dim=2),
        torch.stack(variances, dim=2) if variances else None,
        torch.stack(rows, dim=1),
        at,
    )


def gate_nodes(gain_min: float, count: int) -> Tensor:
    """ln of the nominal gains at which cells' gains are computed: Chebyshev points of [ln gain_min, 0]."""
    middle = 0.5 * math.log(gain_min)
    points = [middle * (1 + math.cos(math.pi * (2 * j + 1) / (2 * count))) for j in range(count)]
    return torch.tensor(points, dtype=torch.float64)
