"""Plugins of other distributions, really installed, as options of a composition.

One process composes all the command lines below, in order, with third-party distributions on its path.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from memristor_plugins import registry
from memristor_plugins.api import compose_stack
from memristor_plugins.build import CONTRACTS, build
from memristor_plugins.compose import compose
from memristor_plugins.errors import ConfigError

GOOD = '''
from typing import Annotated, Literal
from memristor_plugins.api import Param
from memristor_plugins.devices.ideal import Ideal

class Cell(Ideal):
    """A third party's cell."""

    def __init__(
        self,
        *,
        g_max: Annotated[float, Param("highest", unit="S", gt=0)] = 5e-6,
        pair: tuple[float, float] = (0.25, 0.5),
        levels: list[int] = [1, 2],
        mode: Literal["slow", "fast"] = "slow",
        limit: float | None = None,
    ) -> None:
        super().__init__(g_max=g_max)
        self.pair, self.levels, self.mode, self.limit = pair, levels, mode, limit

def untyped(bits=3): ...
def keywords(**options: int): ...
def opaque(thing: object = object()): ...
def imposter(g_max: float = 1.0) -> dict: return {}
'''
BROKEN = 'import no_such_module\nclass Cell:\n    """Broken, but listed."""\n'

SCRIPT = """
import json, sys
from memristor_plugins.api import compose_stack
from memristor_plugins.errors import MemristorError
answers = []
for overrides in json.loads(sys.argv[1]):
    try:
        device = compose_stack(overrides).device
        answer = {k: str(v) for k, v in vars(device).items()}
    except MemristorError as error:
        answer = str(error)
    answers.append([answer, sorted(m for m in sys.modules if m.startswith(("acme", "broken")))])
print(json.dumps(answers))
"""

LINES: dict[str, list[str]] = {
    "built-in": ["device=ideal"],
    "preset": ["device=ideal", "stack=acme_preset"],
    "chosen": ["device=acme"],
    "settings": [
        "device=acme",
        "device.pair=[1,2]",
        "device.limit=3",
        "device.mode=fast",
        "device.levels=[]",
    ],
    "unknown": ["device=acme", "+device.foo=1"],
    "misspelt": ["device=acme", "device.levles=[1]"],
    "literal": ["device=acme", "device.mode=fsat"],
    "length": ["device=acme", "device.pair=[1,2,3]"],
    "item": ["device=acme", "device.levels=[1.5]"],
    "null": ["device=acme", "device.pair=null"],
    "range": ["device=acme", "device.g_max=-1"],
    "untyped": ["device=acme_untyped"],
    "keywords": ["device=acme_keywords"],
    "opaque": ["device=acme_opaque"],
    "imposter": ["device=acme_imposter"],
    "broken": ["device=acme_broken"],
    "after": ["device=acme"],
}


def distribution(folder: Path, name: str, version: str, entry_points: str, files: dict[str, str]) -> None:
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(entry_points)
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    (info / "RECORD").write_text("".join(f"{path},,\n" for path in files))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two installed distributions."""
    folder = tmp_path_factory.mktemp("site")
    names = "".join(f"acme_{n} = acme_devices:{n}\n" for n in ("untyped", "keywords", "opaque", "imposter"))
    distribution(
        folder,
        "acme-devices",
        "1.2",
        f"[memristor_plugins.devices]\nacme = acme_devices:Cell\n{names}"
        "[memristor_plugins.conf]\nacme = acme_devices.conf\n",
        {
            "acme_devices/__init__.py": GOOD,
            "acme_devices/conf/__init__.py": "",
            "acme_devices/conf/stack/acme_preset.yaml": "# @package _global_\ndevice:\n  read_voltage: 0.2\n",
        },
    )
    distribution(
        folder,
        "broken-devices",
        "0.3",
        "[memristor_plugins.devices]\nacme_broken = broken_devices:Cell\n",
        {"broken_devices.py": BROKEN},
    )
    return folder


def environment(site: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(site)}


@pytest.fixture(scope="module")
def answers(site: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, list[str]]]:
    """What each of LINES made of itself, and which third-party modules were imported after it."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(list(LINES.values()))],
        env=environment(site),
        cwd=tmp_path_factory.mktemp("cwd"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(LINES, json.loads(done.stdout), strict=True))


Answers = dict[str, tuple[Any, list[str]]]


def test_choosing_a_built_in_imports_no_third_party_code(answers: Answers) -> None:
    assert answers["built-in"][1] == []


def test_a_plugins_own_presets_are_found_without_its_import(answers: Answers) -> None:
    assert answers["preset"][0]["read_voltage"] == "0.2"
    assert answers["preset"][1] == []


def test_a_chosen_plugin_is_built_from_its_signature(answers: Answers) -> None:
    device, imported = answers["chosen"]
    assert device["g_max"] == "5e-06"
    assert device["levels"] == "[1, 2]"
    assert device["mode"] == "slow"
    assert device["limit"] == "None"
    assert imported == ["acme_devices"]


def test_typed_settings_reach_the_plugin(answers: Answers) -> None:
    device = answers["settings"][0]
    assert float(device["limit"]) == 3
    assert device["mode"] == "fast"
    assert device["levels"] == "[]"
    assert eval(device["pair"]) in ([1.0, 2.0], (1.0, 2.0))


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("unknown", "device.foo: no such option; valid: g_max, levels, limit, mode, pair"),
        ("misspelt", "device.levles: no such option of device=acme; did you mean 'levels'?"),
        ("literal", "device.mode: must be one of slow, fast, got 'fsat'; did you mean 'fast'?"),
        ("length", "device.pair: must have 2 items, got 3"),
        ("item", "device.levels[0]: Value '1.5' of type 'float' could not be converted to Integer"),
        ("null", "device.pair: must be a list, got 'null'"),
        ("range", "device.g_max: must be > 0 S, got -1"),
        (
            "untyped",
            "device=acme_untyped (acme_devices:untyped from acme-devices 1.2): "
            "its parameter 'bits' has no type; a plugin's signature is its config",
        ),
        (
            "keywords",
            "device=acme_keywords (acme_devices:keywords from acme-devices 1.2): "
            "its signature has **options; a plugin's signature is its config",
        ),
        ("imposter", "device: acme_devices.imposter makes a dict, which is not a Device"),
        (
            "broken",
            "device=acme_broken: broken_devices:Cell from broken-devices 0.3 does not import: "
            "ModuleNotFoundError: No module named 'no_such_module'",
        ),
    ],
)
def test_what_does_not_fit_is_one_line(answers: Answers, name: str, line: str) -> None:
    assert answers[name][0] == line


def test_a_default_that_no_config_can_hold_is_told(answers: Answers) -> None:
    line = answers["opaque"][0]
    assert line.startswith("device=acme_opaque (acme_devices:opaque from acme-devices 1.2): its signature makes no")
    assert "\n" not in line


def test_a_broken_plugin_breaks_only_the_run_that_chose_it(answers: Answers) -> None:
    assert answers["after"][0] == answers["chosen"][0]
    assert "broken_devices" not in answers["imposter"][1]


def test_third_party_plugins_are_listed_without_import(site: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from memristor_plugins.cli.main import main; main(sys.argv[1:]); "
         "assert not {'torch', 'hydra', 'acme_devices', 'broken_devices'} & set(sys.modules)",
         "plugins", "list", "--json", "device"],
        env=environment(site), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    found = {p["name"]: p for p in json.loads(done.stdout)}
    assert found["acme"]["summary"] == "A third party's cell."
    assert (found["acme_broken"]["distribution"], found["acme_broken"]["version"]) == (
        "broken-devices",
        "0.3",
    )


def test_the_command_line_tells_of_a_broken_plugin_in_one_line(site: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from memristor_plugins.cli.hydra_run import run; sys.exit(run('stack_only', print, sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "device=acme_broken"],
        env=environment(site), cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: device=acme_broken: broken_devices:Cell from broken-devices 0.3 does not import: "
        "ModuleNotFoundError: No module named 'no_such_module'\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("plugin", list(registry.plugins()), ids=lambda p: f"{p.group}-{p.name}")
def test_every_built_in_option_composes_and_is_built(plugin: registry.Plugin, tmp_path: Path) -> None:
    many = plugin.package != plugin.group
    chosen = [f"{plugin.group}=[{plugin.name}]" if many else f"{plugin.group}={plugin.name}"]
    if plugin.name == "table":
        table = tmp_path / "reads.csv"
        table.write_text("target_us,mean_us,std_us\n1,1.0,0.1\n20,19.5,0.4\n")
        chosen.append(f"device.file={table}")
    node = OmegaConf.select(compose("train", chosen), plugin.package)
    assert isinstance(build(node, plugin.package, plugin.group), CONTRACTS[plugin.group])


def test_the_order_of_nonidealities_does_not_matter() -> None:
    one = compose_stack(["nonideality=[dac,adc]", "nonidealities.adc.bits=6"])
    two = compose_stack(["nonideality=[adc,dac]", "nonidealities.adc.bits=6"])
    assert list(one.nonidealities) == list(two.nonidealities) == ["adc", "dac"]
    assert vars(one.nonidealities["adc"]).get("bits") == 6


def test_compose_stack_speaks_as_the_command_line_does() -> None:
    with pytest.raises(ConfigError, match=r"nonidealities.adc.bits: 'adc' is not selected"):
        compose_stack(["nonidealities.adc.bits=6"])
