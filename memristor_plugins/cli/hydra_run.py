"""Running a Hydra application: errors of one line, sweeps that survive a failed job, and no litter."""

from __future__ import annotations

import argparse
import functools
import logging
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from hydra import version
from hydra._internal.utils import _run_hydra, get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from memristor_plugins.compose import CONF, USER_ERRORS, VERSION_BASE, config_loader, explain, short
from memristor_plugins.errors import ConfigError, MemristorError, nearest
from memristor_plugins.hydra_integration import names_only

FULL_ERROR = "HYDRA_FULL_ERROR"
INTERRUPTED = 130


def run(config_name: str, task: Callable[[DictConfig], Any], argv: list[str]) -> int:
    """Run a task under Hydra, as `hydra.main` would, on `argv` instead of `sys.argv`.

    Args:
        config_name: primary config in `conf/`.
        task: takes the composed config. What a user did wrong it raises as a MemristorError.
        argv: overrides and Hydra's flags (`-m`, `--cfg job`, `--info`, `--config-dir`, ...).

    Returns:
        The exit code: 0; 2 after a user's error, told in one line; 1 after any other, with its traceback, and
        after a sweep of which a job failed; 130 after an interrupt. A sweep of which a job does not compose
        ends with 2 before its first job.
    """
    jobs = _Jobs(task)
    overrides: list[str] = []
    config_dir = None
    try:
        parser, args = _arguments(argv)
        overrides, config_dir = list(args.overrides), args.config_dir
        if args.multirun:
            args.overrides = _per_job(overrides)
        if not (args.cfg or args.info or args.shell_completion or args.help or args.hydra_help):
            args.overrides = [*args.overrides, f"+hydra.callbacks.run_folder._target_={__name__}.RunFolder"]
        version.setbase(VERSION_BASE)
        config_loader()  # registers the entry points before Hydra looks for its plugins
        RunFolder.current = None
        # Hydra prints and exits by itself unless it is told to raise.
        with _environment(FULL_ERROR, "1"):
            _run_hydra(args, parser, jobs, CONF, config_name)
    except KeyboardInterrupt:
        return _interrupted()
    except SystemExit as stop:
        # Lightning turns an interrupt into an exit.
        if isinstance(stop.__context__, KeyboardInterrupt):
            return _interrupted()
        return _code(stop)
    except (*USER_ERRORS, ValueError, YAMLError) as error:
        # Outside any job: what Hydra says of flags and overrides, some of it in plain ValueErrors.
        if jobs.failed:
            return jobs.report()
        if RunFolder.current is not None and not jobs.started:
            RunFolder.current.clear()
        return _tell(error, explain(error, config_loader(config_dir), config_name, overrides))
    return jobs.report()


def complete(config_name: str, argv: list[str]) -> int:
    """Print what could follow on a command line; imports plugins only to complete their parameters."""
    word = (os.environ.get("COMP_LINE", "").split(" ") or [""])[-1]
    if "." in word.partition("=")[0]:
        return run(config_name, _nothing, argv)
    with names_only():
        return run(config_name, _nothing, argv)


class RunFolder(Callback):
    """Knows what stood at the run folder before Hydra made it.

    A run that a user's error ended before it wrote anything leaves nothing behind.
    """

    current: ClassVar[RunFolder | None] = None

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        self._look(config.hydra.run.dir, config.hydra.output_subdir)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        self._look(config.hydra.sweep.dir, "multirun.yaml")

    def _look(self, folder: str, written: str | None) -> None:
        self.folder = Path(folder).absolute()
        self.written = written
        self.before = set(os.listdir(self.folder)) if self.folder.is_dir() else set()
        self.missing = [path for path in (self.folder, *self.folder.parents) if not path.exists()]
        RunFolder.current = self

    def clear(self) -> None:
        """Remove what Hydra wrote and the folders it made, unless the run has written something itself."""
        if not self.folder.is_dir():
            return
        new = set(os.listdir(self.folder)) - self.before
        if any(name != self.written and not name.endswith(".log") for name in new):
            return
        for handler in list(logging.getLogger().handlers):
            if isinstance(handler, logging.FileHandler) and Path(handler.baseFilename).parent == self.folder:
                logging.getLogger().removeHandler(handler)
                handler.close()
        for path in (self.folder / name for name in new):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path in self.missing:
            try:
                path.rmdir()
            except OSError:  # another run has written beside it
                return


class _Jobs:
    """The task as Hydra calls it.

    A failure is told and counted here, and kept from Hydra, which would tell it again in its own way.
    """

    def __init__(self, task: Callable[[DictConfig], Any]) -> None:
        functools.update_wrapper(self, task)
        self.task = task
        self.user_flag = os.environ.get(FULL_ERROR)
        self.process = os.getpid()
        self.started = 0
        self.sweep = False
        self.failed: list[int] = []

    def __call__(self, config: DictConfig) -> Any:
        self.started += 1
        self.sweep = HydraConfig.get().mode == RunMode.MULTIRUN
        try:
            with _environment(FULL_ERROR, self.user_flag):
                return self.task(config)
        except Exception as error:
            with _environment(FULL_ERROR, self.user_flag):
                self.failed.append(_tell(error, _user_error(error), self._label()))
            # A launcher's process shares no memory with the one that counts: there Hydra carries the news.
            if os.getpid() != self.process:
                raise
            return None

    def report(self) -> int:
        """Exit code of the run or sweep that has ended."""
        if not self.failed:
            return 0
        if self.sweep:
            print(f"error: {len(self.failed)} of {self.started} jobs failed", file=sys.stderr)
            return 1
        if self.failed == [2] and RunFolder.current is not None:
            RunFolder.current.clear()
        return self.failed[0]

    def _label(self) -> str:
        if not self.sweep:
            return ""
        hydra = HydraConfig.get()
        return f"job {hydra.job.num} ({' '.join(hydra.overrides.task)}): "


def _arguments(argv: list[str]) -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    parser = get_args_parser()
    parser.exit_on_error = parser.allow_abbrev = False
    try:
        # Intermixed: flags may stand anywhere among the overrides.
        args, unknown = parser.parse_known_intermixed_args(argv)
    except argparse.ArgumentError as error:
        raise ConfigError(error.argument_name or "arguments", error.message) from error
    flags = [flag for action in parser._actions for flag in action.option_strings]
    if unknown:
        raise ConfigError(unknown[0], f"no such flag; {nearest(unknown[0], flags)}")
    if args.experimental_rerun is not None:
        raise ConfigError("--experimental-rerun", "not supported: it loads a pickle; repeat the overrides instead")
    if args.config_dir is not None and not os.path.isdir(args.config_dir):
        raise ConfigError("--config-dir", f"no such folder: {args.config_dir}")
    return parser, args


def _per_job(overrides: list[str]) -> list[str]:
    """Overrides of a sweep, with settings that only a swept option has kept from the sweep's own composition.

    Hydra composes once without the swept options: `-m kernel=dynamic,heterosynaptic kernel.banks=2` would
    fail there if the default kernel had no banks. As a choice of one value a setting is seen by the jobs
    alone, which Hydra checks before it starts the first.
    """
    parsed = OverridesParser.create().parse_overrides(overrides)
    if not any(o.is_sweep_override() and "." not in o.key_or_group for o in parsed):
        return overrides
    return [
        f"{o.key_or_group}=choice({line.partition('=')[2]})"
        if "." in o.key_or_group and line[0] not in "+~" and not (o.is_sweep_override() or o.is_hydra_override())
        else line
        for o, line in zip(parsed, overrides, strict=True)
    ]


def _user_error(error: BaseException) -> MemristorError | None:
    """An error within a job in a user's words; None where it is the program's."""
    if isinstance(error, MemristorError):
        return error
    if isinstance(error, OmegaConfBaseException) and error.full_key:
        return ConfigError(str(error.full_key), short(str(error)))
    if isinstance(error, HydraException | OmegaConfBaseException):
        return MemristorError(short(str(error)))
    return None


def _tell(error: BaseException, known: MemristorError | None, label: str = "") -> int:
    """Write an error to stderr; returns its exit code."""
    if known is None or os.environ.get(FULL_ERROR) == "1":
        traceback.print_exception(error)
    if known is not None or label:
        text = str(known) if known is not None else f"{type(error).__name__}: {error}"
        print(f"error: {label}{' '.join(text.split())}", file=sys.stderr)
    return 1 if known is None else 2


def _interrupted() -> int:
    print("error: interrupted", file=sys.stderr)
    return INTERRUPTED


def _code(stop: SystemExit) -> int:
    if stop.code is None or isinstance(stop.code, int):
        return stop.code or 0
    print(stop.code, file=sys.stderr)
    return 1


def _nothing(config: DictConfig) -> None:
    """The task of a command line that is only being completed."""


@contextmanager
def _environment(name: str, value: str | None) -> Iterator[None]:
    before = os.environ.get(name)
    _set(name, value)
    try:
        yield
    finally:
        _set(name, before)


def _set(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
