"""Which layers of a network go on arrays and on which stack; what would silently stay digital is told."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import torch
from torch import nn

from memristor_plugins.crossbar.forms import SUPPORTED, base_of, check_layer
from memristor_plugins.crossbar.layer import AnalogLayer
from memristor_plugins.crossbar.modulated import ModulatedConv2d
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.errors import ConfigError, SimulationError

# Their weights are used in matrix products that no layer of `FORMS` computes.
PRODUCTS = (nn.RNNBase, nn.RNNCellBase, nn.Bilinear)
# Read from a table: no product, hence not worth a warning.
TABLES = (nn.Embedding, nn.EmbeddingBag)


@dataclass
class Survey:
    """A network's layers.

    Args:
        convertible: the layers that can stand on arrays, with all names of each, in definition order.
        attentions: modules that use a layer's weight without calling the layer, likewise.
        products: modules that multiply by weights and cannot be converted, likewise.
        containers: names of all other modules.
    """

    convertible: dict[nn.Module, list[str]] = field(default_factory=dict)
    attentions: dict[nn.Module, list[str]] = field(default_factory=dict)
    products: dict[nn.Module, list[str]] = field(default_factory=dict)
    containers: list[str] = field(default_factory=list)

    def names(self) -> list[str]:
        """Every name that an override may match."""
        found = [name for names in self.convertible.values() for name in names]
        for module, names in self.attentions.items():
            found += [name + inner for name in names for inner in _inner(module)]
        return found + [name for names in self.products.values() for name in names]


def survey(module: nn.Module) -> Survey:
    """Walk a network without changing it; a root that is a layer itself is called 'layer'.

    Raises:
        SimulationError: a part that has been converted already, or compiled.
    """
    found = Survey()
    _walk(module, "" if base_of(module) is None else "layer", found)
    return found


def _walk(module: nn.Module, name: str, found: Survey) -> None:
    if isinstance(module, AnalogLayer):
        raise SimulationError(f"layer '{name}' stands on arrays already; convert the digital network")
    if base_of(module) is not None:
        found.convertible.setdefault(module, []).append(name)
        return
    if _is_compiled(module):
        raise SimulationError(
            f"module '{name}': {type(module).__name__} is compiled and its layers cannot be exchanged; convert the "
            "network first and compile what comes out"
        )
    if isinstance(module, nn.MultiheadAttention):
        found.attentions.setdefault(module, []).append(name)
        return
    if isinstance(module, PRODUCTS) or type(module).__module__.startswith("torch.ao.nn"):
        found.products.setdefault(module, []).append(name)
        return
    if name:
        found.containers.append(name)
    # Not `named_children`, which names a shared layer once.
    for key, child in module._modules.items():
        if child is not None:
            _walk(child, f"{name}.{key}" if name else key, found)


def _is_compiled(module: nn.Module) -> bool:
    return isinstance(module, torch.jit.ScriptModule) or isinstance(getattr(module, "_orig_mod", None), nn.Module)


def assign(found: Survey, stack: Stack, overrides: Mapping[str, Stack | None]) -> dict[str, Stack]:
    """The stack of each layer that goes on arrays, by its first name, in definition order.

    Warns once about each thing that has no effect, or that computes digitally without being told to.

    Raises:
        ConfigError: a pattern that matches no layer; names the nearest.
        SimulationError: a layer that cannot be simulated and is not kept digital.
    """
    names = found.names()
    for pattern in overrides:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ConfigError("overrides", _no_match(pattern, names, found.containers))
    used: set[str] = set()

    def choose(of: Iterable[str]) -> Stack | None:
        of = list(of)
        for pattern, chosen in overrides.items():
            if any(fnmatchcase(name, pattern) for name in of):
                used.add(pattern)
                return chosen
        return stack

    plan: dict[str, Stack] = {}
    for layer, layer_names in found.convertible.items():
        chosen = choose(layer_names)
        if chosen is not None:
            check_layer(layer, layer_names[0])
            _tell_hooks(layer, layer_names[0])
            plan[layer_names[0]] = chosen
    for attention, (name, *_) in found.attentions.items():
        if choose(name + inner for inner in _inner(attention)) is not None:
            raise SimulationError(
                f"layer '{name}': {type(attention).__name__} uses the weights of its projections without calling a "
                "layer, so arrays cannot take them over; write it with nn.Linear layers, or keep it digital: "
                f"overrides={{'{name}*': None}}"
            )
    told = False
    for product, (name, *_) in found.products.items():
        if choose([name]) is not None:
            told = True
            _tell(
                f"layer '{name}': {type(product).__name__} is not simulated and stays digital; {SUPPORTED}. "
                f"overrides={{'{name}': None}} says that this is meant"
            )
    for pattern in overrides:
        if pattern not in used:
            _tell(f"overrides: '{pattern}' has no effect, as patterns before it match the same layers")
    _tell_ties(found, plan)
    if not plan and not told:
        _tell("no layer was put on arrays: the network is as digital as it was")
    return plan


def _inner(attention: nn.Module) -> list[str]:
    """Names that a pattern may call an attention by, after its own."""
    return ["", *(f".{key}" for key, child in attention._modules.items() if child is not None)]


def _no_match(pattern: str, names: list[str], containers: list[str]) -> str:
    holders = [c for c in containers if any(name.startswith(f"{c}.") for name in names)]
    if any(fnmatchcase(name, pattern) for name in holders):
        return f"'{pattern}' is a module with layers, not a layer; '{pattern}.*' are its layers"
    nearest = difflib.get_close_matches(pattern, names, n=1, cutoff=0.0)
    return f"'{pattern}' matches no layer; " + (f"the nearest is '{nearest[0]}'" if nearest else "there are none")


def _tell_hooks(layer: nn.Module, name: str) -> None:
    if layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks:
        _tell(f"layer '{name}': its hooks are not carried over; register them on the converted layer")


def _tell_ties(found: Survey, plan: dict[str, Stack]) -> None:
    """Two layers with one weight are two sets of arrays; what else uses the weight does so digitally."""
    users: dict[int, list[str]] = {}
    for layer, (name, *_) in found.convertible.items():
        if isinstance(layer, ModulatedConv2d) and "drive" in layer.kernel.factors:
            continue  # a strategy that shares cells between layers says itself that each has copies
        weight = _weight(layer)
        if weight is not None:
            users.setdefault(id(weight), []).append(name)
    for names in users.values():
        on_arrays = [name for name in names if name in plan]
        if len(names) > 1 and on_arrays:
            _tell(
                f"layers {' and '.join(repr(n) for n in names)} share one weight; each of "
                f"{', '.join(repr(n) for n in on_arrays)} stands on arrays of its own, with errors of their own"
            )


def tell_digital_users(module: nn.Module, found: Survey, plan: dict[str, Stack]) -> None:
    """Warn where a module that stays digital holds the very weight of a layer on arrays."""
    weights = {id(_weight(layer)): names[0] for layer, names in found.convertible.items() if names[0] in plan}
    inside = {m for layer in found.convertible for m in layer.modules()}
    for name, other in module.named_modules():
        if other in inside:
            continue
        for key, parameter in other._parameters.items():
            if parameter is not None and id(parameter) in weights:
                _tell(
                    f"layer '{weights[id(parameter)]}': its weight is also '{f'{name}.{key}'.lstrip('.')}' "
                    f"({type(other).__name__}), which computes with it digitally"
                )


def _weight(layer: nn.Module) -> nn.Parameter | None:
    holder = layer.kernel if isinstance(layer, ModulatedConv2d) else layer
    return holder._parameters.get("weight")


def _tell(message: str) -> None:
    # Told where `analogize` was called.
    warnings.warn(message, stacklevel=4)
