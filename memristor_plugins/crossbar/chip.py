"""The state of one layer on one chip: fabricated, programmed, and aged."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from memristor_plugins.crossbar.layout import arrays_across
from memristor_plugins.crossbar.seeds import derive
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.errors import SimulationError
from memristor_plugins.interfaces.device import CellState
from memristor_plugins.interfaces.mapping import Mapped
from memristor_plugins.interfaces.nonideality import Context, Site


@dataclass(frozen=True)
class LayerChip:
    """One layer's cells and converters on one chip, fabricated and programmed.

    Args:
        seed: the chip.
        layer: the layer's name.
        state: programmed cells [planes, banks, groups, rows, lines].
        mapped: what was asked for.
        drawn: states that effects sampled at fabrication, by their name.
    """

    seed: int
    layer: str
    state: CellState
    mapped: Mapped
    drawn: dict[str, Any] = field(default_factory=dict)

    def conductance(self, stack: Stack, context: Context, key: str = "") -> Tensor:
        """Conductances in siemens at `context.seconds`, largest gate gain, as one evaluation sees them.

        Raises:
            SimulationError: a conductance is negative or not a number; names the layer and where.
        """
        g = _changed(self.state.g, [e.apply(self.state, self.drawn[n], context) for n, e in stack.all_at(Site.AGE)])
        for name, effect in stack.all_at(Site.DEFECT):
            g = effect.apply(g, self.drawn[name], replace(context, cells=self.state))
        fluctuating = []
        for name, effect in stack.all_at(Site.FLUCTUATION):
            generator = derive(self.seed, self.layer, f"{name}/{context.seconds:g}{key}")
            seen = replace(context, cells=self.state, generator=generator)
            fluctuating.append(effect.apply(g, self.drawn[name], seen))
        g = _changed(g, fluctuating)
        if not float(g.amin()) >= 0:  # which is not a number where one of them is not
            where = [int(i) for i in (~(g >= 0)).nonzero()[0]]
            raise SimulationError(
                f"layer '{self.layer}', chip {self.seed}: conductance {float(g[tuple(where)]):g} S at "
                f"[plane, bank, group, row, column] = {where}, {self._array(stack, where)}; conductances must be >= 0"
            )
        return g

    def _array(self, stack: Stack, where: list[int]) -> str:
        across = stack.mapping.columns // stack.mapping.planes
        return f"array [{where[3] // stack.mapping.rows}, {where[4] // across}] of its bank and group"


def _changed(g: Tensor, results: list[Tensor]) -> Tensor:
    """What several effects make of the same conductances: their changes add up, down to zero."""
    if len(results) <= 1:
        return results[0] if results else g
    return torch.stack([r - g for r in results]).sum(dim=0).add_(g).clamp_min_(0)


def programme(
    stack: Stack,
    matrix: Tensor,
    *,
    seed: int,
    layer: str,
    row_tiles: int,
    gated: bool,
    key: str = "",
    training: bool = False,
) -> LayerChip:
    """Fabricate and program one layer.

    Args:
        matrix: weights [banks, groups, rows, cols].
        seed: the chip; every draw derives from (seed, layer, purpose).
        layer: name relative to the converted network.
        row_tiles: reads that a column's sum is split over.
        gated: the cells' gate is used.
        key: tells apart repeated draws of one chip, such as training steps.
        training: draw where the matrix stands, and fast; a chip's cells would depend on the machine.
    """
    weights = matrix.detach().float()
    where = weights.device if training else torch.device("cpu")
    mapped = stack.mapping.to_conductance(weights.to(where), stack.device)
    generator = derive(seed, layer, f"program{key}", where, fast=training)
    context = replace(stack.context(training=training), generator=generator)
    target, limit = mapped.g, stack.at(Site.TARGET)
    if limit is not None:
        target = limit.apply(target, None, context)
    state = _write(stack, target, context)
    shapes = {
        Site.CELL: tuple(target.shape),
        Site.AGE: tuple(target.shape),
        Site.DEFECT: tuple(target.shape),
        Site.FLUCTUATION: tuple(target.shape),
        Site.INPUT: (*target.shape[1:-1], arrays_across(stack.mapping, target.shape[-1])),
        Site.SUM: (stack.mapping.groups, *target.shape[1:3], row_tiles, target.shape[-1]),
    }
    drawn = {
        name: _to(effect.sample(shapes[effect.site], generator=derive(seed, layer, f"{name}{key}")), where)
        for name, effect in sorted(stack.nonidealities.items())
        if effect.site in shapes
    }
    for name, effect in stack.all_at(Site.CELL):
        state = effect.apply(state, drawn[name], context)
    chip = LayerChip(seed, layer, stack.device.settled(state, gated=gated), mapped, drawn)
    return chip if where == matrix.device else _moved(chip, matrix.device)


def _write(stack: Stack, target: Tensor, context: Context) -> CellState:
    write, generator = stack.at(Site.WRITE), context.generator
    assert generator is not None
    if write is not None:
        state: CellState = write.apply(target, None, context)
        return state
    if stack.has(Site.AGE, Site.GATE, Site.READ, Site.CELL, Site.FLUCTUATION):
        return stack.device.hold(target, generator=generator)
    return CellState(target, target, stack.device.fabricate((0,), generator=generator))


def _moved(chip: LayerChip, device: torch.device) -> LayerChip:
    mapped = chip.mapped
    return replace(
        chip,
        state=chip.state.map(lambda t: t.to(device)),
        mapped=Mapped(mapped.g.to(device), mapped.scale.to(device), _to(mapped.offset, device)),
        drawn={name: _to(state, device) for name, state in chip.drawn.items()},
    )


def _to(value: Any, device: torch.device) -> Any:
    return value.to(device) if isinstance(value, Tensor) else value
