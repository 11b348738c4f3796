"""Discovery: from metadata and source alone, with errors that name the distribution."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from memristor_plugins import registry
from memristor_plugins.errors import PluginError

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Put a distribution on the import path: its entry points, and its files by name."""
    imported = set(sys.modules)

    def write(name: str, entry_points: str, files: dict[str, str], version: str = "1.2") -> None:
        folder = tmp_path / name
        info = folder / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(entry_points)
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        monkeypatch.syspath_prepend(str(folder))
        registry.refresh()

    yield write
    monkeypatch.undo()
    registry.refresh()
    for module in set(sys.modules) - imported:
        del sys.modules[module]


DEVICE = "[memristor_plugins.devices]\n"


def test_built_in_plugins_are_found_in_order() -> None:
    found = [(p.group, p.name) for p in registry.plugins()]
    assert [g for g, _ in found] == sorted((g for g, _ in found), key=list(registry.GROUPS).index)
    assert [n for g, n in found if g == "nonideality"] == registry.names("nonideality")
    adc = registry.find("nonideality", "adc")
    assert adc.package == "nonidealities.adc"
    assert adc.dotted == "memristor_plugins.nonidealities.adc.ADC"
    assert adc.summary.startswith("Analog-to-digital converters")
    assert all(p.summary for p in registry.plugins())


@pytest.mark.parametrize(
    ("group", "name", "message"),
    [("device", "adaptive2d", "did you mean 'adaptive_2d'"), ("devcie", "ideal", "did you mean 'device'")],
)
def test_an_unknown_name_tells_the_nearest(group: str, name: str, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        registry.find(group, name)


def test_a_distribution_is_listed_without_its_import(install: Install) -> None:
    module = 'raise RuntimeError("imported")\nclass Cell:\n    """A cell.\n\n    More."""\n'
    install(
        "acme_devices",
        DEVICE + "acme = acme_devices.cells:Cell\n",
        {"acme_devices/cells.py": module, "acme_devices/__init__.py": ""},
    )
    plugin = registry.find("device", "acme")
    assert (plugin.distribution, plugin.version, plugin.summary) == ("acme_devices", "1.2", "A cell.")
    assert not any(m.startswith("acme_devices") for m in sys.modules)


def test_the_summary_follows_a_re_export(install: Install) -> None:
    files = {
        "acme/__init__.py": "from ._cell import _Cell as Cell\nfrom acme.sub import factory\n",
        "acme/_cell.py": 'class _Cell:\n    """Private cell."""\n',
        "acme/sub/__init__.py": "from .._cell import _Cell\nfrom .deep import factory\n",
        "acme/sub/deep.py": 'def factory():\n    """Made on demand."""\n',
    }
    install("acme", DEVICE + "cell = acme:Cell\nmade = acme:factory\n", files)
    assert registry.find("device", "cell").summary == "Private cell."
    assert registry.find("device", "made").summary == "Made on demand."
    assert "acme" not in sys.modules


@pytest.mark.parametrize("module", ["def broken(:\n", "from acme import Cell\n", "Cell = 3\n", "class Cell: ...\n"])
def test_no_readable_docstring_is_no_summary(install: Install, module: str) -> None:
    install("acme", DEVICE + "a = acme:Cell\nb = nowhere.at_all:Cell\nc = math.sub:Cell\n", {"acme.py": module})
    assert [registry.find("device", name).summary for name in "abc"] == ["", "", ""]


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("import no_such_module_anywhere", "ModuleNotFoundError: No module named 'no_such_module_anywhere'"),
        ("raise ValueError('two\\n  lines')", "ValueError: two lines"),
        ("raise SystemExit", "SystemExit: no message"),
        ("x = 1", "AttributeError: module 'acme_broken' has no attribute 'Cell'"),
    ],
)
def test_a_plugin_that_fails_to_import_is_one_line(install: Install, module: str, reason: str) -> None:
    install("acme_broken", DEVICE + "acme = acme_broken:Cell\n", {"acme_broken.py": module + "\n"}, "0.3")
    with pytest.raises(PluginError) as caught:
        registry.find("device", "acme").load()
    head = "device=acme: acme_broken:Cell from acme_broken 0.3 does not import: "
    assert str(caught.value) == head + reason


def test_a_name_that_two_distributions_claim_is_neithers(install: Install) -> None:
    install("behind", DEVICE + "twice = behind:Cell\n", {"behind.py": ""})
    install("before", DEVICE + "twice = before:Cell\n", {"before.py": "raise RuntimeError('imported')"})
    with pytest.raises(PluginError) as caught:
        registry.find("device", "twice").load()
    line = "device=twice is claimed by before 1.2 and behind 1.2; uninstall all but one of them"
    assert str(caught.value) == line


def test_a_built_in_name_is_the_built_in_plugin(install: Install) -> None:
    install("acme", DEVICE + "ideal = acme:Cell\n", {"acme.py": "raise RuntimeError('imported')"})
    plugin = registry.find("device", "ideal")
    assert plugin.builtin
    assert [e.value for e in plugin.rivals] == ["acme:Cell"]
    assert plugin.load().__name__ == "Ideal"


def test_a_second_copy_of_a_distribution_is_hidden_by_the_first(install: Install) -> None:
    install("acme", DEVICE + "cell = acme:Cell\n", {"acme.py": "class Cell: ..."}, "1.0")
    copy = "acme-1.1.dist-info"
    install(
        "other",
        "",
        {f"{copy}/METADATA": "Name: acme\nVersion: 1.1\n", f"{copy}/entry_points.txt": DEVICE + "cell=b:C\n"},
    )
    assert registry.find("device", "cell").version == "1.1"
    assert registry.find("device", "cell").rivals == ()


NEWER = "needs plugin API 2, and this is 1: upgrade memristor-plugins"


@pytest.mark.parametrize(
    ("module", "problem"),
    [
        ("class Cell:\n    requires_api = 2\nraise RuntimeError('imported')", NEWER),
        ("from typing import ClassVar\nclass Cell:\n    requires_api: ClassVar[int] = 2\nimport nowhere", NEWER),
        ("def Cell(): ...\nCell.requires_api = 2\nraise RuntimeError('imported')", NEWER),
        # Only the import tells.
        ("class Base:\n    requires_api = 2\nclass Cell(Base): ...", NEWER),
        ("class Cell:\n    requires_api = 0", "requires_api must be a whole number >= 1, got 0"),
        ("class Cell:\n    requires_api = '1'", "requires_api must be a whole number >= 1, got '1'"),
    ],
)
def test_a_plugin_for_other_contracts_is_refused(install: Install, module: str, problem: str) -> None:
    install("acme", DEVICE + "cell = acme:Cell\n", {"acme.py": module + "\n"})
    with pytest.raises(PluginError) as caught:
        registry.find("device", "cell").load()
    assert str(caught.value) == f"device=cell (acme:Cell from acme 1.2) {problem}"


def test_a_plugin_for_these_contracts_loads(install: Install) -> None:
    install("acme", DEVICE + "cell = acme:Cell\n", {"acme.py": "class Cell:\n    requires_api = 1\n"})
    assert registry.find("device", "cell").requires_api == 1
    assert registry.find("device", "cell").load().__name__ == "Cell"


def test_a_slow_import_is_told_while_it_lasts(
    install: Install, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(registry, "SLOW", 0.05)
    install("acme", DEVICE + "cell = acme:Cell\n", {"acme.py": "import time\ntime.sleep(0.5)\nclass Cell: ...\n"})
    registry.find("device", "cell").load()
    assert capfd.readouterr().err == "note: still importing device=cell (acme:Cell from acme 1.2), after 0.05 s\n"


def test_modules_are_located_without_an_import(install: Install) -> None:
    install("acme", "", {"acme/__init__.py": "raise RuntimeError", "acme/conf/__init__.py": "", "space/x.py": ""})
    spec = registry.locate("acme.conf")
    assert spec is not None
    assert spec.submodule_search_locations
    assert registry.locate("space") is not None
    assert registry.locate("acme.conf.nothing") is None
    # A built-in configs package is mapped to a folder of another name by the editable install.
    assert registry.locate("memristor_plugins.conf") is not None
    assert "acme" not in sys.modules
