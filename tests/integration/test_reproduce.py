"""`memristor reproduce headline`: killed at any point it goes on, and ends with the same bytes."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

MEMRISTOR = str(Path(sys.executable).with_name("memristor"))
SMALL = (
    "preset=tiny",
    "seeds=[0]",
    "chips=1",
    "networks=[static,heterosynaptic,static_wide,heterosynaptic_permuted]",
    "variants=null",
    "data.limit_train=64",
    "data.limit_test=32",
)
RESULTS = ("results.csv", "costs.csv", "ir_drop.csv", "widths.csv", "preset.yaml")


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [MEMRISTOR, "reproduce", "headline", *SMALL, "output=out", "work=work", *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 300
    while not path.exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end, f"{path} did not come"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the table was made in one go."""
    folder = tmp_path_factory.mktemp("whole")
    process = start(folder)
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    assert "table: out/table.md" in out
    return folder


def test_a_killed_run_ends_with_the_same_bytes(whole: Path, tmp_path: Path) -> None:
    # In the middle of a training, whose first epoch is kept, and between two measurements.
    for until in ("work/static-0-hardware_aware.training/last.ckpt", "work/heterosynaptic-0-digital.pt"):
        process = start(tmp_path)
        wait_for(tmp_path / until, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not (tmp_path / "out" / "table.md").exists() or until.startswith("work/het")
    process = start(tmp_path)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    for name in RESULTS:
        assert (tmp_path / "out" / name).read_bytes() == (whole / "out" / name).read_bytes(), name


def test_every_measurement_stands_in_the_results(whole: Path) -> None:
    with (whole / "out" / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["network", "seed", "condition", "chip", "accuracy"]
    found = {(r["network"], r["condition"]) for r in rows}
    networks = ("static", "heterosynaptic", "static_wide", "heterosynaptic_permuted")
    assert found == {(n, c) for n in networks for c in ("digital", "stack", "stack_hwa", "stack_hwa_1day")}
    assert all(0 <= float(r["accuracy"]) <= 1 for r in rows)
    text = (whole / "out" / "table.md").read_text()
    assert "dynamic | not run | not run" in text
    assert "Not complete" in text
    assert (whole / "out" / "headline.png").stat().st_size > 10_000


def test_the_matched_network_has_no_more_cells_than_the_dynamic_one(whole: Path) -> None:
    with (whole / "out" / "widths.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["network"] == "static_wide"
    with (whole / "out" / "costs.csv").open() as file:
        costs = {r["network"]: int(r["cells"]) for r in csv.DictReader(file)}
    assert costs["static"] < costs["static_wide"] <= int(row["of_cells"]) == costs["heterosynaptic"]


def test_a_call_that_is_out_of_time_keeps_the_table(whole: Path) -> None:
    process = start(whole, "minutes=0")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err  # nothing was left to do
    assert "time is up" not in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "reproduce: 'nothing' is no table"),
        (["headline", "preset=cpus"], "preset: 'cpus' is none of headline's; did you mean 'cpu'"),
        (["headline", "chip=3"], "chip: no such option of reproduce; did you mean 'chips'"),
        (["headline", "networks=[statics]"], "networks: 'statics' is no row of the table; did you mean 'static'"),
        (["headline", "minutes=-1"], "minutes: must be a number"),
    ],
)
def test_what_cannot_be_run_is_one_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [MEMRISTOR, "reproduce", *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {message}")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["ablation", "where-dynamics-pays"])
def test_sweeps_measure_every_line_once(name: str, tmp_path: Path) -> None:
    command = [MEMRISTOR, "reproduce", name, "preset=tiny", "output=out", "work=work"]
    for again in (False, True):
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert ("training" in done.stdout) is not again
    with (tmp_path / "out" / "lines.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [r["point"] for r in rows] == (
        ["digital", "tuned"] if name == "ablation" else ["static 1", "2 banks 1", "static 2"]
    )
    assert all(int(r["cells"]) > 0 and float(r["joules"]) > 0 for r in rows)
    assert "not run" not in (tmp_path / "out" / "table.md").read_text()
    assert (tmp_path / "out" / "sweep.png").stat().st_size > 10_000
