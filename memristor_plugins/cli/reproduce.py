"""`memristor reproduce TABLE`: published tables from configs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from memristor_plugins.errors import ConfigError, MemristorError, nearest

TABLES = {
    "ablation": "what each part of hardware-aware training does to a small network on chips",
    "headline": "static and dynamic networks, digital and on the headline stack, with intervals over seeds",
    "where-dynamics-pays": "accuracy of static and gated networks against width, cells, conversions and joules",
}
KEYS = {
    "preset": "of the table: cpu, gpu or tiny (cpu)",
    "output": "folder of the table (outputs/reference/TABLE)",
    "work": "folder of weights and interrupted trainings (outputs/work/TABLE)",
    "minutes": "stop at the first safe point after so many; the same command goes on (no limit)",
}
USAGE = f"""\
usage: memristor reproduce TABLE [OPTION=VALUE ...]

Trains and measures everything that a table holds, one measurement after another, each written as it is made. Stopped at
any point, even killed, the same command goes on where it was.

tables:
{chr(10).join(f"  {name:<21}{about}" for name, about in TABLES.items())}

options:
{chr(10).join(f"  {key:<12}{about}" for key, about in KEYS.items())}
  a setting of the preset, such as chips=2 seeds=[0] networks=[static,heterosynaptic]
  an override of `memristor train` for all networks, such as data.root=PATH

examples:
  memristor reproduce headline data.root=PATH
  memristor reproduce headline preset=gpu data.root=PATH minutes=8
"""
# Roots of overrides of `memristor train` that hold for every network of a table.
SHARED = ("data", "model", "trainer", "recipe", "hardware", "chip_precision")
STOPPED = 3


def main(arguments: list[str]) -> int:
    """Run `memristor reproduce`; returns the exit code: 2 after a user's error, 3 where the time was up too early."""
    if not arguments or any(a in ("--help", "-h") for a in arguments):
        print(USAGE, end="")
        return 0
    try:
        return _reproduce(arguments[0], arguments[1:])
    except MemristorError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def complete(words: list[str]) -> list[str]:
    """What may stand for the last of the words after `memristor reproduce`."""
    options = list(TABLES) if len(words) < 2 else [f"{key}=" for key in KEYS]
    return [option for option in options if option.startswith(words[-1])]


def _reproduce(name: str, arguments: Sequence[str]) -> int:
    if name not in TABLES:
        raise ConfigError("reproduce", f"'{name}' is no table; {nearest(name, TABLES)}")
    own, settings, shared = _sorted(arguments)
    minutes = _minutes(own.get("minutes"))
    from memristor_plugins.cli.memory import keep_buffers

    keep_buffers()
    output = Path(own.get("output", f"outputs/reference/{name}"))
    work = Path(own.get("work", f"outputs/work/{name}"))
    seconds, preset = None if minutes is None else 60 * minutes, own.get("preset", "cpu")
    done = (_headline if name == "headline" else _sweep)(name, preset, settings, shared, output, work, seconds)
    print(f"table: {output / 'table.md'}" + ("" if done else "; time is up, the same command goes on"))
    return 0 if done else STOPPED


def _headline(
    name: str, preset: str, settings: list[str], shared: list[str], output: Path, work: Path, seconds: float | None
) -> bool:
    from memristor_plugins.cli.headline import Files, Headline
    from memristor_plugins.reproduce.preset import load

    chosen = load(f"{name}/{preset}", settings)
    chosen = replace(chosen, common=[*chosen.common, *shared])
    return Headline(chosen, Files(output, work), seconds, _say).run()


def _sweep(
    name: str, preset: str, settings: list[str], shared: list[str], output: Path, work: Path, seconds: float | None
) -> bool:
    from memristor_plugins.cli.sweep_table import run_sweep
    from memristor_plugins.reproduce.sweep import load_sweep

    chosen = load_sweep(name, preset, settings)
    return run_sweep(replace(chosen, common=[*chosen.common, *shared]), output, work, seconds, _say)


def _say(text: str) -> None:
    print(text, flush=True)


def _sorted(arguments: Sequence[str]) -> tuple[dict[str, str], list[str], list[str]]:
    own: dict[str, str] = {}
    settings, shared = [], []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals:
            raise ConfigError(argument, "options are written OPTION=VALUE")
        if key in KEYS:
            own[key] = value
        elif key.partition(".")[0] in SHARED:
            shared.append(argument)
        else:
            settings.append(argument)
    return own, settings, shared


def _minutes(given: str | None) -> float | None:
    if given is None:
        return None
    try:
        minutes = float(given)
    except ValueError:
        minutes = -1.0
    if not 0 <= minutes < float("inf"):
        raise ConfigError("minutes", f"must be a number >= 0, got {given}")
    return minutes
