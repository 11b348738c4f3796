"""Imports point one way: errors, interfaces, plugins, engine, models, command line."""

from __future__ import annotations

import ast
from pathlib import Path

import memristor_plugins

HERE = Path(memristor_plugins.__file__).parent
ROOTS = {"": HERE, "models": HERE.parent / "models", "datamodules": HERE.parent / "datamodules"}

PLUGINS = {"devices", "nonidealities", "mappings", "kernels", "energy"}
# What each room may import besides itself. Lazy imports inside functions count as well.
ALLOWED = {
    "errors": set(),
    "interfaces": {"errors"},
    "signature": {"errors", "interfaces"},
    "versioning": set(),
    "registry": {"errors", "versioning"},
    "wires": {"errors"},
    "units": {"errors"},
    "constants": set(),
    **{room: {"errors", "interfaces", "wires", "units", "constants"} for room in PLUGINS},
    "fitting": {"errors", "interfaces", "devices", "registry", "signature", "build", "compose", "units", "reporting"},
    "characterize": {"errors", "interfaces", "devices", "reporting"},
    "crossbar": {"errors", "interfaces", "wires"},
    "hydra_integration": {"errors", "registry", "signature", "interfaces"},
    "build": {"errors", "interfaces", "registry", "signature", "crossbar"},
    "compose": {"errors", "hydra_integration", "registry", "signature", "interfaces"},
    "api": {"errors", "interfaces", "crossbar", "build", "compose", "versioning"},
    "datamodules": {"errors"},
    # The VGG's first convolution is the static strategy, whatever the others are.
    "models": {"errors", "interfaces", "crossbar", "datamodules", "kernels"},
    "tracking": {"errors", "interfaces", "registry"},
    "reproduce": {"errors", "signature", "reporting", "conf"},
    "reporting": {"errors", "interfaces", "energy"},
}


def files() -> list[tuple[str, Path]]:
    found = [(p.relative_to(HERE).parts[0].removesuffix(".py"), p) for p in HERE.rglob("*.py")]
    for room in ("models", "datamodules"):
        found += [(room, p) for p in ROOTS[room].rglob("*.py")]
    return found


def imported(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("memristor_plugins"):
            rest = node.module.split(".")[1:2]
            rooms |= set(rest) if rest else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            rooms |= {a.name.split(".")[1] for a in node.names if a.name.startswith("memristor_plugins.")}
    return rooms


def test_imports_point_one_way() -> None:
    wrong = []
    for room, path in files():
        if room in ("cli", "testing", "__init__"):
            continue
        beyond = imported(path) - {room} - ALLOWED[room]
        wrong += [f"{path.name} ({room}) imports {name}" for name in sorted(beyond)]
    assert not wrong, wrong


def test_there_are_files() -> None:
    assert {"interfaces", "crossbar", "models", "datamodules", "cli"} <= {room for room, _ in files()}
