"""The only place that instantiates config nodes, after checking the whole tree.

A node may name a registered plugin or one of `TARGETS`, and nothing else. What Hydra's types cannot say is
checked here: Literals, ranges, tuple lengths, unknown and missing parameters, and orphans, which are settings
of an option that was not chosen.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from memristor_plugins import registry
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.errors import ConfigError, PluginError, nearest
from memristor_plugins.interfaces.contracts import CONTRACTS, breach
from memristor_plugins.signature import REQUIRED, mismatch, parameters

# What configs may instantiate besides plugins, by exact name.
TARGETS = frozenset(
    {
        "memristor_plugins.models.vgg.VGG",
        "memristor_plugins.models.recipe.Recipe",
        "memristor_plugins.models.hardware.HardwareAware",
        "memristor_plugins.datamodules.digits.Digits",
        "memristor_plugins.datamodules.cifar10.CIFAR10",
    }
)

IGNORED = {"_target_", "_convert_"}


def build(node: DictConfig | dict[str, Any] | None, path: str, group: str | None = None, **given: Any) -> Any:
    """Instantiate one node.

    Args:
        node: has `_target_` and parameters; None where nothing is selected.
        path: where it stands in the config, to name options in errors (`device`).
        group: the plugin group whose contract it must fulfil; None for `TARGETS`.
        given: arguments that configs cannot express (a kernel strategy, an input shape).

    Raises:
        ConfigError: the option that is wrong, and what would be right.
        PluginError: the plugin cannot be imported, or does not fulfil its contract.
    """
    try:
        values = OmegaConf.to_container(node, resolve=True) if isinstance(node, DictConfig) else node
    except OmegaConfBaseException as error:  # an interpolation that leads nowhere
        raise ConfigError(str(error.full_key or path), str(error).partition("\n")[0]) from error
    if values is None:
        raise ConfigError(path, f"nothing is selected; choose {path}=NAME")
    if not isinstance(values, dict):
        raise ConfigError(path, f"must be a group of settings, got '{values}'")
    target = values.get("_target_")
    if target is None:
        raise _orphan(path, values, group)
    function = _admitted(str(target), path, group)
    arguments = {str(k): v for k, v in values.items() if k not in IGNORED}
    check_arguments(function, arguments, path, given)
    made = function(**arguments, **given)
    if group is not None and not isinstance(made, CONTRACTS[group]):
        raise ConfigError(path, f"{target} makes a {type(made).__name__}, which is not a {CONTRACTS[group].__name__}")
    return made


def build_stack(config: DictConfig) -> Stack:
    """The stack of a composed config: `device`, `mapping` and `nonidealities`."""
    nodes = config.get("nonidealities") or {}
    if not isinstance(nodes, DictConfig | dict):
        raise ConfigError("nonidealities", f"must be a group of settings, got '{nodes}'")
    return Stack(
        device=build(config.get("device"), "device", "device"),
        mapping=build(config.get("mapping"), "mapping", "mapping"),
        nonidealities={
            str(name): build(node, f"nonidealities.{name}", "nonideality") for name, node in sorted(nodes.items())
        },
    )


def _admitted(target: str, path: str, group: str | None) -> Callable[..., Any]:
    if group is not None:
        plugin = next((p for p in registry.plugins(group) if p.dotted == target), None)
        if plugin is None:
            valid = (p.dotted for p in registry.plugins(group))
            message = f"'{target}' is no registered {group}; {nearest(target, valid)}"
            raise ConfigError(f"{path}._target_", message)
        loaded: Callable[..., Any] = plugin.load()
        if broken := breach(loaded, group):
            raise PluginError(f"{plugin.label} {broken}")
        return loaded
    if target not in TARGETS:
        message = f"'{target}' may not be instantiated; {nearest(target, TARGETS)}"
        raise ConfigError(f"{path}._target_", message)
    module, _, name = target.rpartition(".")
    return getattr(importlib.import_module(module), name)  # type: ignore[no-any-return]


def _orphan(path: str, values: dict[Any, Any], group: str | None) -> ConfigError:
    name = path.rpartition(".")[2]
    first, *others = [f"{path}.{key}" for key in values] or [path]
    also = f" (and {', '.join(others)})" if others else ""
    if group in ("nonideality", "energy"):
        known = registry.names(group)
        choose = f"select it with {group}=[...,{name}]" if name in known else nearest(name, known)
        return ConfigError(first, f"is set{also}, but '{name}' is not selected; {choose}")
    return ConfigError(first, f"is set{also}, but nothing is selected there; choose {path}=NAME")


def check_arguments(function: Callable[..., Any], arguments: dict[str, Any], path: str, given: dict[str, Any]) -> None:
    """Check arguments from a config against a signature; see `build`.

    Raises:
        ConfigError: an unknown, missing, ill-typed or out-of-range argument, named `path.argument`.
    """
    known = parameters(function, path)
    for name, value in arguments.items():
        option = f"{path}.{name}"
        if name not in known or name in given:
            raise ConfigError(option, f"no such option; {nearest(name, set(known) - set(given))}")
        if value == "???":
            raise ConfigError(option, "must be given")
        complaint = mismatch(value, known[name].type) or known[name].info.complaint(value)
        if complaint:
            raise ConfigError(option, complaint)
    for name, parameter in known.items():
        if parameter.default is REQUIRED and name not in arguments and name not in given:
            raise ConfigError(f"{path}.{name}", "must be given")
