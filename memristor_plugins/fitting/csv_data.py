"""Measured files: columns in SI units, and errors that name line and column."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from memristor_plugins.errors import ConfigError, MemristorError, nearest
from memristor_plugins.fitting.layouts import LAYOUTS, Layout, guess
from memristor_plugins.units import Header, parse

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """A measured file.

    Args:
        kind: see `layouts`.
        name: of the file, for captions.
        columns: quantity -> values in SI units; resistances have become conductances.
        lines: line number of each row in the file.
    """

    kind: str
    name: str
    columns: Mapping[str, Array]
    lines: NDArray[np.int64]

    def __getitem__(self, quantity: str) -> Array:
        return self.columns[quantity]

    def __contains__(self, quantity: str) -> bool:
        return quantity in self.columns

    def __len__(self) -> int:
        return len(self.lines)


def read(path: Path, kind: str | None = None) -> Table:
    """Read a measured file; see `layouts` for what it holds.

    Args:
        path: of the CSV file, UTF-8.
        kind: one of `LAYOUTS`; None: told from the columns.

    Raises:
        ConfigError: naming `data`, with file, line and column: no such file, an empty one, a missing or doubled
            column, an unknown unit, a field that is missing, no number, or not finite.
    """
    if kind is not None and kind not in LAYOUTS:
        raise ConfigError("kind", f"'{kind}' is none; {nearest(kind, LAYOUTS)}")
    header_line, headers, rows = _rows(path)
    layout = LAYOUTS[guess(headers) if kind is None else kind]
    found = _match(path, header_line, headers, layout)
    if not rows:
        raise _error(path, header_line, "has a header and no rows")
    lines = np.array([line for line, _ in rows], dtype=np.int64)
    columns = {
        header.quantity: np.array([_number(path, line, row, index, headers) for line, row in rows]) * header.factor
        for index, header in found.items()
    }
    if "resistance" in columns:
        columns["conductance"] = _conductances(path, lines, columns.pop("resistance"))
    table = Table(layout.kind, path.name, columns, lines)
    _check(path, table)
    return table


def _rows(path: Path) -> tuple[int, list[str], list[tuple[int, list[str]]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError("data", f"no such file: {path}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("data", f"{path} cannot be read: {' '.join(str(error).split())}") from error
    reader = csv.reader(text.splitlines())
    kept: list[tuple[int, list[str]]] = []
    try:
        for row in reader:
            if any(field.strip() for field in row) and not row[0].lstrip().startswith("#"):
                kept.append((reader.line_num, row))
    except csv.Error as error:
        raise _error(path, reader.line_num, str(error)) from error
    if not kept:
        raise ConfigError("data", f"{path} is empty; its first line names the columns, such as time_s,voltage_v")
    line, headers = kept[0]
    if len(headers) == 1 and any(mark in headers[0] for mark in ";\t"):
        raise _error(path, line, "fields are separated by commas, not by semicolons or tabs")
    return line, headers, kept[1:]


def _match(path: Path, line: int, headers: list[str], layout: Layout) -> dict[int, Header]:
    found: dict[int, Header] = {}
    for index, text in enumerate(headers):
        try:
            header = parse(text, layout.quantities)
        except MemristorError as error:
            raise _error(path, line, str(error), index + 1) from error
        if header is None:
            continue
        same = next((i for i, h in found.items() if _same(h.quantity, header.quantity)), None)
        if same is not None:
            first = headers[same].strip()
            raise _error(path, line, f"'{text.strip()}' and '{first}' both give the {header.quantity}", index + 1)
        found[index] = header
    names = {"conductance" if h.quantity == "resistance" else h.quantity for h in found.values()}
    for quantity, dimension in layout.required.items():
        if quantity not in names:
            wanted = {"": quantity, "conductance": f"{quantity}_us"}.get(dimension, f"{quantity}_{_example(dimension)}")
            more = " or resistance_ohm" if quantity == "conductance" else ""
            has = ", ".join(h.strip() for h in headers)
            raise _error(path, line, f"kind={layout.kind} needs a column '{wanted}'{more}; the file has {has}")
    return found


def _example(dimension: str) -> str:
    return {"time": "s", "voltage": "v", "current": "a", "resistance": "ohm"}[dimension]


def _same(one: str, other: str) -> bool:
    pair = {"conductance", "resistance"}
    return one == other or (one in pair and other in pair)


def _number(path: Path, line: int, row: list[str], index: int, headers: list[str]) -> float:
    name = headers[index].strip()
    if len(row) > len(headers):
        raise _error(path, line, f"has {len(row)} fields, the header has {len(headers)}")
    text = row[index].strip() if index < len(row) else ""
    if not text:
        raise _error(path, line, f"'{name}' is empty", index + 1)
    try:
        value = float(text)
    except ValueError:
        raise _error(path, line, f"'{name}' is no number: '{text[:40]}'", index + 1) from None
    if not math.isfinite(value):
        raise _error(path, line, f"'{name}' is not finite: '{text}'; take such rows out", index + 1)
    return value


def _conductances(path: Path, lines: NDArray[np.int64], resistance: Array) -> Array:
    bad = np.flatnonzero(resistance <= 0)
    if len(bad):
        raise _error(path, int(lines[bad[0]]), f"a resistance must be > 0, got {resistance[bad[0]]:g} ohm")
    return 1.0 / resistance


def _check(path: Path, table: Table) -> None:
    """What numbers must obey beyond being numbers."""

    def refuse(where: NDArray[np.bool_], message: str) -> None:
        bad = np.flatnonzero(where)
        if len(bad):
            raise _error(path, int(table.lines[bad[0]]), message)

    if table.kind == "iv":
        refuse(np.diff(table["time"], prepend=-np.inf) <= 0, "time must increase from row to row")
        if len(table) < 8:
            raise ConfigError("data", f"{path}: a sweep of {len(table)} rows is too short; give at least 8")
    if table.kind == "retention":
        refuse(table["time"] < 0, "time since programming must be >= 0")
    if table.kind == "programming":
        refuse(table["target"] < 0, "a target conductance must be >= 0")
    if table.kind == "pulses":
        if "polarity" in table:
            refuse(~np.isin(table["polarity"], (-1.0, 0.0, 1.0)), "polarity must be 1, -1 or (before a pulse) 0")
        elif not ("amplitude" in table and "width" in table):
            raise _error(
                path, int(table.lines[0]) - 1, "kind=pulses needs a column 'polarity', or 'amplitude_v' and 'width_s'"
            )
        if "width" in table:
            refuse(table["width"] < 0, "a pulse width must be >= 0")


def _error(path: Path, line: int, message: str, column: int | None = None) -> ConfigError:
    where = f"line {line}" if column is None else f"line {line}, column {column}"
    return ConfigError("data", f"{path}, {where}: {message}")
