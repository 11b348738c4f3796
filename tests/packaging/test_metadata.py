"""What pyproject.toml promises is what lies on disk."""

from __future__ import annotations

import importlib
import inspect
import tomllib
from pathlib import Path
from typing import Any

import pytest

from memristor_plugins import __version__, registry
from memristor_plugins.build import CONTRACTS
from memristor_plugins.signature import REQUIRED, mismatch, parameters

ROOT = Path(__file__).parents[2]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = PYPROJECT["tool"]["setuptools"]
ENTRY_POINTS = [
    (group, name, target)
    for group in registry.GROUPS.values()
    for name, target in PYPROJECT["project"]["entry-points"][group.entry_points].items()
]


def subpackages() -> set[str]:
    found = set()
    for package, folder in SETUPTOOLS["package-dir"].items():
        top = ROOT / folder
        for init in top.rglob("__init__.py"):
            found.add(".".join([package, *init.parent.relative_to(top).parts]))
    return found


def test_every_subpackage_on_disk_is_packaged() -> None:
    assert subpackages() == set(SETUPTOOLS["packages"])


def test_every_module_lies_in_a_package() -> None:
    for folder in SETUPTOOLS["package-dir"].values():
        for module in (ROOT / folder).rglob("*.py"):
            assert (module.parent / "__init__.py").exists(), f"{module.parent} has no __init__.py"


def test_the_version_is_one() -> None:
    assert PYPROJECT["project"]["version"] == __version__


def test_what_is_installed_is_what_is_declared() -> None:
    own = [p for p in registry.plugins() if p.distribution == PYPROJECT["project"]["name"]]
    assert {(p.group, p.name, p.target) for p in own} == {(g.name, n, t) for g, n, t in ENTRY_POINTS}


# What only a user can say.
NO_DEFAULT = {("table", "file")}


@pytest.mark.parametrize(("group", "name", "target"), ENTRY_POINTS, ids=lambda x: x if isinstance(x, str) else x.name)
def test_every_entry_point_fulfils_its_contract(group: registry.Group, name: str, target: str) -> None:
    module, _, attribute = target.partition(":")
    plugin = getattr(importlib.import_module(module), attribute)
    assert issubclass(plugin, CONTRACTS[group.name])
    assert not inspect.isabstract(plugin)
    for parameter in parameters(plugin, name).values():
        assert parameter.info.about, f"{parameter.name} says nothing"
        assert parameter.info.source, f"{parameter.name} has no source"
        if (name, parameter.name) in NO_DEFAULT:
            continue
        assert parameter.default is not REQUIRED
        assert mismatch(parameter.default, parameter.type) is None
        assert parameter.info.complaint(parameter.default) is None


def test_no_preset_shadows_a_plugin() -> None:
    # The search path has YAML before entry points, and Hydra would not say which it took.
    names = {(group.name, name) for group, name, _ in ENTRY_POINTS}
    presets = {(path.parent.name, path.stem) for path in (ROOT / "conf").glob("*/*.yaml")}
    assert not names & presets
