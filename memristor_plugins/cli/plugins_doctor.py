"""`memristor plugins doctor`: what is wrong with the installed plugins, without running any of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Literal

from memristor_plugins import registry
from memristor_plugins.cli.tables import MARKS, console, count, title
from memristor_plugins.registry import GROUPS, Plugin

# An import that takes longer is told; one that takes longer still is given up.
SLOW, LONGEST = 5.0, 60.0
# `./conf` comes last on the search path, and hides nothing.
HERE = "the working directory"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Args:
        kind: `duplicate`, `shadowed`, `version`, `import`, `slow`, `contract`, `unreachable`.
        severity: an `error` refuses the plugin; a `warning` leaves it usable.
        subject: `GROUP/NAME` or the name of a file or entry point.
        message: what is wrong, and what would be right.
    """

    kind: str
    severity: Literal["error", "warning"]
    subject: str
    message: str


def doctor(*, as_json: bool) -> int:
    """Look at everything that is installed; returns 0 where nothing is wrong, else 1.

    Third-party plugins are imported, each in a process of its own, so that none can disturb another.
    """
    third = [p for p in registry.plugins() if not p.builtin]
    findings = [*_names(), *_files(), *_config_packages(), *_imports(third)]
    if as_json:
        print(json.dumps([asdict(f) for f in findings], indent=2, ensure_ascii=False))
    else:
        _print(findings, third)
    return 1 if findings else 0


def _names() -> Iterator[Finding]:
    """Names that are claimed twice, versions that do not fit, and options that cannot be typed."""
    for plugin in registry.plugins():
        for rival in plugin.rivals:
            other = f"{rival.dist.name} {rival.dist.version}" if rival.dist else "unknown"
            if plugin.builtin:
                text = f"{other} claims the name of a built-in plugin, which it cannot replace: another name is needed"
                yield Finding("shadowed", "warning", title(plugin), text)
        problem = plugin.problem
        if problem is not None:
            yield Finding("duplicate" if plugin.rivals else "version", "error", title(plugin), problem)
        if not plugin.name.replace("_", "a").isalnum() or plugin.name[:1].isdigit() or not plugin.name.isascii():
            text = f"'{plugin.name}' cannot be typed as an override; names are letters, digits and underscores"
            yield Finding("unreachable", "error", title(plugin), text)


def _folders() -> dict[Path, str]:
    """Config folders on the search path, with whose they are."""
    found: dict[Path, str] = {}
    for package, owner in [
        ("memristor_plugins.conf", registry.OWN),
        *((e.value, _owner(e)) for e in registry.config_packages()),
    ]:
        spec = registry.locate(package)
        for folder in [] if spec is None else spec.submodule_search_locations or []:
            found.setdefault(Path(folder).resolve(), owner)
    if os.path.isdir("conf"):
        # Last on the search path; within a checkout it is the package's own.
        found.setdefault(Path("conf").resolve(), HERE)
    return found


def _owner(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else entry.name


def _files() -> Iterator[Finding]:
    """Config files that hide plugins, or each other."""
    first: dict[tuple[str, str], str] = {}
    for folder, owner in _folders().items():
        for path in sorted(folder.glob("**/*.yaml")):
            group = path.parent.relative_to(folder).as_posix()
            name = f"{group}/{path.stem}" if group != "." else path.stem
            if group in GROUPS and path.stem in registry.names(group):
                plugin = registry.find(group, path.stem)
                text = f"{path} hides the plugin of {plugin.distribution}: give the preset a name of its own"
                if owner == HERE:
                    text = f"{path} is hidden by the plugin of {plugin.distribution}: give it a name of its own"
                yield Finding("shadowed", "warning", name, text)
            elif (group, path.stem) in first:
                text = f"{path} of {owner} is hidden by the one of {first[group, path.stem]}"
                yield Finding("shadowed", "warning", name, text)
            first.setdefault((group, path.stem), owner)


def _config_packages() -> Iterator[Finding]:
    """Config folders that are not there."""
    for entry in registry.config_packages():
        spec = registry.locate(entry.value)
        if spec is None or not spec.submodule_search_locations:
            text = f"{_owner(entry)} names {entry.value} as its configs, which is no installed package"
            yield Finding("unreachable", "error", entry.name, text)


PROBE = """\
import sys, time
start = time.perf_counter()
import torch
from memristor_plugins import registry
from memristor_plugins.errors import MemristorError
from memristor_plugins.hydra_integration import option
begun = time.perf_counter()
plugin = registry.find(*sys.argv[1:])
try:
    plugin.load()
    took = time.perf_counter() - begun
    option(plugin)
except MemristorError as error:
    print("problem", error)
else:
    print("took", took)
"""


def _imports(plugins: list[Plugin]) -> Iterator[Finding]:
    """What only an import shows: that it fails, that it is slow, that the class is none of its group."""
    for plugin in plugins:
        if plugin.problem is not None:
            continue
        command = [sys.executable, "-c", PROBE, plugin.group, plugin.name]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, check=False)
        except subprocess.TimeoutExpired:
            text = f"{plugin.label}: its import did not end within {LONGEST:g} s"
            yield Finding("slow", "error", title(plugin), text)
            continue
        kind, _, rest = (done.stdout.strip().splitlines() or [""])[-1].partition(" ")
        if kind == "problem":
            found = "import" if "does not import" in rest else "contract"
            yield Finding(found, "error", title(plugin), rest)
        elif kind != "took":
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            yield Finding("import", "error", title(plugin), f"{plugin.label} ends the program on import: {last}")
        elif float(rest) > SLOW:
            text = f"{plugin.label} takes {float(rest):.0f} s to import; every run that chooses it waits"
            yield Finding("slow", "warning", title(plugin), text)


def _print(findings: list[Finding], third: list[Plugin]) -> None:
    from rich.table import Table
    from rich.text import Text

    out = console()
    if findings:
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(ratio=1)
        for f in findings:
            mark, style = MARKS["failed" if f.severity == "error" else "note"]
            table.add_row(Text(mark, style), Text(f.kind), Text(f.subject, "bold").append(f"\n{f.message}", "not bold"))
        out.print(table)
        out.print()
    every = len(list(registry.plugins()))
    looked = f"{count(every, 'plugin')}, {len(third)} of other distributions"
    wrong = count(len(findings), "problem") if findings else "nothing wrong"
    out.print(f"{looked}: {wrong}")
