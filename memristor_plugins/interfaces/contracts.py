"""The five contracts by plugin group, and whether a class fulfils one."""

from __future__ import annotations

import inspect
from typing import Any

from memristor_plugins.interfaces.device import Device
from memristor_plugins.interfaces.energy import EnergyEstimator
from memristor_plugins.interfaces.kernel import KernelStrategy
from memristor_plugins.interfaces.mapping import Mapping
from memristor_plugins.interfaces.nonideality import NonIdeality

CONTRACTS: dict[str, type] = {
    "device": Device,
    "nonideality": NonIdeality,
    "mapping": Mapping,
    "kernel": KernelStrategy,
    "energy": EnergyEstimator,
}


def breach(target: Any, group: str) -> str | None:
    """Why a plugin cannot fulfil its group's contract, in words; None where it can, or where only its result tells.

    Args:
        target: what the entry point names: a class, or a factory, of which nothing can be told before it is called.
        group: such as `device`.
    """
    contract = CONTRACTS[group].__name__
    if not callable(target):
        return f"is a {type(target).__name__}, neither a class nor a factory of a {contract}"
    if not isinstance(target, type):
        return None
    if not issubclass(target, CONTRACTS[group]):
        return f"is no subclass of memristor_plugins.api.{contract}"
    if inspect.isabstract(target):
        missing = sorted(getattr(target, "__abstractmethods__", ()))
        return f"leaves {', '.join(missing)} of {contract} unimplemented"
    return None
