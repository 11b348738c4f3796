"""All figures of a device: made, drawn and written."""

from __future__ import annotations

import csv
import importlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from memristor_plugins.characterize.bench import Bench
from memristor_plugins.characterize.result import Absent, Shown


def measure(bench: Bench, names: Sequence[str]) -> Iterator[tuple[str, Shown | Absent]]:
    """The figures of these names (`FIGURES`), one after the other."""
    for name in names:
        module = importlib.import_module(f"memristor_plugins.characterize.{name}")
        yield name, module.figure(bench)


def write(folder: Path, bench: Bench, about: Mapping[str, object], found: Mapping[str, Shown | Absent]) -> None:
    """NAME.png and NAME.csv of each figure that there is, and `characterize.json` of all.

    Args:
        folder: made where it is not there; an earlier run's files of these figures are replaced or removed.
        bench: what was measured.
        about: further entries of the JSON.
        found: what `measure` gave.
    """
    from memristor_plugins.reporting import device_figures

    folder.mkdir(parents=True, exist_ok=True)
    for name, result in found.items():
        if isinstance(result, Shown):
            title = f"{bench.name}: {result.title}"
            device_figures.draw(folder / f"{name}.png", result.panels, title=title, caption=result.caption)
            table(folder / f"{name}.csv", result)
        else:
            for suffix in ("png", "csv"):
                (folder / f"{name}.{suffix}").unlink(missing_ok=True)
    text = json.dumps({**about, **record(bench, found)}, indent=2, default=str, allow_nan=False)
    (folder / "characterize.json").write_text(text + "\n", encoding="utf-8")


def record(bench: Bench, found: Mapping[str, Shown | Absent]) -> dict[str, object]:
    """What `characterize.json` holds of the figures."""
    figures: dict[str, object] = {}
    for name, result in found.items():
        if isinstance(result, Absent):
            figures[name] = {"made": False, "reason": result.reason}
        else:
            numbers = {key: {"value": _finite(n.value), "unit": n.unit} for key, n in result.numbers.items()}
            figures[name] = {
                "made": True,
                "title": result.title,
                "caption": result.caption,
                "files": [f"{name}.png", f"{name}.csv"],
                "numbers": numbers,
            }
    return {"device": bench.name, "seed": bench.seed, "cells": bench.cells, "figures": figures}


def table(path: Path, shown: Shown) -> None:
    """The figure's values in SI units, one header line; a value that cannot be told is left empty."""
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(shown.table)
        for row in zip(*(column.tolist() for column in shown.table.values()), strict=True):
            out.writerow("" if value != value else f"{value:.9g}" for value in row)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
