"""Which setting of the chip matters most: each one halved and doubled by itself, on the same inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from memristor_plugins.build import build, build_stack
from memristor_plugins.cli.assemble import Assembly
from memristor_plugins.crossbar.convert import analog_layers, calibrate, program, running
from memristor_plugins.crossbar.layer import AnalogLayer
from memristor_plugins.crossbar.profile import profile
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.energy.components import ARRAY_AND_CONVERTERS, ARRAY_ONLY, FULL_SYSTEM, by_boundary
from memristor_plugins.errors import MemristorError
from memristor_plugins.interfaces.energy import LayerProfile, WorkloadProfile
from memristor_plugins.interfaces.nonideality import Site
from memristor_plugins.reporting.cost_figures import Variation

# Images that each variant is profiled on; ratios change little with more.
IMAGES = 4
BOUNDARIES = (ARRAY_ONLY, ARRAY_AND_CONVERTERS, FULL_SYSTEM)
HEADER = ("setting", "value", "boundary", "energy_over_nominal")


@dataclass(frozen=True)
class Factor:
    """A setting: its name, the places in the config that hold it, its unit, and whether it counts bits."""

    name: str
    keys: tuple[str, ...]
    unit: str = ""
    bits: bool = False


FACTORS = (
    Factor("array size", ("mapping.rows", "mapping.columns")),
    Factor("ADC resolution", ("nonidealities.adc.bits",), "bit", bits=True),
    Factor("ADC resolution", ("energies.crossbar.default_bits",), "bit", bits=True),
    Factor("G_on", ("device.g_max",), "S"),
    Factor("read voltage", ("device.read_voltage",), "V"),
    Factor("banks K", ("kernel.banks",)),
)


def vary(
    config: DictConfig, built: Assembly, images: Tensor, workload: WorkloadProfile
) -> tuple[list[Variation], tuple[str, ...]]:
    """The settings of `FACTORS` that this stack has, from most to least important for the full system.

    Each variant is a stack of its own: mapped, programmed, calibrated and read anew, layer by layer, on the inputs that
    the digital network gives each layer. Bits change by one, which halves or doubles the levels.

    Returns:
        The variations, and what must be said beside them.
    """
    inputs = _inputs(built.module.network, images[:IMAGES])
    nominal = _energy(config, built, inputs, workload)
    said = [
        f"each setting halved and doubled alone (bits: one less and one more), {len(images[:IMAGES])} images; "
        "everything else as it is"
    ]
    if built.stack.has(Site.WIRES):
        said.append("without the resistance of wires")
    variations: list[Variation] = []
    for factor in FACTORS:
        values = [OmegaConf.select(config, key) for key in factor.keys]
        if any(v is None for v in values) or factor.name in [v.setting for v in variations]:
            continue
        found: list[tuple[str, dict[str, float]]] = []
        try:
            for sign in (-1, 1):
                changed, told = _changed(config, factor, values, sign)
                found.append((told, _energy(changed, built, inputs, workload)))
        except MemristorError as error:
            said.append(f"{factor.name} is not varied: {error}")
            continue
        ratios = {b: (found[0][1][b] / nominal[b], found[1][1][b] / nominal[b]) for b in BOUNDARIES if nominal[b]}
        variations.append(Variation(factor.name, found[0][0], found[1][0], ratios))
    variations.sort(key=lambda v: -v.spread(FULL_SYSTEM))
    return variations, tuple(said)


def rows(variations: Sequence[Variation]) -> Iterator[tuple[str, str, str, float]]:
    """The lines of `sensitivity.csv`, see `HEADER`."""
    for variation in variations:
        for boundary, (low, high) in variation.ratios.items():
            yield variation.setting, variation.low, boundary, low
            yield variation.setting, variation.high, boundary, high


def _changed(config: DictConfig, factor: Factor, values: list[Any], sign: int) -> tuple[DictConfig, str]:
    changed, told = config.copy(), []
    for key, value in zip(factor.keys, values, strict=True):
        new: int | float
        if factor.bits:
            new = int(value) + sign
        elif isinstance(value, int):
            new = value * 2 if sign > 0 else max(1, value // 2)
        else:
            new = float(value) * 2.0**sign
        OmegaConf.update(changed, key, new)
        told.append(f"{new:.3g}")
    joined = " x ".join(told)
    return changed, f"{joined} {factor.unit}".rstrip()


@torch.no_grad()
def _inputs(network: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """What the digital network gives each layer."""
    found: dict[str, Tensor] = {}
    handles = []
    for name, layer in analog_layers(network).items():

        def keep(_: nn.Module, inputs: tuple[Tensor, ...], name: str = name) -> None:
            found[name] = inputs[0].clone()

        handles.append(layer.register_forward_pre_hook(keep))
    try:
        with running(network, "digital"):
            network(images)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _energy(
    config: DictConfig, built: Assembly, inputs: dict[str, Tensor], workload: WorkloadProfile
) -> dict[str, float]:
    """Joules inside each boundary of the network on the stack of `config`."""
    stack = build_stack(config)
    wires = [name for name, effect in stack.nonidealities.items() if effect.site is Site.WIRES]
    stack = stack.keeping([name for name in stack.nonidealities if name not in wires])
    kernel = build(config.kernel, "kernel", "kernel")
    state = torch.random.get_rng_state()
    network = build(
        config.model, "model", kernel=kernel, input_shape=built.data.input_shape, num_classes=built.data.num_classes
    )
    torch.random.set_rng_state(state)
    _adopt(network, built.module.network)
    chip, seconds = (built.chips[0] if built.chips else 0), built.times[0]
    layers = tuple(_profiled(network.get_submodule(name), stack, name, x, chip, seconds) for name, x in inputs.items())
    estimator = build(config.energies.crossbar, "energies.crossbar", "energy")
    return by_boundary(estimator.estimate(replace(workload, layers=layers, read_time=stack.device.read_time)))


def _profiled(digital: nn.Module, stack: Stack, name: str, x: Tensor, chip: int, seconds: float) -> LayerProfile:
    layer = AnalogLayer(digital, stack, name).to(x.device).eval()
    calibrate(layer, [x])
    program(layer, chip, seconds)
    return profile(layer, [x], "").layers[0]


@torch.no_grad()
def _adopt(network: nn.Module, trained: nn.Module) -> None:
    """Give a network with other banks the trained weights: its first banks, or all of them again and again."""
    known = trained.state_dict()
    for name, value in network.state_dict().items():
        source = known[name].to(value.device)
        if source.shape != value.shape and source.shape[1:] == value.shape[1:]:
            times = -(-value.shape[0] // source.shape[0])
            source = source.repeat(times, *[1] * (source.dim() - 1))[: value.shape[0]]
        if source.shape == value.shape:
            value.copy_(source)
