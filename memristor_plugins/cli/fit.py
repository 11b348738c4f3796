"""`memristor fit device=NAME data=FILE.csv`: a device's parameters from a measurement, and a preset of them."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from memristor_plugins import __version__
from memristor_plugins.errors import ConfigError, MemristorError, nearest

if TYPE_CHECKING:
    from memristor_plugins.fitting.run import Options, Outcome

KEYS = {
    "data": "the measured CSV file (required)",
    "kind": "iv, pulses, retention, programming or reads; default: told from the columns",
    "free": "[a,b]: the free parameters; default: all that the measurement may tell",
    "offsets": "true: offsets of the voltage and the current channel are free (sweeps)",
    "series_resistance": "ohm, of the set-up, where the voltage was measured across it and the cell (sweeps)",
    "average": "false: periods of a repeated sweep are not averaged",
    "check": "[FILE,...]: sweeps to report the error of the same parameters on",
    "robust": "residuals beyond this part of the range count linearly; default: squares",
    "starts": "how many starts are searched (16 for a sweep, else 3)",
    "seed": "of these starts (0)",
    "target": "of kind=reads: what cells were programmed to, such as 25us or 40kohm; a list for several files",
    "factor": "of kind=reads: a cell has failed beyond target / factor and target * factor (2)",
    "name": "of the preset; default: the device's and the file's",
    "output": "folder of figure and records; default: outputs/fit/NAME",
}
USAGE = f"""\
usage: memristor fit device=NAME data=FILE.csv [device.PARAMETER=VALUE ...] [OPTION=VALUE ...]

Fits a device to a measurement and writes ./conf/device/NAME.yaml, used at once as device=NAME. A parameter that is
set is held, unless `free` names it: then the search starts there.

options:
{chr(10).join(f"  {key:<18}{about}" for key, about in KEYS.items())}

examples:
  memristor fit device=yakopcic data=loop.csv offsets=true
  memristor fit device=adaptive_2d data=decay.csv free=[retention_tau,retention_sigma] name=my_cell
  memristor fit device=table kind=reads data=[a.csv,b.csv] target=[40kohm,110kohm] name=my_array
  memristor train device=my_cell nonideality=[programming,drift]

docs/fit.md tells the columns of each kind of file.
"""


def main(arguments: list[str]) -> int:
    """Run `memristor fit` on overrides; returns the exit code, 2 after a user's error, told in one line."""
    if not arguments or any(a in ("--help", "-h") for a in arguments):
        print(USAGE, end="")
        return 0
    try:
        device, own = _sorted(arguments)
        if own.get("kind") == "reads" or ("kind" not in own and device == ["device=table"]):
            _reads(device, own, arguments)
        else:
            _fit(device, own, arguments)
    except MemristorError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def complete(words: list[str]) -> list[str]:
    """What may stand for the last of the words after `memristor fit`."""
    from memristor_plugins import registry

    options = [*(f"device={name}" for name in registry.names("device")), *(f"{key}=" for key in KEYS)]
    return [option for option in options if option.startswith(words[-1])]


def _sorted(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """(overrides of the device, own options as texts)."""
    device: list[str] = []
    own: dict[str, str] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals:
            raise ConfigError(argument, "is no setting; write NAME=VALUE")
        if key == "device" or key.lstrip("+").startswith("device."):
            device.append(argument)
        elif key in KEYS:
            own[key] = value.strip().strip("'\"")
        else:
            raise ConfigError(key, f"no such option of fit; {nearest(key, [*KEYS, 'device'])}")
    if not own.get("data"):
        raise ConfigError("data", "must be given: data=FILE.csv")
    return device, own


def _fit(device: list[str], own: dict[str, str], arguments: Sequence[str]) -> None:
    # Imported once the arguments are sound: torch, Hydra and scipy take seconds.
    import torch

    from memristor_plugins.fitting import figure, preset, report
    from memristor_plugins.fitting.run import check, fit_file
    from memristor_plugins.fitting.subject import subject
    from memristor_plugins.fitting.usable import settings

    for key in ("target", "factor"):
        if key in own:
            raise ConfigError(key, "is for kind=reads")
    options = _options(own)
    files = _list(own["data"])
    if len(files) != 1:
        raise ConfigError("data", "several files are for kind=reads; a fit takes one")
    fitted = subject(device)
    path = Path(files[0])
    name, preset_path, folder = _places(own, fitted.chosen, path)
    # Threads gain nothing on tensors this small, and disturb each other.
    torch.set_num_threads(1)
    outcome = fit_file(fitted, path, options, tell=lambda line: print(line, file=sys.stderr, flush=True))
    own_values = {k: v for k, v in outcome.found.device_values.items() if k in outcome.subject.signature}
    reached = None
    if outcome.table.kind == "iv":
        reached = (float(outcome.table["voltage"].min()), float(outcome.table["voltage"].max()))
    derived = settings(outcome.subject, own_values, reached)
    checks = {Path(f).name: check(outcome, Path(f), options) for f in _list(own.get("check", ""))}
    folder.mkdir(parents=True, exist_ok=True)
    title = _caption(outcome)
    figure.overlay(folder / "fit.png", outcome.found.overlay, title)
    report.write(folder, report.record(outcome, derived, checks), outcome)
    held = {k: outcome.subject.settings[k] for k in outcome.subject.given if k not in own_values}
    about = [f"{fitted.chosen} fitted to {path.name} ({outcome.table.kind})", report.quality(outcome.found.quality)]
    about += _provenance([path], arguments)
    preset.write(preset_path, fitted.chosen, held, outcome.found.inference.estimates, derived, about)
    made = [f"figure and records: {folder}", f"preset: {preset_path}; memristor train device={name}"]
    report.show(outcome, checks, derived, made)


def _reads(device: list[str], own: dict[str, str], arguments: Sequence[str]) -> None:
    from rich.console import Console

    from memristor_plugins.devices import table_from_reads
    from memristor_plugins.devices.table import Table
    from memristor_plugins.fitting import figure, preset, reads

    if device[:1] != ["device=table"] or len(device) > 1:
        raise ConfigError("device", "repeated reads become a device=table, without settings")
    for key in own:
        if key not in ("data", "kind", "target", "factor", "name", "output"):
            raise ConfigError(key, "has no meaning for kind=reads")
    paths = [Path(f) for f in _list(own["data"])]
    if not own.get("target"):
        raise ConfigError("target", "must be given: what the cells were programmed to, such as 25us or 40kohm")
    factor = _number(own, "factor", 2.0, above=1.0)
    name, preset_path, folder = _places(own, "table", paths[0])
    rows, shown = reads.summaries(paths, _list(own["target"]), factor)
    text = table_from_reads.table(rows)
    # Relative to the folder in which the preset is found: both move together.
    file = preset_path.with_suffix(".csv")
    _write(file, text)
    Table(file=str(file))
    folder.mkdir(parents=True, exist_ok=True)
    names = ", ".join(p.name for p in paths)
    figure.overlay(folder / "fit.png", shown, f"device=table from {names}: correlation of repeated reads")
    content = reads.record(rows, [p.name for p in paths])
    (folder / "fit.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    about = [f"table of repeated reads of {names}", *reads.lines(rows), *_provenance(paths, arguments)]
    preset.write(preset_path, "table", {"file": file.as_posix()}, (), {}, about)
    console = Console(highlight=False)
    for line in [
        *reads.lines(rows),
        f"figure and records: {folder}",
        f"table: {file}",
        f"preset: {preset_path}; memristor train device={name}",
    ]:
        console.print(line, markup=False, soft_wrap=True)


def _provenance(paths: Sequence[Path], arguments: Sequence[str]) -> list[str]:
    """What made a preset, for its head."""
    import hashlib

    made = f"by memristor-plugins {__version__}: memristor fit {' '.join(arguments)}"
    return [made, *(f"sha256 of {p.name}: {hashlib.sha256(p.read_bytes()).hexdigest()[:16]}..." for p in paths)]


def _places(own: dict[str, str], device: str, path: Path) -> tuple[str, Path, Path]:
    """(name of the preset, its file, folder of the records)."""
    from memristor_plugins.compose import config_loader
    from memristor_plugins.fitting import preset

    name = own.get("name") or re.sub(r"\W+", "_", f"{device}_{path.stem}", flags=re.ASCII).strip("_").lower()
    file = Path("conf") / "device" / f"{name}.yaml"
    taken = [] if file.exists() else config_loader().get_group_options("device")
    preset.check_name(name, file, taken)
    if name == device:
        raise ConfigError("name", f"'{name}' is what is fitted; a preset cannot be built on itself, choose another")
    return name, file, Path(own.get("output") or Path("outputs") / "fit" / name)


def _options(own: dict[str, str]) -> Options:
    from memristor_plugins.fitting.run import Options

    free = own.get("free")
    robust = _number(own, "robust", 0.0, above=0.0) if "robust" in own else None
    return Options(
        kind=own.get("kind"),
        free=None if free is None else tuple(_list(free)),
        offsets=_switch(own, "offsets", False),
        series_resistance=_number(own, "series_resistance", 0.0, least=0.0),
        average=_switch(own, "average", True),
        starts=_whole(own, "starts", 3, 1) if "starts" in own else None,
        robust=robust,
        seed=_whole(own, "seed", 0, 0),
    )


def _caption(outcome: Outcome) -> str:
    from memristor_plugins.fitting.report import quality

    periods = f", average of {outcome.averaged} periods" if outcome.averaged > 1 else ""
    return f"device={outcome.subject.chosen}, {outcome.table.name}{periods}\n{quality(outcome.found.quality)}"


def _list(text: str) -> list[str]:
    """`a` or `[a,b]` -> its items."""
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    parts = inner.split(",") if inner is not text else [text]
    return [part.strip().strip("'\"") for part in parts if part.strip()]


def _switch(own: dict[str, str], key: str, default: bool) -> bool:
    text = own.get(key, str(default)).lower()
    if text not in ("true", "false"):
        raise ConfigError(key, f"must be true or false, got '{own[key]}'")
    return text == "true"


def _number(
    own: dict[str, str], key: str, default: float, *, above: float | None = None, least: float | None = None
) -> float:
    if key not in own:
        return default
    try:
        value = float(own[key])
    except ValueError:
        raise ConfigError(key, f"must be a number, got '{own[key]}'") from None
    if above is not None and not above < value < float("inf"):
        raise ConfigError(key, f"must be > {above:g}, got {own[key]}")
    if least is not None and not least <= value < float("inf"):
        raise ConfigError(key, f"must be >= {least:g}, got {own[key]}")
    return value


def _whole(own: dict[str, str], key: str, default: int, least: int) -> int:
    text = own.get(key, str(default))
    if not text.isdigit() or int(text) < least:
        raise ConfigError(key, f"must be a whole number >= {least}, got '{text}'")
    return int(text)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
