"""Batch normalisation folded into the layer before it, so that a chip has neither to compute."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvTransposeNd

from memristor_plugins.crossbar.forms import CONVOLUTIONS, TRANSPOSED, base_of
from memristor_plugins.crossbar.modulated import ModulatedConv2d
from memristor_plugins.errors import SimulationError

# Which normalisation undoes nothing but this layer's output channels.
AFTER: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: nn.BatchNorm1d,
    ModulatedConv2d: nn.BatchNorm2d,
    **dict(zip(CONVOLUTIONS, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), strict=True)),
    **dict(zip(TRANSPOSED, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), strict=True)),
}


def fold_batchnorm(module: nn.Module) -> list[str]:
    """Fold every batch normalisation that directly follows a layer into that layer, in place.

    With s = gamma / sqrt(var + eps) of the running statistics: W <- s W, b <- s (b - mean) + beta; the normalisation
    becomes an identity. The function computed in eval mode stays the same, to rounding (relative 1e-6 in float32).

    A max-pooling may stand between the two where no factor gamma is negative: a maximum then commutes with both.

    What follows what is read from the graph that `torch.fx` traces; of a network that cannot be traced, from those of
    its parts that can, and from its `nn.Sequential`s. Left alone are a layer or a normalisation that is used more than
    once, a layer whose output something else uses too, and one whose weight others share. A BatchNorm1d after a Linear
    is taken to see [batch, features].

    Args:
        module: a network in eval mode.

    Returns:
        Names of the layers that took a normalisation up; with none, a warning says so.

    Raises:
        SimulationError: the network is in training mode, in which a normalisation computes something else.
    """
    names: dict[nn.Module, list[str]] = {}
    for name, child in module.named_modules(remove_duplicate=False):
        names.setdefault(child, []).append(name)
    # Normalisations only: what a user froze in eval mode is as good as a network in eval mode.
    training = next((n[0] for m, n in names.items() if isinstance(m, _BatchNorm) and m.training), None)
    if training is not None:
        raise SimulationError(
            f"'{training}' is in training mode, in which it normalises by each batch's own statistics; call eval() "
            "before folding it into the layer before it"
        )
    owners: dict[int, int] = {}
    for child in names:
        for parameter in child._parameters.values():
            owners[id(parameter)] = owners.get(id(parameter), 0) + 1
    folded = []
    for layer, norm, pooled in list(_pairs(module)):
        alone = len(names[layer]) == len(names[norm]) == 1
        if (
            alone
            and _fits(layer, norm, pooled)
            and all(owners[id(p)] == 1 for p in _parameters(layer) + _parameters(norm))
        ):
            _fold(layer, norm)
            _replace(module, names[norm][0])
            folded.append(names[layer][0])
    if not folded:
        seen = sum(isinstance(m, _BatchNorm) for m in names)
        warnings.warn(
            f"no batch normalisation was folded: none of the network's {seen} directly follows a layer that is used "
            "once and can take it up",
            stacklevel=2,
        )
    return folded


# --- what follows what ----------------------------------------------------------------------------------------------


# (layer, normalisation after it, a max-pooling stands between them)
Pair = tuple[nn.Module, nn.Module, bool]


class _Tracer(fx.Tracer):
    """Stops at every layer that can be folded into, and at everything of torch's own."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return base_of(m) is not None or super().is_leaf_module(m, module_qualified_name)


def _pairs(module: nn.Module) -> Iterator[Pair]:
    """Pairs in which the second's only input is the first's output, which nothing else uses."""
    if base_of(module) is not None or not any(isinstance(m, _BatchNorm) for m in module.modules()):
        return
    graph = _trace(module)
    if graph is not None:
        yield from _pairs_of_graph(module, graph)
        return
    if isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward:
        children = list(module)
        yield from ((a, b, False) for a, b in pairwise(children))
        yield from ((a, c, True) for a, b, c in zip(children, children[1:], children[2:], strict=False) if _pools(b))
    for child in module.children():
        yield from _pairs(child)


def _trace(module: nn.Module) -> fx.Graph | None:
    try:
        return _Tracer().trace(module)
    except Exception:
        # Tracing runs a network's own code on proxies, and what that raises is anyone's guess: its parts are tried.
        return None


def _pools(module: nn.Module) -> bool:
    return isinstance(module, nn.MaxPool1d | nn.MaxPool2d | nn.MaxPool3d) and not module.return_indices


def _pairs_of_graph(module: nn.Module, graph: fx.Graph) -> Iterator[Pair]:
    calls: dict[nn.Module, list[fx.Node]] = {}
    read = {str(node.target).rpartition(".")[0] for node in graph.nodes if node.op == "get_attr"}
    for node in graph.nodes:
        if node.op == "call_module":
            calls.setdefault(module.get_submodule(str(node.target)), []).append(node)
    for norm, nodes in calls.items():
        if not isinstance(norm, _BatchNorm) or len(nodes) != 1 or len(nodes[0].all_input_nodes) != 1:
            continue
        before = nodes[0].all_input_nodes[0]
        pooled = before.op == "call_module" and _pools(module.get_submodule(str(before.target)))
        if pooled:
            if len(before.users) != 1:
                continue
            before = before.all_input_nodes[0]
        if before.op != "call_module" or len(before.users) != 1 or {str(before.target), str(nodes[0].target)} & read:
            continue
        layer = module.get_submodule(str(before.target))
        if len(calls[layer]) == 1:
            yield layer, norm, pooled


# --- folding --------------------------------------------------------------------------------------------------------


def _parameters(layer: nn.Module) -> list[nn.Parameter]:
    return list(layer.parameters())


def _weight(layer: nn.Module) -> tuple[nn.Module, Tensor | None, int]:
    """Who holds the weight, the weight where it is a parameter, and how many axes come before out channels."""
    holder: Any = layer.kernel if isinstance(layer, ModulatedConv2d) else layer
    return holder, holder._parameters.get("weight"), int(isinstance(layer, ModulatedConv2d))


def _fits(layer: nn.Module, norm: nn.Module, pooled: bool) -> bool:
    base = base_of(layer)
    if base is None or not isinstance(norm, AFTER[base]) or not isinstance(norm, _BatchNorm):
        return False
    if pooled and norm.weight is not None and bool((norm.weight < 0).any()):
        return False
    known = norm.running_mean is not None and norm.running_var is not None
    own = type(layer).forward is not base.forward or type(norm).forward is not _BatchNorm.forward
    hooked = any(m._forward_hooks or m._forward_pre_hooks for m in (layer, norm))
    return known and not own and not hooked and _weight(layer)[1] is not None and norm.num_features == _outputs(layer)


def _outputs(layer: nn.Module) -> int:
    if isinstance(layer, ModulatedConv2d):
        return layer.spec.out_channels
    outputs: Any = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
    return int(outputs)


@torch.no_grad()
def _fold(layer: nn.Module, norm: nn.Module) -> None:
    assert isinstance(norm, _BatchNorm)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    holder, weight, lead = _weight(layer)
    assert weight is not None
    # In double precision, rounded once: what is then left is the rounding of the products.
    mean, scale = norm.running_mean.double(), (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    bias = layer._parameters.get("bias")
    shift = -mean * scale if bias is None else (bias.double() - mean) * scale
    if norm.bias is not None:
        shift = shift + norm.bias.double()
    holder.weight = nn.Parameter(_scaled(layer, weight.double(), scale, lead).to(weight), weight.requires_grad)
    layer.bias = nn.Parameter(shift.to(weight), weight.requires_grad)


def _scaled(layer: nn.Module, w: Tensor, scale: Tensor, lead: int) -> Tensor:
    if isinstance(layer, _ConvTransposeNd):
        # [in, out / groups, ...], groups outermost in both.
        s = scale.view(layer.groups, 1, -1, *(1,) * (w.dim() - 2))
        scaled: Tensor = (w.unflatten(0, (layer.groups, -1)) * s).flatten(0, 1)
        return scaled
    return w * scale.view(-1, *(1,) * (w.dim() - 1 - lead))


def _replace(module: nn.Module, name: str) -> None:
    parent, _, key = name.rpartition(".")
    setattr(module.get_submodule(parent), key, nn.Identity())
