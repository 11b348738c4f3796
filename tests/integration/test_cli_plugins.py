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


RECORD = ("group", "name", "distribution", "version", "summary", "problem", "also")


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
    assert all(set(p) == {*RECORD} for p in found)
    assert not any(p["problem"] or p["also"] for p in found)
    assert all(p["distribution"] == "memristor-plugins" and p["version"] and p["summary"] for p in found)
    only = json.loads(memristor("plugins", "list", "kernel", "--json").stdout)
    assert [p["name"] for p in only] == registry.names("kernel")


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize(
    "arguments",
    [
        ("list",),
        ("show", "device/adaptive_2d"),
        ("show", "nonideality/adc"),
        ("check", "kernel/static"),
        ("check", "kernel"),
    ],
)
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


def test_check_tells_what_is_promised_and_what_holds() -> None:
    done = memristor("plugins", "check", "kernel/static")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["kernel/static", "memristor-plugins", __version__]
    assert any(line.split()[:2] == ["✓", "modulation_shapes"] for line in lines)
    assert any(line.split()[:2] == ["-", "gains_stay_in_range"] for line in lines)
    assert lines[-1].startswith("kernel/static conforms to plugin API 1: ")
    done = memristor("plugins", "check", "kernel")
    count = len(registry.names("kernel"))
    assert done.stdout.splitlines()[-1] == f"{count} plugins: {count} conform, 0 do not"


def test_check_as_json() -> None:
    record = json.loads(memristor("plugins", "check", "kernel/static", "--json").stdout)
    assert record["plugin"] == "kernel/static"
    assert record["conforms"] is True
    assert {c["status"] for c in record["checks"]} == {"passed", "skipped"}
    assert all(set(c) == {"check", "about", "status", "message", "seconds"} for c in record["checks"])


def test_check_takes_required_parameters(tmp_path: Path) -> None:
    file = tmp_path / "reads.csv"
    file.write_text("target_us,mean_us,std_us\n1,1.0,0.1\n20,19.5,0.4\n")
    done = memristor("plugins", "check", "device/table", f"file={file}")
    assert (done.returncode, done.stderr) == (0, "")
    line = "error: device.file: must be given; write memristor plugins check device/table file=VALUE"
    assert refusal("plugins", "check", "device/table") == line


def test_nothing_is_wrong_with_what_is_built_in() -> None:
    done = memristor("plugins", "doctor")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{len(list(registry.plugins()))} plugins, 0 of other distributions: nothing wrong\n"
    assert memristor("plugins", "doctor", "--json").stdout == "[]\n"


def test_colours_are_for_terminals() -> None:
    assert "\x1b[" in memristor("plugins", "list", "kernel", FORCE_COLOR="1").stdout
    assert "\x1b[" not in memristor("plugins", "list", "kernel").stdout


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
        (["plugins", "check", "device/ideall"], "error: device/ideall: no such plugin; did you mean 'ideal'?"),
        (
            ["plugins", "check", "kernel", "banks=2"],
            "error: banks=2: settings are for one plugin; write GROUP/NAME before them",
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
        ("memristor ", "train evaluate energy characterize fit reproduce plugins"),
        ("memristor pl", "plugins"),
        ("memristor plugins show mapp", "mapping/bit_sliced mapping/differential mapping/offset"),
        ("memristor plugins list ", "device nonideality mapping kernel energy"),
        ("memristor plugins check mapping/o", "mapping/offset"),
        ("memristor plugins do", "doctor"),
        ("memristor plugins new --group ke", "kernel"),
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
