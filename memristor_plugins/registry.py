"""Discovery of plugins from entry-point metadata. Imports no torch, no Hydra and no plugin.

A plugin is an entry point in one of five groups; its distribution's metadata is all that is read to list it,
and the first line of its docstring is read from source with `ast`.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from memristor_plugins.errors import PluginError, nearest


@dataclass(frozen=True)
class Group:
    """One kind of plugin.

    Args:
        name: Hydra config group, and the singular a user types (`device`).
        entry_points: entry-point group (`memristor_plugins.devices`).
        package: where a selected option lives in the config; `{name}` is the option.
        about: what its plugins answer.
    """

    name: str
    entry_points: str
    package: str
    about: str


GROUPS: dict[str, Group] = {
    g.name: g
    for g in (
        Group("device", "memristor_plugins.devices", "device", "what conductance a cell holds"),
        Group(
            "nonideality",
            "memristor_plugins.nonidealities",
            "nonidealities.{name}",
            "what array and periphery do to signals",
        ),
        Group("mapping", "memristor_plugins.mappings", "mapping", "how signed weights become conductances"),
        Group("kernel", "memristor_plugins.kernels", "kernel", "how a kernel depends on its input"),
        Group("energy", "memristor_plugins.energy", "energies.{name}", "what an inference costs"),
    )
}


@dataclass(frozen=True)
class Plugin:
    """One entry point, described without importing it."""

    group: str
    name: str
    entry_point: EntryPoint

    @property
    def target(self) -> str:
        """Import path, `package.module:Class`."""
        return self.entry_point.value

    @property
    def dotted(self) -> str:
        """The target as Hydra writes it, `package.module.Class`."""
        return self.entry_point.value.replace(":", ".")

    @property
    def distribution(self) -> str:
        """Name of the distribution that declares the plugin."""
        return self.entry_point.dist.name if self.entry_point.dist else "unknown"

    @property
    def version(self) -> str:
        """Version of that distribution."""
        return self.entry_point.dist.version if self.entry_point.dist else "unknown"

    @property
    def package(self) -> str:
        """Where the option lives in the config, such as `nonidealities.adc`."""
        return GROUPS[self.group].package.format(name=self.name)

    @cached_property
    def summary(self) -> str:
        """First line of the class docstring, read from source; empty where there is none to read."""
        return _summary(self.entry_point.module, self.entry_point.attr)

    def load(self) -> Any:
        """Import the plugin and return its class or factory.

        Raises:
            PluginError: the import failed; one line with distribution, version and target.
        """
        try:
            return self.entry_point.load()
        # A module may also call `sys.exit`, and that must not end a command that only asked for its plugin.
        except (Exception, SystemExit) as error:
            reason = " ".join(str(error).split()) or "no message"
            raise PluginError(
                f"{self.group}={self.name}: {self.target} from {self.distribution} {self.version} "
                f"does not import: {type(error).__name__}: {reason}"
            ) from error


@cache
def _all() -> dict[str, dict[str, Plugin]]:
    found: dict[str, dict[str, Plugin]] = {name: {} for name in GROUPS}
    for name, group in GROUPS.items():
        for entry in entry_points(group=group.entry_points):
            # The first on the import path wins, as for modules.
            found[name].setdefault(entry.name, Plugin(name, entry.name, entry))
    return found


def refresh() -> None:
    """Forget what was discovered, so that distributions installed since are seen."""
    _all.cache_clear()


def plugins(group: str | None = None) -> Iterator[Plugin]:
    """All plugins, or those of one group, sorted by group and name."""
    for name in GROUPS if group is None else (group,):
        yield from (plugin for _, plugin in sorted(_all()[name].items()))


def names(group: str) -> list[str]:
    """Sorted plugin names of one group."""
    return sorted(_all()[group])


def find(group: str, name: str) -> Plugin:
    """The plugin `name` of `group`.

    Raises:
        PluginError: no such group or name; names the nearest ones.
    """
    if group not in GROUPS:
        raise PluginError(f"no plugin group '{group}': {nearest(group, GROUPS)}")
    if name not in _all()[group]:
        raise PluginError(f"{group}={name}: no such {group}; {nearest(name, names(group))}")
    return _all()[group][name]


def locate(module: str) -> ModuleSpec | None:
    """The spec of a module, found without importing it or any of its parents; None where there is none."""
    parts = module.split(".")
    spec: ModuleSpec | None = None
    path: list[str] | None = None
    for i in range(len(parts)):
        spec = _find_spec(".".join(parts[: i + 1]), path)
        path = None if spec is None else spec.submodule_search_locations
        if path is None:
            return spec if i == len(parts) - 1 else None
    return spec


def _find_spec(name: str, path: list[str] | None) -> ModuleSpec | None:
    for finder in sys.meta_path:
        try:
            spec = finder.find_spec(name, path)
        # Finders of old lack the method; a namespace package asks for its parent, which is not imported.
        except (AttributeError, KeyError):
            continue
        if spec is not None:
            return spec
    return None


def _summary(module: str, attribute: str, hops: int = 3) -> str:
    spec = locate(module)
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return ""
    try:
        tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    except (SyntaxError, ValueError, OSError):
        return ""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == attribute:
            doc = ast.get_docstring(node) or ""
            return doc.strip().partition("\n")[0]
        if isinstance(node, ast.ImportFrom) and hops:
            # A package re-exports what its private modules define.
            original = next((a.name for a in node.names if (a.asname or a.name) == attribute), None)
            if original:
                package = module.split(".") if spec.submodule_search_locations else module.split(".")[:-1]
                base = package[: len(package) - node.level + 1] if node.level else []
                return _summary(".".join([*base, *filter(None, [node.module])]), original, hops - 1)
    return ""
