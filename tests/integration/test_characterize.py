"""`memristor characterize`, on the command line: files, table, and errors told in one line."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from memristor_plugins.characterize import FIGURES
from memristor_plugins.cli.main import main

MEMRISTOR = [sys.executable, "-c", "import sys; from memristor_plugins.cli.main import main; sys.exit(main())"]
PNG = b"\x89PNG\r\n\x1a\n"


def test_characterize_in_a_process_of_its_own(tmp_path: Path) -> None:
    done = subprocess.run(
        [*MEMRISTOR, "characterize", "device=pcm_joshi", "device.g_max=20e-6", "cells=40", "output=found"],
        env={**os.environ, "COLUMNS": "80"}, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    made = ("levels", "retention", "read_noise")
    folder = tmp_path / "found"
    expected = {"characterize.json", *(f"{name}.{kind}" for name in made for kind in ("png", "csv"))}
    assert {p.name for p in folder.iterdir()} == expected
    record = json.loads((folder / "characterize.json").read_text(encoding="utf-8"))
    assert (record["device"], record["seed"], record["cells"]) == ("pcm_joshi", 0, 40)
    assert record["parameters"]["g_max"] == 20e-6
    assert list(record["figures"]) == list(FIGURES)
    for name, figure in record["figures"].items():
        assert figure["made"] == (name in made)
        if not figure["made"]:
            assert f"{name}: not applicable, {figure['reason']}" in done.stdout
            continue
        assert (folder / f"{name}.png").read_bytes().startswith(PNG)
        with (folder / f"{name}.csv").open(newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        assert len(rows) > 10
        assert all(len(row) == len(header) for row in rows)
        assert all(float(value) == float(value) for row in rows for value in row)
        for key in figure["numbers"]:
            assert key in done.stdout
    lines = done.stdout.splitlines()
    assert "g(1 day) / g(0) of 20 µS, median" in done.stdout
    assert max(map(len, lines[: lines.index(next(line for line in lines if "not applicable" in line))])) <= 80
    assert lines[-1] == "figures, tables and characterize.json: found"


def test_the_same_seed_gives_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        arguments = ["device=neurosim", "figures=[pulses,levels]", "cells=5", f"seed={seed}", f"output={folder}"]
        assert main(["characterize", *arguments]) == 0
    for name in ("pulses.csv", "levels.csv"):
        one, same, other = ((tmp_path / folder / name).read_bytes() for folder in "abc")
        assert one == same
        assert one != other


def test_default_folder_and_what_an_earlier_run_left_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "outputs" / "characterize" / "generic"
    assert main(["characterize", "device=generic", "figures=[read_noise,levels]", "cells=5"]) == 0
    assert {p.stem for p in folder.glob("*.png")} == {"read_noise", "levels"}
    # Without read noise there is no such figure: the one of other parameters must not stay beside this record.
    assert main(["characterize", "device=generic", "device.read_std=0", "figures=read_noise", "cells=5"]) == 0
    assert {p.name for p in folder.glob("read_noise*")} == set()
    assert (folder / "levels.png").exists()
    assert "read_noise: not applicable, reads are exact" in capsys.readouterr().out
    record = json.loads((folder / "characterize.json").read_text(encoding="utf-8"))
    assert list(record["figures"]) == ["read_noise"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["device=adaptiv_2d"], "device=adaptiv_2d: no such device; did you mean 'adaptive_2d'?"),
        (["device=ideal", "figures=[levls]"], "figures: 'levls' is none; did you mean 'levels'?"),
        (["device=ideal", "figures=[]"], f"figures: names none; valid: {', '.join(FIGURES)}"),
        (["device=ideal", "figure=[iv]"], "figure: no such option of characterize; did you mean 'figures'?"),
        (["device=vteam", "device.v_st=1"], "device.v_st: no such option of device=vteam; did you mean 'v_set'"),
        (["figures=[iv]"], "device: must be given: device=NAME; `memristor plugins list device` names them"),
        (["device=ideal,vteam"], "device: is one device at a time, got 'ideal,vteam'"),
        (["device=ideal", "device=vteam"], "device: is given twice"),
        (["ideal"], "ideal: is no setting; write NAME=VALUE"),
        (["device=ideal", "cells=1"], "cells: must be a whole number >= 2, got '1'"),
        (["device=ideal", "cells=1e6"], "cells: must be a whole number >= 2, got '1e6'"),
        (["device=ideal", "cells=1000000"], "cells: must be at most 10000, got '1000000'"),
        (["device=ideal", "seed=-1"], "seed: must be a whole number >= 0, got '-1'"),
        (["device=ideal", "output=taken"], "output: taken is a file; choose a folder"),
        (["device=ideal", "cells=2", "output=taken/below"], "output: taken/below cannot be written: Not a directory"),
    ],
)
def test_an_error_is_one_line(
    arguments: list[str],
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("a file")
    assert main(["characterize", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {line}")
    assert err.count("\n") == 1
    assert {p.name for p in tmp_path.iterdir()} == {"taken"}


def test_help_names_every_figure_and_the_command_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["characterize"], ["characterize", "--help"]):
        assert main(arguments) == 0
        out = capsys.readouterr().out
        assert all(f"\n  {name}" in out for name in FIGURES)
    assert main(["--help"]) == 0
    assert "\n  characterize  " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("word", "answer"),
    [("device=adap", "device=adaptive_2d"), ("figures=[ret", "figures=[retention]"), ("nothing", "")],
)
def test_completion_answers_without_importing_torch(word: str, answer: str) -> None:
    script = f"{MEMRISTOR[2].replace('sys.exit(main())', 'main()')}; assert 'torch' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", script, "-sc", "query=bash"],
        env={**os.environ, "COMP_LINE": f"memristor characterize {word}"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == answer
