"""`memristor fit` as a user types it: files, presets that train at once, errors in one line that leave nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from memristor_plugins.api import compose_stack
from memristor_plugins.cli.fit import KEYS, complete, main
from memristor_plugins.devices.generic import Generic

MEMRISTOR = [sys.executable, "-c", "import sys; from memristor_plugins.cli.main import main; sys.exit(main())"]
PNG = b"\x89PNG\r\n\x1a\n"


def writes(path: Path, std: float = 0.05) -> Path:
    """What 240 writes of a generic cell left."""
    device = Generic(std=std)
    target = torch.linspace(float(device.g_min), float(device.g_max), 6).repeat(40)
    got = device.program(target, generator=torch.Generator().manual_seed(0)).g
    rows = [f"{t * 1e6:.6g},{g * 1e6:.6g}" for t, g in zip(target.tolist(), got.tolist(), strict=True)]
    path.write_text("\n".join(["target_us,conductance_us", *rows]) + "\n", encoding="utf-8")
    return path


def reads(path: Path, ohm: float, failed: int) -> Path:
    """30 reads of 20 good cells about a resistance, and of some that failed."""
    rng = np.random.default_rng(0)
    values = ohm * (1 + 0.05 * rng.standard_normal((20, 1)) + 0.02 * rng.standard_normal((20, 30)))
    values = np.concatenate([values, np.full((failed, 30), 50 * ohm)])
    header = ",".join(["cell", *(f"resistance_kohm_{k}" for k in range(30))])
    rows = [",".join([f"c{i}", *(f"{v / 1e3:.5g}" for v in row)]) for i, row in enumerate(values)]
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def test_a_fit_in_a_process_of_its_own_and_its_preset_in_another(tmp_path: Path) -> None:
    writes(tmp_path / "writes.csv")
    environment = {**os.environ, "COLUMNS": "100", "OMP_NUM_THREADS": "1"}
    arguments = ["fit", "device=generic", "data=writes.csv", "free=[std]", "name=my_cell"]
    done = subprocess.run(
        [*MEMRISTOR, *arguments], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "95 % interval" in done.stdout
    assert done.stdout.rstrip().endswith("memristor train device=my_cell")
    folder, preset = tmp_path / "outputs" / "fit" / "my_cell", tmp_path / "conf" / "device" / "my_cell.yaml"
    assert {p.name for p in folder.iterdir()} == {"fit.csv", "fit.json", "fit.png"}
    assert (folder / "fit.png").read_bytes().startswith(PNG)
    record = json.loads((folder / "fit.json").read_text(encoding="utf-8"))
    (std,) = record["parameters"]
    assert (std["name"], std["status"]) == ("std", "identified")
    # One draw of the data: a 95 % interval misses the truth in one of twenty, one of twice its width in one of 10,000.
    assert abs(std["value"] - 0.05) < std["high_95"] - std["low_95"] < 0.02
    text = preset.read_text(encoding="utf-8")
    assert text.startswith("# Written by memristor fit: generic fitted to writes.csv (programming)")
    assert "sha256" in text
    assert "device=generic data=writes.csv free=[std] name=my_cell" in text
    small = ["model.width=0.0625", "kernel=static", "chips=1", "times=[1]", "data.limit_train=64", "energy=[]"]
    small += ["data.limit_test=16", "trainer.fast_dev_run=true", "nonideality=[programming]"]
    done = subprocess.run(
        [*MEMRISTOR, "train", "device=my_cell", *small], env=environment, cwd=tmp_path, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_reads_become_a_table_with_failed_cells_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    reads(tmp_path / "a.csv", 40e3, failed=2)
    reads(tmp_path / "b.csv", 100e3, failed=0)
    arguments = ["device=table", "kind=reads", "data=[a.csv,b.csv]", "target=[40kohm,10us]", "name=array"]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "failed far below, 2 of 22 cells" in shown
    assert "c20 c21" in shown
    assert "none of 20 cells failed" in shown
    device = compose_stack(["device=array"]).device
    assert device.g_max == pytest.approx(25e-6, rel=0.05)
    g = device.program(torch.full((20_000,), 25e-6), generator=torch.Generator().manual_seed(0)).g
    assert float((g < 5e-6).double().mean()) == pytest.approx(2 / 22, abs=0.01)


LOOP = "time_s,voltage_v,current_a\n" + "".join(f"{i},{i % 4},{i}e-6\n" for i in range(12))


@pytest.mark.parametrize(
    ("arguments", "text", "message"),
    [
        (["device=yakopcic", "data=none.csv"], LOOP, "data: no such file: none.csv"),
        (["device=yakopcic"], LOOP, "data: must be given"),
        (["data=m.csv"], LOOP, "device: must be given"),
        (["device=yakopcik", "data=m.csv"], LOOP, "yakopcic"),
        (
            ["device=yakopcic", "data=m.csv", "ofsets=true"],
            LOOP,
            "ofsets: no such option of fit; did you mean 'offsets'",
        ),
        (["device=yakopcic", "data=m.csv", "offsets=maybe"], LOOP, "offsets: must be true or false, got 'maybe'"),
        (["device=yakopcic", "data=m.csv", "starts=0"], LOOP, "starts: must be a whole number >= 1"),
        (["device=yakopcic", "data=m.csv", "robust=-1"], LOOP, "robust: must be > 0"),
        (["device=yakopcic", "data=m.csv", "kind=loop"], LOOP, "kind: 'loop' is none"),
        (["device=yakopcic", "data=m.csv", "target=25us"], LOOP, "target: is for kind=reads"),
        (["device=yakopcic", "data=m.csv", "name=vteam"], LOOP, "name: 'vteam' is a device already"),
        (["device=yakopcic", "data=m.csv", "free=[rate]"], LOOP, "free: device yakopcic has no parameter 'rate'"),
        (["device=yakopcic", "device.rate=1", "data=m.csv"], LOOP, "device.rate"),
        (["device=sonos", "data=m.csv"], LOOP, "device: sonos has no I-V law in time"),
        (["device=yakopcic", "data=m.csv"], LOOP.replace("3,3,3e-6", "3,x,3e-6"), "m.csv, line 5, column 2"),
        (["device=yakopcic", "data=m.csv"], LOOP.replace("current_a", "current_mv"), "m.csv, line 1, column 3"),
        (["device=yakopcic", "data=m.csv"], "", "m.csv is empty"),
        (["device=table", "data=m.csv"], LOOP, "target: must be given"),
        (["device=table", "data=m.csv", "target=25us"], LOOP, "line 1, column 1: must be 'cell'"),
        (["device=table", "device.file=x", "kind=reads", "data=m.csv"], LOOP, "without settings"),
    ],
)
def test_an_error_is_one_line_and_leaves_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    text: str,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.csv").write_text(text, encoding="utf-8")
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("error: ")
    assert told.err.count("\n") == 1
    assert message in told.err
    assert [p.name for p in tmp_path.iterdir()] == ["m.csv"]


def test_errors_of_a_process(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(LOOP.replace("2,2,2e-6", "2,2,nan"), encoding="utf-8")
    done = subprocess.run(
        [*MEMRISTOR, "fit", "device=vteam", "data=m.csv"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: data: m.csv, line 4, column 3: 'current_a' is not finite: 'nan'; take such rows out\n"
    assert [p.name for p in tmp_path.iterdir()] == ["m.csv"]


def test_a_preset_that_is_not_from_a_fit_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "conf" / "device" / "mine.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("defaults: [generic]\n", encoding="utf-8")
    writes(tmp_path / "w.csv")
    arguments = ["device=generic", "data=w.csv", "free=[std]"]
    assert main([*arguments, "name=mine"]) == 2
    assert "was not written by a fit" in capsys.readouterr().err
    assert main([*arguments, "name=other"]) == 0
    # One of its own it replaces; and a fit may start from a preset.
    assert main([*arguments, "name=other", "device.read_std=0"]) == 0
    assert main(["device=other", "data=w.csv", "free=[std]", "name=third"]) == 0
    assert "  - other\n" in (path.parent / "third.yaml").read_text(encoding="utf-8")
    assert main(["device=other", "data=w.csv", "free=[std]", "name=other"]) == 2


def test_help_and_completion(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(key in shown for key in KEYS)
    assert "docs/fit.md" in shown
    assert complete(["dev"]) == [o for o in complete([""]) if o.startswith("device=")]
    assert "offsets=" in complete(["off"])
