"""`memristor characterize device=NAME`: the figures that a device paper shows."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from memristor_plugins import __version__
from memristor_plugins.characterize import FIGURES
from memristor_plugins.errors import ConfigError, MemristorError, nearest

if TYPE_CHECKING:
    from memristor_plugins.characterize.bench import Bench
    from memristor_plugins.characterize.result import Absent, Number, Shown

KEYS = {
    "figures": "[a,b]: which of those below; default: all that the model has",
    "cells": "how many cells statistics are taken over, 2 to 10000 (200)",
    "seed": "of all draws (0)",
    "output": "folder of the figures; default: outputs/characterize/NAME",
}
USAGE = f"""\
usage: memristor characterize device=NAME [device.PARAMETER=VALUE ...] [OPTION=VALUE ...]

Draws a device's figures as PNG, with their values as CSV in SI units and their key numbers in characterize.json.

options:
{chr(10).join(f"  {key:<12}{about}" for key, about in KEYS.items())}

figures:
{chr(10).join(f"  {name:<12}{about}" for name, about in FIGURES.items())}

examples:
  memristor characterize device=adaptive_2d
  memristor characterize device=neurosim device.nonlinearity_up=1 figures=[pulses,levels] output=my_figures
"""


def main(arguments: list[str]) -> int:
    """Run `memristor characterize` on overrides; returns the exit code, 2 after a user's error, told in one line."""
    if not arguments or any(a in ("--help", "-h") for a in arguments):
        print(USAGE, end="")
        return 0
    try:
        _characterize(arguments)
    except MemristorError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def complete(words: list[str]) -> list[str]:
    """What may stand for the last of the words after `memristor characterize`."""
    from memristor_plugins import registry

    options = [*(f"device={name}" for name in registry.names("device")), *(f"{key}=" for key in KEYS)]
    options += [f"figures=[{name}]" for name in FIGURES]
    return [option for option in options if option.startswith(words[-1])]


def _characterize(arguments: Sequence[str]) -> None:
    device, own = _sorted(arguments)
    names = _figures(own.get("figures"))
    cells, seed = _whole(own, "cells", 200, 2, 10_000), _whole(own, "seed", 0, 0)
    # Imported once the arguments are sound: torch and Hydra take seconds.
    import torch

    from memristor_plugins.characterize.bench import Bench, model_of
    from memristor_plugins.characterize.run import measure, write
    from memristor_plugins.devices.transient import MODELS
    from memristor_plugins.fitting.subject import subject

    subject_ = subject(device)
    built = subject_.device
    model = model_of(built)
    if model is None and subject_.name in MODELS:
        model = subject_.model()
    told_settings = {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in subject_.settings.items()
    }
    bench = Bench(subject_.chosen, built, model, cells, seed)
    folder = Path(own.get("output") or Path("outputs") / "characterize" / subject_.chosen)
    if folder.exists() and not folder.is_dir():
        raise ConfigError("output", f"{folder} is a file; choose a folder")
    # Threads gain nothing on tensors this small.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = dict(measure(bench, names))
        write(folder, bench, {"memristor_plugins": __version__, "parameters": told_settings}, found)
    except OSError as error:
        raise ConfigError("output", f"{folder} cannot be written: {error.strerror}") from error
    finally:
        torch.set_num_threads(threads)
    _show(bench, found, folder)


def _show(bench: Bench, found: Mapping[str, Shown | Absent], folder: Path) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from memristor_plugins.characterize.result import Shown

    table = Table(title=f"device={bench.name}", title_justify="left")
    for column, justify in (("figure", "left"), ("key number", "left"), ("value", "right")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for name, result in found.items():
        if isinstance(result, Shown):
            for k, (key, number) in enumerate(result.numbers.items()):
                table.add_row("" if k else name, Text(key), Text(told(number)))
            table.add_section()
    console = Console(highlight=False)
    if table.row_count:
        console.print(table)
    for name, result in found.items():
        if not isinstance(result, Shown):
            console.print(f"{name}: not applicable, {result.reason}", style="dim", markup=False, soft_wrap=True)
    console.print(f"figures, tables and characterize.json: {folder}", markup=False, soft_wrap=True)


def told(number: Number) -> str:
    """A key number as people read it: 1.2e-06 S -> "1.2 µS"; a dash where it cannot be told."""
    from memristor_plugins.reporting.figures import si

    value, unit = number
    if value is None or not math.isfinite(value):
        return "-"
    if unit in ("", "%"):
        return f"{value:.3g} %" if unit else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"0 {unit}" if value == 0 else si(value, unit)


def _sorted(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """(overrides of the device, own options as texts)."""
    device: list[str] = []
    own: dict[str, str] = {}
    for k, argument in enumerate(arguments):
        key, equals, value = argument.partition("=")
        if not equals:
            raise ConfigError(argument, "is no setting; write NAME=VALUE")
        if any(known.startswith(f"{key}=") for known in arguments[:k]):
            raise ConfigError(key, "is given twice")
        if key == "device" and "," in value:
            raise ConfigError(key, f"is one device at a time, got '{value}'")
        if key == "device" or key.lstrip("+").startswith("device."):
            device.append(argument)
        elif key in KEYS:
            own[key] = value.strip().strip("'\"")
        else:
            raise ConfigError(key, f"no such option of characterize; {nearest(key, [*KEYS, 'device'])}")
    if not any(a.startswith("device=") for a in device):
        raise ConfigError("device", "must be given: device=NAME; `memristor plugins list device` names them")
    return device, own


def _figures(text: str | None) -> list[str]:
    if text is None:
        return list(FIGURES)
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    names = [part.strip().strip("'\"") for part in inner.split(",") if part.strip()]
    for name in names:
        if name not in FIGURES:
            raise ConfigError("figures", f"'{name}' is none; {nearest(name, FIGURES)}")
    if not names:
        raise ConfigError("figures", f"names none; valid: {', '.join(FIGURES)}")
    # In the order of `FIGURES`, each once.
    return [name for name in FIGURES if name in names]


def _whole(own: Mapping[str, str], key: str, default: int, least: int, most: int | None = None) -> int:
    text = own.get(key, str(default))
    if not (text.isascii() and text.isdigit()) or int(text) < least:
        raise ConfigError(key, f"must be a whole number >= {least}, got '{text}'")
    if most is not None and int(text) > most:
        raise ConfigError(key, f"must be at most {most}, got '{text}'")
    return int(text)
