"""Discovery of plugins from entry-point metadata. Imports no torch, no Hydra and no plugin.

A plugin is an entry point in one of five groups; its distribution's metadata is all that is read to list it. The first
line of its docstring, and the version of the contracts that it requires, are read from source with `ast`.

A name of a built-in plugin is that plugin, whatever else is installed. Any other name that two distributions claim
is neither's: choosing it is an error that names both.
"""

from __future__ import annotations

import ast
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution, EntryPoint, distributions
from pathlib import Path
from typing import Any

from memristor_plugins.errors import PluginError, nearest
from memristor_plugins.versioning import api_complaint

OWN = "memristor-plugins"
# A plugin distribution names the package that holds its own `conf/` here: `acme = "acme_devices.conf"`.
CONFIG_GROUP = "memristor_plugins.conf"
# Seconds after which the import of somebody's plugin is worth a word.
SLOW = 10.0


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
    """One entry point, described without importing it.

    Args:
        group: such as `device`.
        name: the option.
        entry_point: its metadata.
        rivals: other distributions' entry points of the same group and name.
    """

    group: str
    name: str
    entry_point: EntryPoint
    rivals: tuple[EntryPoint, ...] = ()

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
        return _identity(self.entry_point.dist)[0]

    @property
    def version(self) -> str:
        """Version of that distribution."""
        return _identity(self.entry_point.dist)[1]

    @property
    def builtin(self) -> bool:
        """The plugin belongs to this package."""
        return self.distribution == OWN

    @property
    def package(self) -> str:
        """Where the option lives in the config, such as `nonidealities.adc`."""
        return GROUPS[self.group].package.format(name=self.name)

    @property
    def label(self) -> str:
        """How errors name it: `device=acme (acme.cells:Cell from acme-devices 1.2)`."""
        return f"{self.group}={self.name} ({self.target} from {self.distribution} {self.version})"

    @cached_property
    def _source(self) -> _Source:
        return _read_source(self.entry_point.module, self.entry_point.attr)

    @property
    def summary(self) -> str:
        """First line of the class docstring, read from source; empty where there is none to read."""
        return self._source.summary

    @property
    def requires_api(self) -> int | None:
        """Version of the contracts that its class states (`requires_api = 1`), read from source; None: none to read."""
        return self._source.requires_api

    @property
    def problem(self) -> str | None:
        """Why choosing it is refused, as far as that can be told without importing it; None where it is not."""
        if self.rivals and not self.builtin:
            others = " and ".join(
                f"{name} {version}" for name, version in map(_identity, (e.dist for e in self.rivals))
            )
            return (
                f"{self.group}={self.name} is claimed by {self.distribution} {self.version} and {others}; "
                "uninstall all but one of them"
            )
        complaint = api_complaint(self.requires_api)
        return complaint and f"{self.label} {complaint}"

    def load(self) -> Any:
        """Import the plugin and return its class or factory.

        Raises:
            PluginError: the name is claimed twice, the plugin needs another version of the contracts, or its import
                failed; one line with distribution, version and target.
        """
        if problem := self.problem:
            raise PluginError(problem)
        try:
            with _patience(self):
                loaded = self.entry_point.load()
        # A module may also call `sys.exit`, and that must not end a command that only asked for its plugin.
        except (Exception, SystemExit) as error:
            reason = " ".join(str(error).split()) or "no message"
            raise PluginError(
                f"{self.group}={self.name}: {self.target} from {self.distribution} {self.version} "
                f"does not import: {type(error).__name__}: {reason}"
            ) from error
        # Where the source did not say: an inherited attribute, a compiled module.
        complaint = api_complaint(getattr(loaded, "requires_api", None))
        if complaint:
            raise PluginError(f"{self.label} {complaint}")
        return loaded


@contextmanager
def _patience(plugin: Plugin) -> Iterator[None]:
    """Tell whose import a user is waiting for, once it takes long."""
    if plugin.builtin:
        yield
        return
    note = f"note: still importing {plugin.label}, after {SLOW:g} s"
    timer = threading.Timer(SLOW, lambda: print(note, file=sys.stderr, flush=True))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@cache
def _identity(dist: Distribution | None) -> tuple[str, str]:
    """Name and version of a distribution. Each look at them parses its metadata, long description and all."""
    return ("unknown", "unknown") if dist is None else (dist.name, dist.version)


@cache
def _entries() -> dict[str, list[EntryPoint]]:
    """Entry points of this package's groups, by group: one look at the metadata of all distributions.

    As `importlib.metadata.entry_points`, which would look at all of them again for each group.
    """
    wanted = {group.entry_points for group in GROUPS.values()} | {CONFIG_GROUP}
    found: dict[str, list[EntryPoint]] = {group: [] for group in wanted}
    seen: set[str] = set()
    for dist in distributions():
        # Most distributions say nothing here, and need not be parsed.
        if "memristor_plugins." not in (dist.read_text("entry_points.txt") or ""):
            continue
        # The first on the import path hides a second copy, as for modules.
        name = getattr(dist, "_normalized_name", None) or dist.name
        if name not in seen:
            seen.add(name)
            for entry in dist.entry_points:
                if entry.group in wanted:
                    found[entry.group].append(entry)
    return found


@cache
def _all() -> dict[str, dict[str, Plugin]]:
    found: dict[str, dict[str, Plugin]] = {name: {} for name in GROUPS}
    for name, group in GROUPS.items():
        claims: dict[str, list[EntryPoint]] = {}
        for entry in _entries()[group.entry_points]:
            claims.setdefault(entry.name, []).append(entry)
        for option, entries in claims.items():
            # Built-in first, else in the order of the import path.
            first, *rivals = sorted(entries, key=lambda e: len(entries) > 1 and _identity(e.dist)[0] != OWN)
            found[name][option] = Plugin(name, option, first, tuple(rivals))
    return found


def config_packages() -> list[EntryPoint]:
    """Packages of distributions' own `conf/`, sorted by name."""
    return sorted(_entries()[CONFIG_GROUP], key=lambda e: e.name)


@cache
def config_folders() -> tuple[tuple[str, str], ...]:
    """(name, path) of these packages as Hydra takes them: folders where there are any, and no import."""
    found: list[tuple[str, str]] = []
    for entry in config_packages():
        # As a folder where there is one: `pkg://` would import the package for every composition.
        spec = locate(entry.value)
        folders = [] if spec is None else list(spec.submodule_search_locations or ())
        found += [(entry.name, path) for path in [f"file://{f}" for f in folders] or [f"pkg://{entry.value}"]]
    return tuple(found)


def refresh() -> None:
    """Forget what was discovered, so that distributions installed since are seen."""
    _entries.cache_clear()
    _identity.cache_clear()
    _all.cache_clear()
    config_folders.cache_clear()


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


@dataclass(frozen=True)
class _Source:
    """What a plugin's source says of it."""

    summary: str = ""
    requires_api: int | None = None


def _read_source(module: str, attribute: str, hops: int = 3) -> _Source:
    spec = locate(module)
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return _Source()
    try:
        tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    except (SyntaxError, ValueError, OSError):
        return _Source()
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == attribute:
            doc = ast.get_docstring(node) or ""
            inside = node.body if isinstance(node, ast.ClassDef) else tree.body
            name = "requires_api" if isinstance(node, ast.ClassDef) else f"{attribute}.requires_api"
            return _Source(doc.strip().partition("\n")[0], _assigned(inside, name))
        if isinstance(node, ast.ImportFrom) and hops:
            # A package re-exports what its private modules define.
            original = next((a.name for a in node.names if (a.asname or a.name) == attribute), None)
            if original:
                package = module.split(".") if spec.submodule_search_locations else module.split(".")[:-1]
                base = package[: len(package) - node.level + 1] if node.level else []
                return _read_source(".".join([*base, *filter(None, [node.module])]), original, hops - 1)
    return _Source()


def _assigned(body: list[ast.stmt], name: str) -> int | None:
    """The whole number that statements assign to a name; None where they do not."""
    for node in body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if any(ast.unparse(t) == name for t in targets) and isinstance(node, ast.Assign | ast.AnnAssign):
            value = node.value
            return value.value if isinstance(value, ast.Constant) and isinstance(value.value, int) else None
    return None
