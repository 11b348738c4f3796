"""`logger=wandb` offline, with the real client: no account and no network."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb
from wandb.proto import wandb_internal_pb2

from memristor_plugins.tracking.loggers import logger


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No account, no key, and settings and caches of its own."""
    home = tmp_path_factory.mktemp("home")
    for name in [n for n in os.environ if n.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    for name in ("HOME", "WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR", "NETRC"):
        monkeypatch.setenv(name, str(home / name.lower()))
    yield
    wandb.teardown()


BLOCK, HEADER = 32768, 7  # bytes; the client writes LevelDB's log format behind a header of 7 bytes


def records(folder: Path) -> list[Any]:
    """All that one offline run recorded."""
    wandb.teardown()  # as at the end of a process: the client's service may still be writing
    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    data, at, part, found = file.read_bytes(), HEADER, b"", []
    assert data.startswith(b":W&B")
    while at + HEADER <= len(data):
        if BLOCK - at % BLOCK < HEADER:
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        part += data[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if kind in (1, 4):  # whole, or the last part of one
            found.append(wandb_internal_pb2.Record.FromString(part))
            part = b""
    return found


def recorded(folder: Path) -> tuple[Any, set[str], dict[str, str], int]:
    """One offline run: its header, the keys of its history, its config, and its exit code."""
    found = records(folder)
    header = next(r.run for r in found if r.HasField("run"))
    updates = [*header.config.update, *(u for r in found if r.HasField("config") for u in r.config.update)]
    config = {u.key or "/".join(u.nested_key): u.value_json for u in updates}
    items = [i for r in found if r.HasField("history") for i in r.history.item]
    keys = {i.key or "/".join(i.nested_key) for i in items}
    return header, keys, config, next(r.exit.exit_code for r in found if r.HasField("exit"))


def test_a_sweep_is_a_group_of_runs(memristor: Callable[..., Any], small: tuple[str, ...], tmp_path: Path) -> None:
    arguments = [*small, "trainer.max_epochs=1", "logger=wandb", "hydra.sweep.dir=outputs/multirun/mine"]
    done = memristor(tmp_path, "train", "-m", *arguments, "seed=0,1")
    assert (done.code, done.err) == (0, "")
    seen = [recorded(tmp_path / "outputs" / "multirun" / "mine" / job) for job in "01"]
    assert len({header.run_id for header, *_ in seen}) == 2
    for seed, (header, keys, config, code) in enumerate(seen):
        assert (header.run_group, code) == ("mine", 0)
        assert config["seed"] == str(seed)
        assert '"width": 0.03' in config["model"].replace('":', '": ').replace("  ", " ")
        assert {"train/loss", "val/accuracy", "test/accuracy", "chips/accuracy_mean_1s"} <= keys
    assert wandb.run is None


def test_a_failed_run_is_marked_and_closed(tmp_path: Path) -> None:
    settings = {"name": "wandb", "project": "p", "mode": "offline", "tags": []}

    def fail() -> None:
        with logger(settings, tmp_path, {"seed": 3}, None):
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        fail()
    header, _, config, code = recorded(tmp_path)
    assert (header.run_group, code, config["seed"]) == ("", 1, "3")
    assert wandb.run is None
    assert "WANDB_MODE" not in os.environ
