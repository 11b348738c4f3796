"""Write-verify: pulse, read, compare, until a cell is close enough; over any model of pulses, all cells at once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Generator, Tensor

from memristor_plugins.interfaces.device import Cells, standard_normal
from memristor_plugins.interfaces.pulsed import PulsedModel


class Written(NamedTuple):
    """What write-verify left, one value a cell, all of the targets' shape.

    Args:
        g: conductance, siemens.
        pulses: write pulses taken.
        energy_j: energy of pulses and verifying reads, joules.
        verified: whether the last read was within tolerance.
    """

    g: Tensor
    pulses: Tensor
    energy_j: Tensor
    verified: Tensor


def write_verify(
    model: PulsedModel,
    target: Tensor,
    *,
    cells: Cells,
    generator: Generator,
    tolerance: float,
    rounds: int,
    verify_noise: float,
    read_voltage: float,
    read_time: float,
    start: Tensor | None = None,
    resolution: float = 1.0,
    width_modulated: bool = False,
) -> Written:
    """Write `target` into cells of `model`, by bursts of pulses with a read after each.

    Each round reads every cell that is not done, stops those within `tolerance`, and gives the others the burst
    that would bring a nominal cell from what was read to the target: round(P(target) - P(read)) pulses in steps of
    `resolution`, at least one step. A first burst crosses the range and later ones correct what differs between
    cells and cycles, so that few rounds suffice. Only cells that are not done are computed.

    Args:
        model: the curves, and what a pulse costs.
        target: siemens, any shape.
        cells: constants of these cells, from `model.fabricate`.
        generator: of cycle-to-cycle variation and verify noise, in this order in each round.
        tolerance: largest accepted |read - target|, siemens, > 0.
        rounds: most bursts, >= 0; a cell that needs more keeps what the last one left.
        verify_noise: standard deviation of a verifying read over its conductance.
        read_voltage, read_time: volts and seconds of a verifying read.
        start: conductance before, siemens; None: erased, each cell at its own lower bound.
        resolution: the shortest pulse, in pulses of nominal width.
        width_modulated: a burst is one pulse of its length, not a train of pulses of nominal width.
    """
    with torch.no_grad():
        shape, goal = target.shape, target.detach().reshape(-1)
        own = cells.map(lambda c: c.to(goal).expand(shape).reshape(-1))
        g = (own["low"] if start is None else start.detach().to(goal).expand(shape).reshape(-1)).clone()
        pulses, energy = torch.zeros_like(g), torch.zeros_like(g)
        verified = torch.zeros_like(g, dtype=torch.bool)
        active = torch.arange(g.numel(), device=g.device)
        for turn in range(rounds + 1):
            here, wanted = g[active], goal[active]
            energy[active] += here * (read_voltage**2 * read_time)
            read = here
            if verify_noise > 0:
                read = here * (1 + verify_noise * standard_normal(here, generator))
            close = (read - wanted).abs() <= tolerance
            verified[active] = close
            todo = ~close
            if turn == rounds or not bool(todo.any()):
                break
            active, here, wanted, read = active[todo], here[todo], wanted[todo], read[todo]
            burst = model.pulses_to(read, wanted) / resolution
            direction = torch.where(wanted > read, 1.0, -1.0).to(burst)
            burst = direction * burst.abs().round().clamp_min(1.0) * resolution
            after = model.pulse(here, burst, cells=_take(own, active), generator=generator)
            g[active] = after
            pulses[active] += 1.0 if width_modulated else burst.abs()
            energy[active] += model.pulse_energy(here, after, burst)
    return Written(g.reshape(shape), pulses.reshape(shape), energy.reshape(shape), verified.reshape(shape))


def _take(cells: Cells, index: Tensor) -> Cells:
    return cells.map(lambda constant: constant[index])
