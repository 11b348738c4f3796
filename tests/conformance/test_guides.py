"""The guides: their examples run and conform, and their tables are those of the program."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from memristor_plugins import registry
from memristor_plugins.api import PLUGIN_API, Site
from memristor_plugins.interfaces.contracts import CONTRACTS
from memristor_plugins.testing import checks_of

GUIDES = Path(__file__).parents[2] / "docs" / "plugins"
each = pytest.mark.parametrize("group", registry.GROUPS)


def text(group: str) -> str:
    return (GUIDES / f"{group}.md").read_text(encoding="utf-8")


def blocks(group: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", text(group), re.DOTALL | re.MULTILINE)


@each
def test_the_example_runs_and_conforms(group: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = blocks(group)
    assert len(found) == 2
    assert "check_plugin(" in found[-1]
    # As a module, which pickle needs; the last block is the reader's own test.
    path = tmp_path / f"guide_{group}.py"
    path.write_text("\n\n".join(found), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    module: Any = __import__(path.stem)
    plugins = [v for v in vars(module).values() if isinstance(v, type) and v.__module__ == path.stem]
    (plugin,) = [p for p in plugins if issubclass(p, CONTRACTS[group])]
    assert plugin.requires_api == PLUGIN_API


@each
def test_the_guide_lists_every_check_of_its_group(group: str) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", text(group).partition("## Checks")[2], re.MULTILINE)
    assert rows == [(c.name, c.about) for c in checks_of(group)]


@each
def test_the_guide_names_every_method_that_must_be_written(group: str) -> None:
    contract: Any = CONTRACTS[group]
    missing = [name for name in contract.__abstractmethods__ if f"{name}(" not in text(group)]
    assert not missing


def test_every_site_and_trait_is_in_the_guide() -> None:
    guide = text("nonideality")
    assert not [site.name for site in Site if f"`{site.name}`" not in guide]
    for trait in ("linear", "static", "per_tile", "needs_range", "neutral", "uses"):
        assert f"| `{trait}` |" in guide


def test_links_and_files_that_the_guides_name_are_there() -> None:
    root = GUIDES.parents[1]
    for path in GUIDES.glob("*.md"):
        content = path.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([\w./-]+\.md)", content):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"
        for file in re.findall(r"`(memristor_plugins/[\w/]+\.py)`", content):
            assert (root / file).exists(), f"{path.name} names {file}"


def test_the_pages_build(tmp_path: Path) -> None:
    pytest.importorskip("pdoc")
    import importlib.util

    spec = importlib.util.spec_from_file_location("docs_build", GUIDES.parent / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pages = module.build(tmp_path)
    names = {p.relative_to(tmp_path).as_posix() for p in pages}
    assert {
        "index.html",
        "device.html",
        "api/memristor_plugins/api.html",
        "api/memristor_plugins/testing.html",
    } <= names
    written = (tmp_path / "api/memristor_plugins/api.html").read_text(encoding="utf-8")
    from memristor_plugins import api

    assert not [name for name in api.__all__ if f'id="{name}"' not in written]
    for page in pages[:6]:
        html = page.read_text(encoding="utf-8")
        for target in re.findall(r'href="([^"#:]+)', html):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
