"""Fitted parameters as a preset: a YAML file that Hydra finds as `device=NAME`."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from memristor_plugins import registry
from memristor_plugins.errors import ConfigError
from memristor_plugins.fitting.intervals import Estimate

MARK = "# Written by memristor fit"


def check_name(name: str, path: Path, taken: Sequence[str]) -> None:
    """Refuse a name that is none, that exists already, or a file that a fit did not write.

    Args:
        name: of the preset.
        path: of its file.
        taken: names of options that come with the package or a plugin.

    Raises:
        ConfigError: says what would be right.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise ConfigError("name", f"must be letters, digits and underscores, such as my_cell, got '{name}'")
    if name in registry.names("device") or name in taken:
        raise ConfigError("name", f"'{name}' is a device already; choose another, such as my_{name}")
    if path.exists() and not path.read_text(encoding="utf-8", errors="replace").startswith(MARK):
        raise ConfigError("name", f"{path} exists and was not written by a fit; choose another name")


def write(
    path: Path,
    base: str,
    held: Mapping[str, object],
    estimates: Sequence[Estimate],
    derived: Mapping[str, float],
    about: Sequence[str],
) -> None:
    """Write a preset whole or not at all.

    Args:
        path: `.../device/NAME.yaml`.
        base: the device that was fitted, a plugin or another preset.
        held: parameters that were set and not fitted.
        estimates: of the fit; nuisances are no part of the device.
        derived: settings that follow from the fit, such as the conductance range.
        about: lines for the head, what was fitted to what.
    """
    told = [" ".join(line.split()) for line in about]
    lines = [f"{MARK}: {told[0]}", *(f"# {line}" for line in told[1:]), "defaults:", f"  - {base}", "  - _self_", ""]
    lines += [f"{name}: {_yaml(value)}" for name, value in held.items()]
    for e in estimates:
        if e.nuisance:
            continue
        unit = f" {e.unit}" if e.unit else ""
        note = f"{e.low:.4g} to {e.high:.4g}{unit} (95 %)" if e.low is not None else f"{e.status}: {e.reason}"
        lines.append(f"{e.name}: {_yaml(e.value)}  # {note}")
    lines += [f"{name}: {_yaml(value)}  # chosen for the array, not measured" for name, value in derived.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text("\n".join(lines) + "\n", encoding="utf-8")
    os.replace(part, path)


def _yaml(value: object) -> str:
    """A value as YAML 1.1 reads it back: `1e-06` would be a text there."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        text = f"{value:.8g}"
        if "e" in text:
            mantissa, exponent = text.split("e")
            return f"{mantissa if '.' in mantissa else mantissa + '.0'}e{exponent}"
        return text if "." in text else f"{text}.0"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_yaml, value))}]"
    return json.dumps(str(value), ensure_ascii=False)
