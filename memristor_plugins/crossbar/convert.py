"""Any network on a stack: convert it, program a chip, calibrate its converters."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from memristor_plugins.crossbar.folding import fold_batchnorm as fold
from memristor_plugins.crossbar.idle import tell_idle
from memristor_plugins.crossbar.layer import AnalogLayer
from memristor_plugins.crossbar.ranges import Phase
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.crossbar.survey import assign, survey, tell_digital_users
from memristor_plugins.interfaces.nonideality import Site


def analogize(
    module: nn.Module,
    stack: Stack,
    *,
    overrides: Mapping[str, Stack | None] | None = None,
    fold_batchnorm: bool = False,
    compile: bool = False,
) -> nn.Module:
    """A copy of `module` whose convolutions and Linears stand on crossbar arrays.

    Converted are Linear, Conv1d to Conv3d, ConvTranspose1d to ConvTranspose3d (any groups, dilation, padding) and
    ModulatedConv2d. A layer with several names is converted once. Everything else stays digital, routing networks
    inside a kernel too; a warning tells of recurrent and bilinear modules, of weights that others use as well, and of
    effects that no layer can show.

    Args:
        module: any network.
        stack: the device stack.
        overrides: other stacks by pattern of layer names, as `fnmatch` reads it ('*' crosses dots); None keeps a layer
            digital. The first pattern that matches one of a layer's names is taken.
        fold_batchnorm: fold batch normalisation into the layers before it; the network must be in eval mode.
        compile: run what can be fused under `torch.compile`; where there is no compiler, a warning says so and layers
            run eagerly, with the same result.

    Returns:
        The converted copy, with the same parameter names unless `fold_batchnorm`, so that digital and analog
        checkpoints interchange.

    Raises:
        SimulationError: a layer that cannot be simulated; names it and what can, or how to keep it digital.
        ConfigError: a pattern that matches no layer; names the nearest.
    """
    # Before copying: a weight that is computed from others cannot be copied, and is refused with a reason.
    found = survey(module)
    plan = assign(found, stack, overrides or {})
    tell_digital_users(module, found, plan)
    tell_idle({names[0]: layer for layer, names in found.convertible.items()}, plan)
    converted = copy.deepcopy(module)
    if fold_batchnorm:
        fold(converted)
    if "layer" in plan and module in found.convertible:
        layer = AnalogLayer(converted, plan["layer"], "layer")
        layer.compiled = compile
        return layer
    for names in found.convertible.values():
        if names[0] in plan:
            layer = AnalogLayer(converted.get_submodule(names[0]), plan[names[0]], names[0])
            layer.compiled = compile
            for name in names:
                parent, _, key = name.rpartition(".")
                setattr(converted.get_submodule(parent), key, layer)
    for part in converted.modules():
        if any(isinstance(child, AnalogLayer) for child in part.modules()):
            _call_layers(part)
    return converted


def _call_layers(part: nn.Module) -> None:
    """Shut off torch's shortcut in eval mode, which takes the weights of a layer instead of calling it."""
    if isinstance(part, nn.TransformerEncoderLayer):
        # Read by the shortcut only; its other conditions are no less indirect.
        part.activation_relu_or_gelu = 0
    elif isinstance(part, nn.TransformerEncoder):
        part.use_nested_tensor = False


def analog_layers(module: nn.Module) -> dict[str, AnalogLayer]:
    """The analog layers of a converted network by name, in definition order."""
    return {layer.name: layer for layer in module.modules() if isinstance(layer, AnalogLayer)}


def program(
    module: nn.Module,
    chip: int = 0,
    seconds: float = 0.0,
    *,
    progress: Callable[[int, int], None] | None = None,
    power: bool = False,
) -> None:
    """Put every analog layer on chip `chip`, `seconds` after programming.

    Args:
        progress: called after each layer with how many are programmed and how many there are.
        power: solve resistive wires for the power of their sources in the same go; `profile` does it otherwise.
    """
    layers = list(analog_layers(module).values())
    for done, layer in enumerate(layers, start=1):
        layer.program(chip, seconds, power=power)
        if progress is not None:
            progress(done, len(layers))


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
def calibrate(module: nn.Module, batches: Iterable[Tensor], chip: int = 0, *, approximate: bool = False) -> None:
    """Set every converter's range on real inputs, at time 0 on one chip.

    The batches are run once for the inputs and once more for the sums that the converted inputs form: no range is used
    while it is still being widened. A pass that no converter needs is left out.

    Args:
        batches: input tensors [batch, channels, height, width], training images. An iterator, which can be run
            through only once, is kept in memory.
        chip: the chip whose partial sums are looked at.
        approximate: effects may approximate as they do in training steps (`ir_drop` solves no array exactly): for
            ranges that only training steps use.
    """
    layers = list(analog_layers(module).values())
    passes: tuple[tuple[Phase, Site], ...] = (("input", Site.INPUT), ("sum", Site.SUM))
    effects = [effect for layer in layers for effect in layer.stack.nonidealities.values() if effect.needs_range]
    phases = [phase for phase, site in passes if any(effect.site is site for effect in effects)]
    if iter(batches) is batches and len(phases) > 1:
        batches = list(batches)
    called: set[str] = set()
    hooks = [layer.register_forward_pre_hook(_note(layer.name, called)) for layer in layers]
    was_training = {part: part.training for part in module.modules()}
    module.eval()
    for layer in layers:
        layer.ranges.reset()
        layer.forget_chip()
    try:
        with running(module, "analog"):
            for now in phases:
                for layer in layers:
                    layer.calibrating = now
                    if layer.programmed is None or layer.needs_input_range:
                        layer.program(chip, approximate=approximate)
                for batch in batches:
                    module(batch)
    finally:
        for hook in hooks:
            hook.remove()
        for layer in layers:
            layer.calibrating = ""
            layer.forget_chip()
        for part, training in was_training.items():
            part.training = training
    if called:
        for layer in layers:
            if layer.name not in called:
                warnings.warn(
                    f"layer '{layer.name}' was not called: no range of it is calibrated, and what uses its weight "
                    "without calling it computes digitally",
                    stacklevel=2,
                )


def _note(name: str, called: set[str]) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def note(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        called.add(name)

    return note


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
                    "cells": f"gate, {plan.nodes} node(s)" + (", one converter" if layer.shared else ""),
                    "digital": "digital",
                    "none": "-",
                }[plan.gate],
                "arrays": str(arrays),
                "utilisation": f"{use.fraction:.0%}",
                "why": plan.reason,
            }
        )
    return rows
