"""`run`: Hydra with errors of one line, exit codes, sweeps that go on, and no litter."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from memristor_plugins import registry
from memristor_plugins.build import build_stack
from memristor_plugins.cli.hydra_run import FULL_ERROR, complete, run
from memristor_plugins.errors import ConfigError

DEVICES = sorted(registry.names("device"))

Outcome = tuple[int, list[str], str]


@pytest.fixture(autouse=True)
def _workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty folder to run in, and the logging of before: Hydra configures the root logger."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(FULL_ERROR, raising=False)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:], root.level = handlers, level


@pytest.fixture
def outcome(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run a task on arguments: the exit code, the lines on stderr, and stdout."""

    def call(*argv: str, task: Callable[[DictConfig], Any] = build_stack) -> Outcome:
        code = run("stack_only", task, list(argv))
        captured = capsys.readouterr()
        return code, captured.err.splitlines(), captured.out

    return call


def test_the_task_gets_the_composed_config_and_hydra_its_folder(outcome: Callable[..., Outcome]) -> None:
    seen = []

    def task(config: DictConfig) -> None:
        seen.append((config.device.g_max, Path(HydraConfig.get().runtime.output_dir), os.environ.get(FULL_ERROR)))

    assert outcome("device.g_max=1e-5", "hydra.run.dir=here", task=task)[:2] == (0, [])
    assert seen == [(1e-5, Path("here").absolute(), None)]
    assert Path("here").is_dir()


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("device.gon=1", "device.gon: no such option of device=ideal; did you mean 'g_min'?"),
        ("device.g_min=abc", "device.g_min: must be a number, got 'abc'"),
        ("device.g_min=null", "device.g_min: must be a number, got 'null'"),
        ("mapping.rows=6.5", "mapping.rows: must be a whole number, got '6.5'"),
        ("mapping.rows=0", "mapping.rows: must be >= 1, got 0"),
        (
            "mapping.subtract=analogg",
            "mapping.subtract: must be one of analog, digital, got 'analogg'; did you mean 'analog'?",
        ),
        ("device=adaptive2d", "device=adaptive2d: no such device; did you mean 'adaptive_2d' or 'data_driven'?"),
        ("device=null", f"device: must be one of {', '.join(DEVICES)}, got null"),
        ("device=[ideal,adaptive_2d]", f"device: must be one of {', '.join(DEVICES)}, got [ideal,adaptive_2d]"),
        ("~device", "device: nothing is selected; choose device=NAME"),
        ("nonideality=[adcc]", "nonideality=adcc: no such nonideality; did you mean 'adc' or 'dac'?"),
        (
            "nonidealty=[]",
            "nonidealty: no such option; did you mean 'nonideality' or 'nonidealities' or 'model'?",
        ),
        (
            "nonidealities.adc.bits=6",
            "nonidealities.adc.bits: 'adc' is not selected; select it with nonideality=[...,adc]",
        ),
        (
            "+nonidealities.adc.bits=6",
            "nonidealities.adc.bits: is set, but 'adc' is not selected; select it with nonideality=[...,adc]",
        ),
        (
            "nonideality.adc.bits=6",
            "nonideality.adc.bits: no such option; the settings of nonideality=[NAME] are nonidealities.NAME",
        ),
        ("kernel.banks=3", "kernel.banks: no kernel is selected; choose kernel=NAME"),
        ("+device.foo=1", "device.foo: no such option; valid: g_max, g_min, read_time, read_voltage"),
        ("device.g_min=${nowhere}", "device.g_min: Interpolation key 'nowhere' not found"),
        ("device=[", "device: cannot read 'device=['; quote the value, or close its brackets"),
        ("train", "train: is no override; write NAME=VALUE"),
        ("=3", "=3: is no override; write NAME=VALUE"),
        ("device.g_min=1,2", "device.g_min: to sweep over 1,2 add -m; a list is written device.g_min=[1,2]"),
        ("hydra.run.dri=x", "hydra.run.dri: no such option; did you mean 'dir'?"),
        ("stak=adaptive_2d_basic", "stak: no such option; did you mean 'stack' or 'data'?"),
        ("--multirum", "--multirum: no such flag; did you mean '--multirun' or '--run'?"),
        ("--config-dir=/nowhere", "--config-dir: no such folder: /nowhere"),
        ("--config-name=stack_onyl", "--config-name: no config 'stack_onyl'; did you mean 'stack_only'?"),
        (
            "--experimental-rerun=x",
            "--experimental-rerun: not supported: it loads a pickle; repeat the overrides instead",
        ),
    ],
)
def test_a_users_error_is_one_line_and_leaves_nothing(
    outcome: Callable[..., Outcome], tmp_path: Path, override: str, line: str
) -> None:
    code, errors, out = outcome(override)
    assert (code, errors, out) == (2, [f"error: {line}"], "")
    assert list(tmp_path.iterdir()) == []


def test_other_flags_than_one_are_told(outcome: Callable[..., Outcome]) -> None:
    assert outcome("--cfg", "job", "-m")[:2] == (
        2,
        ["error: Only one of --run, --multirun, --cfg, --info and --shell_completion can be specified"],
    )
    assert outcome("--cfg", "jobs")[0] == 2


def refuse(config: DictConfig) -> None:
    raise ConfigError("data.root", "no such folder: /nowhere")


def crash(config: DictConfig) -> None:
    raise RuntimeError("boom")


def test_a_refusal_within_the_task_removes_what_hydra_made(outcome: Callable[..., Outcome], tmp_path: Path) -> None:
    line = "error: data.root: no such folder: /nowhere"
    assert outcome("hydra.run.dir=a/b", task=refuse) == (2, [line], "")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_there_stays_with_what_it_held(outcome: Callable[..., Outcome], tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert outcome("hydra.run.dir=a", task=refuse)[0] == 2
    assert list((tmp_path / "a").iterdir()) == []
    (tmp_path / "a" / "last.ckpt").touch()
    assert outcome("hydra.run.dir=a", task=refuse)[0] == 2
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["last.ckpt"]


def test_a_run_that_has_written_results_is_kept(outcome: Callable[..., Outcome], tmp_path: Path) -> None:
    def task(config: DictConfig) -> None:
        (Path(HydraConfig.get().runtime.output_dir) / "metrics.json").touch()
        refuse(config)

    assert outcome("hydra.run.dir=a", task=task)[0] == 2
    assert (tmp_path / "a" / "metrics.json").exists()


def test_an_unexpected_error_keeps_its_traceback_and_its_folder(
    outcome: Callable[..., Outcome], tmp_path: Path
) -> None:
    code, errors, _ = outcome("hydra.run.dir=a", task=crash)
    assert code == 1
    assert errors[0].startswith("Traceback")
    assert errors[-1] == "RuntimeError: boom"
    assert (tmp_path / "a").is_dir()


@pytest.mark.parametrize("argv", [["device.gon=1"], ["hydra.run.dir=a"]])
def test_the_user_may_ask_for_traces(
    outcome: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, argv: list[str]
) -> None:
    monkeypatch.setenv(FULL_ERROR, "1")
    code, errors, _ = outcome(*argv, task=refuse)
    assert code == 2
    assert errors[0].startswith("Traceback")
    assert errors[-1].startswith("error: d")
    assert os.environ[FULL_ERROR] == "1"


def interrupt(config: DictConfig) -> None:
    raise KeyboardInterrupt


def interrupt_like_lightning(config: DictConfig) -> None:
    try:
        interrupt(config)
    except KeyboardInterrupt:
        raise SystemExit(1)  # noqa: B904


@pytest.mark.parametrize("task", [interrupt, interrupt_like_lightning])
@pytest.mark.parametrize("argv", [[], ["-m", "device=ideal,adaptive_2d"]])
def test_an_interrupt_ends_all_with_130(
    outcome: Callable[..., Outcome], task: Callable[[DictConfig], None], argv: list[str]
) -> None:
    assert outcome(*argv, task=task)[:2] == (130, ["error: interrupted"])


def test_a_failed_job_does_not_stop_the_others(outcome: Callable[..., Outcome]) -> None:
    done = []

    def task(config: DictConfig) -> None:
        build_stack(config)
        if config.device.g_min == 2e-6:
            crash(config)
        done.append(config.device.g_min)

    code, errors, _ = outcome("mapping.rows=64", "-m", "device.g_min=0,10,1e-6,2e-6", "hydra.sweep.dir=s", task=task)
    assert code == 1
    assert done == [0, 1e-6]
    refused = "device.g_min: must be below g_max = 2e-05 S, got 10 S"
    assert [e for e in errors if e.startswith("error")] == [
        f"error: job 1 (mapping.rows=64 device.g_min=10): {refused}",
        "error: job 3 (mapping.rows=64 device.g_min=2e-06): RuntimeError: boom",
        "error: 2 of 4 jobs failed",
    ]
    assert errors[0].startswith("error: job 1")


def test_a_sweep_that_does_not_compose_starts_no_job(outcome: Callable[..., Outcome], tmp_path: Path) -> None:
    def task(config: DictConfig) -> None:
        raise AssertionError

    code, errors, _ = outcome("-m", "device=ideal,adaptive2d", "hydra.sweep.dir=s", task=task)
    assert (code, errors) == (
        2,
        ["error: device=adaptive2d: no such device; did you mean 'adaptive_2d' or 'data_driven'?"],
    )
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_over_plugins_takes_settings_that_they_alone_have(outcome: Callable[..., Outcome]) -> None:
    banks = []
    sweep = ["-m", "kernel=dynamic,heterosynaptic", "kernel.hidden_min=4,6", "hydra.sweep.dir=s"]

    def task(config: DictConfig) -> None:
        banks.append((config.kernel.banks, config.kernel.hidden_min))

    assert outcome("kernel.banks=2", *sweep, "--config-name=train", task=task)[:2] == (0, [])
    assert banks == [(2, 4), (2, 6)] * 2
    line = "error: kernel.banks: no such option of kernel=static; there are none to choose from"
    assert outcome("-m", "kernel=dynamic,static", "kernel.banks=2", "--config-name=train")[:2] == (2, [line])


def test_hydras_own_flags_work(outcome: Callable[..., Outcome], tmp_path: Path) -> None:
    (tmp_path / "mine" / "stack").mkdir(parents=True)
    (tmp_path / "mine" / "stack" / "own.yaml").write_text("# @package _global_\ndevice:\n  g_max: 3e-5\n")
    code, errors, out = outcome("--cfg", "job", "--config-dir", "mine", "stack=own")
    assert (code, errors) == (0, [])
    assert "g_max: 3.0e-05" in out
    assert "own" in outcome("--help", "--config-dir=mine")[2]
    assert "entrypoints://" in outcome("--info", "searchpath")[2]
    assert outcome("--config-dir", "mine", "stack=onw")[1] == ["error: stack=onw: no such stack; did you mean 'own'?"]
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("memristor device=", " ".join(f"device={name}" for name in DEVICES)),
        ("memristor device=ad", "device=adaptive_2d"),
        ("memristor device.read_", "device.read_time= device.read_voltage="),
        ("memristor nonid", "nonidealities. nonideality="),
    ],
)
def test_completion_answers(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, line: str, answer: str
) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    assert complete("stack_only", ["--shell-completion", "query=bash"]) == 0
    assert capsys.readouterr().out.strip() == answer
