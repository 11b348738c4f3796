"""Any network on a stack: convert it, program a chip, calibrate its converters."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from memristor_plugins.crossbar.layer import AnalogLayer
from memristor_plugins.crossbar.modulated import ModulatedConv2d
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.errors import SimulationError

CONVERTED = (nn.Linear, nn.Conv2d, ModulatedConv2d)


def analogize(module: nn.Module, stack: Stack) -> nn.Module:
    """A copy of `module` whose convolutions and Linears stand on crossbar arrays.

    Args:
        module: any network; routing networks inside a kernel stay digital.
        stack: the device stack.

    Returns:
        The converted copy, with the same parameter names, so that digital and analog checkpoints interchange.

    Raises:
        SimulationError: a layer that cannot be simulated; names it and what can.
    """
    converted = copy.deepcopy(module)
    if isinstance(converted, CONVERTED):
        return AnalogLayer(converted, stack, "layer")
    _replace(converted, stack, "", {})
    return converted


def _replace(module: nn.Module, stack: Stack, prefix: str, done: dict[nn.Module, AnalogLayer]) -> None:
    # Not `named_children`, which names a shared layer once: its other names would stay digital.
    for name, child in list(module._modules.items()):
        if child is None:
            continue
        path = f"{prefix}{name}"
        if isinstance(child, CONVERTED):
            if child not in done:
                done[child] = AnalogLayer(child, stack, path)
            setattr(module, name, done[child])
        elif isinstance(child, nn.Conv1d | nn.Conv3d | nn.modules.conv._ConvTransposeNd):
            raise SimulationError(f"layer '{path}': {type(child).__name__} is not simulated; Conv2d and Linear are")
        else:
            _replace(child, stack, f"{path}.", done)


def analog_layers(module: nn.Module) -> dict[str, AnalogLayer]:
    """The analog layers of a converted network by name, in definition order."""
    return {layer.name: layer for layer in module.modules() if isinstance(layer, AnalogLayer)}


def program(module: nn.Module, chip: int = 0, seconds: float = 0.0) -> None:
    """Put every analog layer on chip `chip`, `seconds` after programming."""
    for layer in analog_layers(module).values():
        layer.program(chip, seconds)


def set_mode(module: nn.Module, mode: Literal["digital", "analog"]) -> None:
    """Compute every analog layer digitally, or on its arrays."""
    for layer in analog_layers(module).values():
        layer.mode = mode


@contextmanager
def running(module: nn.Module, mode: Literal["digital", "analog"]) -> Iterator[None]:
    """All analog layers in `mode` within the block, and as they were after it."""
    before = {layer: layer.mode for layer in analog_layers(module).values()}
    set_mode(module, mode)
    try:
        yield
    finally:
        for layer, old in before.items():
            layer.mode = old


@torch.no_grad()
def calibrate(module: nn.Module, batches: Iterable[Tensor], chip: int = 0) -> None:
    """Set every converter's range on real inputs, at time 0 on one chip.

    Args:
        batches: input tensors [batch, channels, height, width], training images.
        chip: the chip whose partial sums are looked at.
    """
    layers = list(analog_layers(module).values())
    was_training = module.training
    module.eval()
    for layer in layers:
        layer.input_range.zero_()
        layer.sum_range.zero_()
        layer.program(chip)
        layer.calibrating = True
    try:
        with running(module, "analog"):
            for batch in batches:
                module(batch)
    finally:
        for layer in layers:
            layer.calibrating = False
            layer.forget_chip()
        module.train(was_training)


def explain(module: nn.Module) -> list[dict[str, str]]:
    """One row a layer: its plan, and why it was chosen."""
    rows = []
    for name, layer in analog_layers(module).items():
        plan, use = layer.plan, layer.stack.mapping.utilisation(layer.geometry.rows, layer.geometry.cols)
        arrays = use.arrays * layer.banks * layer.geometry.groups
        rows.append(
            {
                "layer": name,
                "plan": plan.kind + (" + read noise" if plan.noise else ""),
                "matrix": f"{layer.geometry.rows} x {layer.geometry.cols}",
                "banks": str(plan.banks),
                "bank factors": {
                    "cells": f"gate, {plan.nodes} node(s)",
                    "digital": "digital",
                    "none": "-",
                }[plan.gate],
                "arrays": str(arrays),
                "utilisation": f"{use.fraction:.0%}",
                "why": plan.reason,
            }
        )
    return rows
