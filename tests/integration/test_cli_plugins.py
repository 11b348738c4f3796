"""`memristor plugins` and the console script, in real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from memristor_plugins import __version__, registry

MEMRISTOR = [
    sys.executable,
    "-c",
    "import sys; from memristor_plugins.cli.main import main; sys.exit(main())",
]


def memristor(*arguments: str, columns: int = 80, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in ("FORCE_COLOR", "NO_COLOR")}
    environment.update({"COLUMNS": str(columns), **variables})
    return subprocess.run([*MEMRISTOR, *arguments], env=environment, capture_output=True, text=True, check=False)


def refusal(*arguments: str) -> str:
    done = memristor(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    return done.stderr.strip()


def test_list_imports_neither_torch_nor_hydra_nor_a_plugin() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *MEMRISTOR[1:], "plugins", "list"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "memristor_plugins.cli.plugins" in imported
    assert not {"torch", "hydra", "omegaconf", "numpy", "memristor_plugins.devices"} & imported


def test_list_answers_in_half_a_second() -> None:
    def seconds() -> float:
        start = time.perf_counter()
        assert memristor("plugins", "list").returncode == 0
        return time.perf_counter() - start

    # The best of several: other processes share the machine, and they only ever add.
    assert min(seconds() for _ in range(5)) < 0.5


def test_list_as_json() -> None:
    done = memristor("plugins", "list", "--json")
    found = json.loads(done.stdout)
    assert [(p["group"], p["name"]) for p in found] == [(p.group, p.name) for p in registry.plugins()]
    assert all(set(p) == {"group", "name", "distribution", "version", "summary"} for p in found)
    assert all(p["distribution"] == "memristor-plugins" and p["version"] and p["summary"] for p in found)
    only = json.loads(memristor("plugins", "list", "kernel", "--json").stdout)
    assert [p["name"] for p in only] == registry.names("kernel")


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("arguments", [("list",), ("show", "device/adaptive_2d"), ("show", "nonideality/adc")])
def test_tables_fit_the_terminal_and_are_plain_when_piped(columns: int, arguments: tuple[str, ...]) -> None:
    done = memristor("plugins", *arguments, columns=columns)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert max(len(line.rstrip()) for line in done.stdout.splitlines()) <= columns
    assert "…" not in done.stdout


def test_list_names_every_plugin_and_counts_them() -> None:
    out = memristor("plugins", "list").stdout
    found = list(registry.plugins())
    assert all(plugin.name in out for plugin in found)
    assert f"{len(found)} plugins in 5 groups from 1 distribution" in out


def test_show_tells_what_a_plugin_computes_and_its_parameters() -> None:
    out = memristor("plugins", "show", "nonideality/adc", columns=120).stdout
    assert "i -> step * round(clip((1 + gain_std n1) i + offset_std n2 step, low, high) / step)" in out
    line = next(line for line in out.splitlines() if line.startswith("bits"))
    assert line.split()[:6] == ["bits", "8", "bit", "int", ">=", "1,"]
    assert "memristor train nonideality=[adc] nonidealities.adc.PARAMETER=VALUE" in out


def test_show_as_json() -> None:
    shown = json.loads(memristor("plugins", "show", "--json", "nonideality/adc").stdout)
    assert shown["target"] == "memristor_plugins.nonidealities.adc:ADC"
    assert shown["package"] == "nonidealities.adc"
    bits = shown["parameters"][0]
    assert bits == {
        "name": "bits", "type": "int", "unit": "bit", "required": False, "default": 8,
        "range": {"ge": 1, "le": 16}, "source": bits["source"], "about": "resolution",
    }  # fmt: skip
    assert bits["source"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["trian"], "error: trian: no such command; did you mean 'train'?"),
        (
            ["model=vgg8"],
            "error: model=vgg8: no such command; an override stands after a command: memristor train model=vgg8",
        ),
        (["plugins", "lst"], "error: lst: no such command; did you mean 'list'?"),
        (["plugins", "list", "devices"], "error: devices: no such group; did you mean 'device'?"),
        (
            ["plugins", "show", "device/ideall"],
            "error: device/ideall: no such plugin; did you mean 'ideal'?",
        ),
        (["plugins", "show", "adc"], "error: adc: write GROUP/NAME; did you mean 'nonideality/adc'?"),
        (
            ["plugins", "show", "kernel/adc"],
            "error: kernel/adc: no such plugin; did you mean 'nonideality/adc'?",
        ),
    ],
)
def test_a_wrong_line_is_told_in_one(arguments: list[str], line: str) -> None:
    assert refusal(*arguments) == line


def test_help_and_version() -> None:
    assert memristor().stdout == memristor("--help").stdout
    assert all(name in memristor("--help").stdout for name in ("train", "evaluate", "plugins"))
    assert memristor("--version").stdout == f"memristor-plugins {__version__}\n"
    assert "list" in memristor("plugins", "--help").stdout


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("memristor ", "train evaluate energy characterize fit plugins"),
        ("memristor pl", "plugins"),
        ("memristor plugins show mapp", "mapping/bit_sliced mapping/differential mapping/offset"),
        ("memristor plugins list ", "device nonideality mapping kernel energy"),
        ("memristor nothing ", ""),
        ("memristor train device=ad", "device=adaptive_2d"),
        (
            "memristor evaluate kernel=static mapping=",
            "mapping=bit_sliced mapping=differential mapping=offset",
        ),
    ],
)
def test_completion_answers_without_importing_torch(line: str, answer: str) -> None:
    script = f"{MEMRISTOR[2].replace('sys.exit(main())', 'main()')}; assert 'torch' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", script, "-sc", "query=bash"],
        env={**os.environ, "COMP_LINE": line}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == answer


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    with subprocess.Popen(
        [*MEMRISTOR, "plugins", "list", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""


def test_the_console_script_is_installed() -> None:
    script = Path(sys.executable).with_name("memristor")
    if not script.exists():
        pytest.skip("the tests run on an interpreter without the console script beside it")
    done = subprocess.run([str(script), "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"memristor-plugins {__version__}\n"
