"""Effects that are selected and cannot act: a warning each."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping

from torch import nn

from memristor_plugins.crossbar.modulated import ModulatedConv2d
from memristor_plugins.crossbar.stack import GATED, Stack
from memristor_plugins.interfaces.nonideality import Site


def tell_idle(layers: Mapping[str, nn.Module], plan: Mapping[str, Stack]) -> None:
    """Warn once about each effect of each stack that no layer on arrays can show.

    Args:
        layers: every layer that could stand on arrays, by its first name.
        plan: the stack of each that does.
    """
    for stack in {id(s): s for s in plan.values()}.values():
        for message in _idle(stack, [layers[name] for name, s in plan.items() if s is stack]):
            warnings.warn(message, stacklevel=3)


def _idle(stack: Stack, layers: Iterable[nn.Module]) -> list[str]:
    found = []
    kernels = [layer.kernel for layer in layers if isinstance(layer, ModulatedConv2d)]
    banks = [k.banks for k in kernels if "bank" in k.factors and (k.gain_range is not None or k.gate)]
    gate = [name for name, effect in stack.nonidealities.items() if effect.site in GATED]
    if gate and not banks:
        found.append(
            f"nonideality=[{','.join(gate)}] has no effect: no layer has bank factors within a gate's reach; "
            "kernel=heterosynaptic has, and kernel.gate=true splits those of other bank strategies"
        )
    elif max(banks, default=0) == 1:
        for name, _ in stack.all_at(Site.GATE_COUPLING):
            found.append(f"nonideality={name} has no effect with kernel.banks=1: a single gate line has no neighbours")
    for name, _ in stack.all_at(Site.LEAK):
        if stack.rows_per_read >= stack.mapping.rows:
            found.append(
                f"nonideality={name} has no effect with mapping.rows={stack.mapping.rows}: all word lines are read at "
                f"once; take nonidealities.{name}.rows_per_read below it"
            )
    hastened = [name for name, effect in stack.nonidealities.items() if getattr(effect, "acceleration", 1.0) != 1.0]
    if hastened and not stack.has(Site.AGE):
        found.append(
            f"nonidealities.{hastened[0]}.e_ageing has no effect without ageing; add drift, retention or relaxation"
        )
    return found
