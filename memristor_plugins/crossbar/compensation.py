"""Drift compensation: digital factors that bring an aged chip's outputs back to what it was programmed for."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from memristor_plugins.crossbar.chain import Programmed
from memristor_plugins.crossbar.convert import analog_layers
from memristor_plugins.crossbar.layer import AnalogLayer
from memristor_plugins.crossbar.readout import effective_matrix, reference
from memristor_plugins.crossbar.wired import line_currents
from memristor_plugins.errors import SimulationError

Kind = Literal["none", "global", "column", "reference"]


@torch.no_grad()
def compensate(module: nn.Module, kind: Kind) -> None:
    """Scale every analog layer's outputs against what ageing did since programming; until it is programmed again.

    `global`: one factor a layer, the current of all its bit lines right after programming over that now, with every
    word line driven alike (Joshi et al. 2020, 10.1038/s41467-020-16108-9). `column`: the same for each output's bit
    lines. `reference`: the factor of each output that fits its weights as programmed best, sum(w0 w) / sum(w^2), as if
    all of them could be read exactly. `none`: none. The reference reads are taken without read noise.

    Args:
        module: converted and programmed.

    Raises:
        SimulationError: a layer that was not programmed.
    """
    for layer in analog_layers(module).values():
        if layer.programmed is None:
            raise SimulationError(f"layer '{layer.name}' is not programmed; call program(module, chip, seconds) first")
        factors = None if kind == "none" else _factors(layer, kind)
        layer.programmed = _scaled(layer.programmed, factors)


def _scaled(programmed: Programmed, factors: Tensor | None) -> Programmed:
    """The same layer with its outputs scaled: what its converters report, not what is then subtracted from it."""
    columns, subtracted = programmed.columns, reference(programmed.chip)
    if subtracted is not None:
        kept = subtracted if factors is None else subtracted / factors
        columns = replace(columns, readout=replace(columns.readout, subtracted=kept))
    return replace(programmed, columns=columns, compensation=factors)


def _factors(layer: AnalogLayer, kind: Kind) -> Tensor:
    """[banks, groups, cols]; one bank where they share their converters."""
    assert layer.programmed is not None
    chip, stack, cols = layer.programmed.chip, layer.stack, layer.geometry.cols
    if kind == "reference":
        readouts = (layer.read_out(chip, 0.0), layer.programmed.columns.readout)
        then, now = (effective_matrix(stack.mapping, replace(r, subtracted=None)) for r in readouts)
        return _ratio(*(_seen(layer, t) for t in ((then * now).sum(dim=-2), now.square().sum(dim=-2))))
    # [planes, banks, groups, lines]: current of each bit line at one volt on every word line, through the wires.
    contexts = [stack.context(t) for t in (0.0, layer.seconds)]
    then, now = (line_currents(stack, chip.conductance(stack, context), context) for context in contexts)
    if kind == "global":
        banks = 1 if layer.shared else now.shape[1]
        return _ratio(then.sum(), now.sum()).expand(banks, now.shape[2], cols)
    outputs = stack.mapping.output_lines(cols)
    return _ratio(_seen(layer, then.sum(dim=0)), _seen(layer, now.sum(dim=0)))[..., outputs]


def _seen(layer: AnalogLayer, banks: Tensor) -> Tensor:
    """What converters tell apart of [banks, groups, lines]."""
    return banks.sum(dim=0, keepdim=True) if layer.shared else banks


def _ratio(then: Tensor, now: Tensor) -> Tensor:
    """Their quotient; one where nothing is left to scale."""
    return torch.where(now > 0, then / now, torch.ones_like(now))
