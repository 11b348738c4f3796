"""Entry points as Hydra config options, and plugins' own `conf/` folders on the search path.

`register()` runs before any composition. Choosing an option imports that one plugin; listing imports none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.errors import ConfigCompositionException
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf

from memristor_plugins import registry
from memristor_plugins.errors import PluginError
from memristor_plugins.signature import parameters

# A user's own presets and experiments, in the folder where a command is run; last, so that they hide nothing.
OWN_CONF = "conf"

_names_only = False


class EntryPointConfigSource(ConfigSource):
    """`entrypoints://`: one config option for each registered plugin, typed from its signature."""

    @staticmethod
    def scheme() -> str:
        return "entrypoints"

    def available(self) -> bool:
        return True

    def is_group(self, config_path: str) -> bool:
        return config_path.rstrip("/") in ("", *registry.GROUPS)

    def is_config(self, config_path: str) -> bool:
        group, _, name = config_path.removesuffix(".yaml").rpartition("/")
        return group in registry.GROUPS and name in registry.names(group)

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        path = config_path.rstrip("/")
        if path == "":
            return [] if results_filter == ObjectType.CONFIG else sorted(registry.GROUPS)
        if path in registry.GROUPS and results_filter != ObjectType.GROUP:
            return registry.names(path)
        return []

    def load_config(self, config_path: str) -> ConfigResult:
        group, _, name = config_path.removesuffix(".yaml").rpartition("/")
        plugin = registry.find(group, name)
        try:
            node = OmegaConf.create() if _names_only else option(plugin)
        except PluginError as error:
            raise ConfigCompositionException(str(error)) from error
        return ConfigResult(
            provider=self.provider,
            path=f"{self.scheme()}://{self.path}",
            config=node,
            header={"package": plugin.package},
        )


def option(plugin: registry.Plugin) -> DictConfig:
    """The typed config node of a plugin: its target and every default of its signature."""
    from hydra_zen import builds

    from memristor_plugins.interfaces.contracts import breach

    target, label = plugin.load(), plugin.label
    if broken := breach(target, plugin.group):
        raise PluginError(f"{label} {broken}")
    parameters(target, label)
    try:
        node: Any = OmegaConf.structured(builds(target, populate_full_signature=True, hydra_convert="all"))
    except Exception as error:  # a type or a default that no config can hold
        reason = " ".join(str(error).split())
        raise PluginError(f"{label}: its signature makes no config: {reason}") from error
    # hydra-zen writes the defining module; an entry point may re-export, and `build` admits registered ones.
    node._target_ = plugin.dotted
    return node  # type: ignore[no-any-return]


class PluginSearchPath(SearchPathPlugin):
    """The search path: the package's own conf, plugins' conf folders, the entry points, a user's `./conf`."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for name, path in registry.config_folders():
            search_path.append(f"plugin:{name}", path)
        search_path.append("memristor-plugins", "entrypoints://")
        if os.path.isdir(OWN_CONF):
            search_path.append("working-directory", f"file://{os.path.abspath(OWN_CONF)}")


@contextmanager
def names_only() -> Iterator[None]:
    """Options compose as empty nodes meanwhile, without an import: all that completing a name needs."""
    global _names_only
    _names_only = True
    try:
        yield
    finally:
        _names_only = False


@cache
def register() -> None:
    """Make Hydra know the entry points. Once a process; further calls do nothing."""
    Plugins.instance().register(EntryPointConfigSource)
    Plugins.instance().register(PluginSearchPath)
