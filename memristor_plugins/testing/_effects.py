"""What an effect is applied to at each site: the signal there, its chip state, and a context."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from memristor_plugins.devices.adaptive_2d import Adaptive2D
from memristor_plugins.interfaces.device import CellState, Device
from memristor_plugins.interfaces.nonideality import Context, NonIdeality, Site
from memristor_plugins.testing._samples import HOUR, numbers, seeded

# Conductances of a layer: [planes, banks, groups, rows, cols].
CELLS = (2, 2, 1, 12, 6)
SAMPLED = (Site.CELL, Site.AGE, Site.DEFECT, Site.FLUCTUATION, Site.INPUT, Site.SUM)
DRAWING = (Site.WRITE, Site.FLUCTUATION, Site.GATE, Site.GATE_COUPLING, Site.GATE_NOISE)
CONDUCTANCES = (Site.TARGET, Site.DEFECT, Site.FLUCTUATION, Site.WIRES, Site.CURRENT, Site.LEAK, Site.READ)


@dataclass
class Bench:
    """One effect and what it is applied to.

    Args:
        effect: under test.
        x: the signal at its site.
        drawn: what it sampled for the chip.
        context: as the engine would give it.
    """

    effect: NonIdeality
    x: Any
    drawn: Any
    context: Context

    def apply(self, x: Any = None, *, seed: int = 2, state: Any = None, full_scale: Tensor | None = None) -> Any:
        """The effect on `x` (its own if None), with a fresh generator of `seed` where the site has one."""
        context = self.context
        if self.effect.site in DRAWING:
            context = replace(context, generator=seeded(seed))
        if full_scale is not None:
            context = replace(context, full_scale=full_scale)
        return self.effect.apply(self.x if x is None else x, self.state if state is None else state, context)

    @property
    def state(self) -> Any:
        """What `apply` is given of what was sampled: at `SUM` the part of one group and row tile."""
        if self.effect.site is Site.SUM and self.drawn is not None:
            return self.drawn[:, :, :, 0, 0, :]
        return None if self.effect.site is Site.INPUT else self.drawn


def sampled_shape(site: Site, cells: tuple[int, ...] = CELLS) -> tuple[int, ...]:
    """The shape that `sample` is asked for at a site."""
    _planes, banks, groups, rows, cols = cells
    if site is Site.INPUT:
        return (banks, groups, rows, 2)
    if site is Site.SUM:
        return (1, banks, groups, 3, cols)
    return cells


def bench(
    effect: NonIdeality,
    device: Device | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    cells: tuple[int, ...] = CELLS,
    seconds: float = HOUR,
    seed: int = 1,
    share: float | None = None,
) -> Bench:
    """An effect with a signal of its site.

    Args:
        effect: under test.
        device: the cell model; the gated built-in one if None.
        dtype: of the signal.
        cells: shape of the conductances.
        seconds: time since programming.
        seed: of the chip.
        share: all cells at this share of the range; None: all over it.
    """
    device = Adaptive2D() if device is None else device
    site, span = effect.site, device.g_max - device.g_min
    spread = torch.rand(cells, generator=seeded(7), dtype=torch.float64) if share is None else torch.full(cells, share)
    g = (device.g_min + span * spread).to(dtype)
    state: CellState = device.hold(g, generator=seeded(9))
    context = effect.surroundings(Context(device, seconds=seconds, cells=state))
    drawn = effect.sample(sampled_shape(site, cells), generator=seeded(seed)) if site in SAMPLED else None
    x: Any = g
    if site in (Site.CELL, Site.AGE):
        x = state
    elif site is Site.GATE:
        x = torch.linspace(device.gain_min, 1.0, 10, dtype=dtype).view(5, 2)
    elif site in (Site.GATE_COUPLING, Site.GATE_NOISE):
        low, high = device.gate_range
        place = (
            torch.rand(5, 2, generator=seeded(4), dtype=torch.float64)
            if share is None
            else torch.full((40000, 2), share)
        )
        x = (low + (high - low) * place).to(dtype)
    elif site is Site.WIRES:
        x = g.flatten(0, 2)
    elif site is Site.INPUT:
        x = torch.rand(4, 3, 5, 5, generator=seeded(4), dtype=torch.float64).to(dtype)
    elif site is Site.SUM:
        x = numbers(7, 1, cells[1], cells[4], dtype=dtype)
    if effect.needs_range:
        context = replace(context, full_scale=effect.calibrate(x).to(torch.float32))
    return Bench(effect, x, drawn, context)


def conductances(result: Any) -> Tensor:
    """The conductances of what an effect returned."""
    seen: Tensor = result.g if isinstance(result, CellState) else result
    return seen


def neutral(effect: NonIdeality) -> Mapping[str, Any]:
    """Parameters with which the effect does nothing."""
    return type(effect).neutral
