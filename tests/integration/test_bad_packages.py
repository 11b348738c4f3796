"""Broken plugins of other distributions, really installed: listed, told in one line, and in nobody else's way."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from memristor_plugins import registry

if TYPE_CHECKING:
    from tests.integration.conftest import Environment
else:
    Environment = Any

GOOD = '''
from memristor_plugins.devices.ideal import Ideal

class Cell(Ideal):
    """A cell that is ideal, and somebody else's. Assumed."""
'''
# name of the distribution -> (option, file, what choosing it says)
BAD = {
    "acme-raises": (
        "raises",
        "raise RuntimeError('no licence\\n  found')\nclass Cell: ...\n",
        "device=raises: raises_module:Cell from acme-raises 1.0 does not import: RuntimeError: no licence found",
    ),
    "acme-newer": (
        "newer",
        "from memristor_plugins.api import NotThereYet\nclass Cell:\n    requires_api = 2\n",
        "device=newer (newer_module:Cell from acme-newer 1.0) needs plugin API 2, and this is 1: "
        "upgrade memristor-plugins",
    ),
    "acme-alien": (
        "alien",
        "class Cell:\n    '''A class of its own.'''\n",
        "device=alien (alien_module:Cell from acme-alien 1.0) is no subclass of memristor_plugins.api.Device",
    ),
    "acme-untyped": (
        "untyped",
        "from memristor_plugins.devices.ideal import Ideal\n"
        "class Cell(Ideal):\n    def __init__(self, g_max=1e-4): ...\n",
        "device=untyped (untyped_module:Cell from acme-untyped 1.0): its parameter 'g_max' has no type; "
        "a plugin's signature is its config",
    ),
    "acme-abstract": (
        "abstract",
        "from memristor_plugins.api import Device\nclass Cell(Device):\n    '''Half a device.'''\n",
        "device=abstract (abstract_module:Cell from acme-abstract 1.0) leaves conductance, current, fabricate, "
        "program, read_std of Device unimplemented",
    ),
}
TWICE = "device=twice is claimed by acme-{} 1.0 and acme-{} 1.0; uninstall all but one of them"
SLOW = "import time\ntime.sleep(20)\n" + GOOD


def device(option: str) -> str:
    return f'[project.entry-points."memristor_plugins.devices"]\n{option} = "{option}_module:Cell"\n'


@pytest.fixture(scope="module")
def crowded(clean: Environment) -> Iterator[Environment]:
    """An environment with every kind of broken plugin, and a good one."""
    projects = [clean.package(n, device(option), {f"{option}_module.py": text}) for n, (option, text, _) in BAD.items()]
    projects += [clean.package("acme-good", device("good"), {"good_module.py": GOOD})]
    projects += [clean.package("acme-slow", device("slow"), {"slow_module.py": SLOW})]
    for name in ("first", "second"):
        entry = f'[project.entry-points."memristor_plugins.devices"]\ntwice = "{name}_module:Cell"\n'
        projects.append(clean.package(f"acme-{name}", entry, {f"{name}_module.py": GOOD}))
    entry = '[project.entry-points."memristor_plugins.devices"]\nideal = "usurper_module:Cell"\n'
    projects.append(clean.package("acme-usurper", entry, {"usurper_module.py": GOOD}))
    clean.install(*projects)
    return clean


THIRD = sorted([option for option, _, _ in BAD.values()] + ["good", "slow", "twice"])


def test_list_is_complete_and_instant(crowded: Environment) -> None:
    start = time.perf_counter()
    done = crowded.memristor("plugins", "list", "device")
    seconds = time.perf_counter() - start
    assert (done.returncode, done.stderr) == (0, "")
    # Far from the 20 s of the slow import: nothing was imported.
    assert seconds < 10
    names = {line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ") and line.strip()}
    assert set(THIRD) | set(registry.names("device")) <= names
    assert "device=twice is claimed by acme-" in done.stdout
    assert "! also claimed by acme-usurper 1.0, in vain" in done.stdout
    assert "needs plugin API 2" in done.stdout
    assert "2 refused (memristor plugins doctor)" in " ".join(done.stdout.split())


def test_list_as_json_tells_what_is_refused(crowded: Environment) -> None:
    found = {p["name"]: p for p in json.loads(crowded.memristor("plugins", "list", "device", "--json").stdout)}
    assert {n for n, p in found.items() if p["problem"]} == {"newer", "twice"}
    assert {n for n, p in found.items() if p["also"]} == {"twice", "ideal"}
    assert found["good"]["summary"] == "A cell that is ideal, and somebody else's. Assumed."


@pytest.mark.parametrize("name", BAD)
def test_choosing_a_bad_one_is_one_line(crowded: Environment, name: str) -> None:
    option, _, line = BAD[name]
    done = crowded.memristor("train", f"device={option}")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {line}\n"
    assert not (crowded.folder / "outputs").exists()


def test_choosing_a_name_that_is_claimed_twice_is_one_line(crowded: Environment) -> None:
    done = crowded.memristor("train", "device=twice")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.strip() in {
        "error: " + TWICE.format(a, b) for a, b in (("first", "second"), ("second", "first"))
    }


def test_everybody_elses_runs_are_untouched(crowded: Environment) -> None:
    done = crowded.memristor("train", "device=good", "device.g_max=3e-5", "--cfg", "job")
    assert (done.returncode, done.stderr) == (0, "")
    assert "_target_: good_module.Cell" in done.stdout
    # The built-in name is the built-in plugin, though another distribution claims it.
    done = crowded.memristor("train", "device=ideal", "--cfg", "job", "--package", "device")
    assert (done.returncode, done.stderr) == (0, "")
    assert "_target_: memristor_plugins.devices.ideal.Ideal" in done.stdout


@pytest.mark.slow
def test_a_slow_one_says_whose_import_is_waited_for(crowded: Environment) -> None:
    done = crowded.memristor("plugins", "show", "device/slow")
    assert done.returncode == 0
    assert done.stderr.startswith("note: still importing device=slow (slow_module:Cell from acme-slow 1.0), after ")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_the_doctor_finds_each_of_them(crowded: Environment) -> None:
    done = crowded.memristor("plugins", "doctor", "--json")
    assert (done.returncode, done.stderr) == (1, "")
    found = {(f["kind"], f["subject"]) for f in json.loads(done.stdout)}
    assert found == {
        ("import", "device/raises"),
        ("version", "device/newer"),
        ("contract", "device/alien"),
        ("contract", "device/untyped"),
        ("contract", "device/abstract"),
        ("slow", "device/slow"),
        ("duplicate", "device/twice"),
        ("shadowed", "device/ideal"),
    }


@pytest.mark.parametrize("subcommand", ["check", "show"])
def test_other_commands_tell_it_in_the_same_line(crowded: Environment, subcommand: str) -> None:
    done = crowded.memristor("plugins", subcommand, "device/raises")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {BAD['acme-raises'][2]}\n"
