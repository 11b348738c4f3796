"""The file behind `device=table`: measured statistics of programmed cells, a CSV with units in its headers.

One row for each target and time. Conductances in `us`, `ns`, `ms`, `s`; times in `s`, `ms`, `h`, `d`, ...

    column              what
    target_us           conductance that was asked for
    time_s              since programming (optional; without it the statistics hold at all times)
    mean_us, std_us     of the cells' own conductances, failed cells left out
    read_std_us         of single reads of one cell about its own conductance (optional, 0)
    read_correlation_1  between reads that follow each other, and ten reads apart (optional, 0)
    read_correlation_10
    failed_low          share of cells that failed far below the target (optional, 0), and what those hold
    failed_low_g_us
    failed_high         the same far above
    failed_high_g_us
    cells               how many cells were measured (optional, for reports)

Every target needs the same times. Lines that begin with `#` and empty lines are skipped, further columns are an error:
a misspelt one would be ignored otherwise.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from memristor_plugins.errors import ConfigError, MemristorError, nearest
from memristor_plugins.units import parse

QUANTITIES: Mapping[str, str] = {
    "target": "conductance",
    "time": "time",
    "mean": "conductance",
    "std": "conductance",
    "read_std": "conductance",
    "read_correlation_1": "",
    "read_correlation_10": "",
    "failed_low": "",
    "failed_low_g": "conductance",
    "failed_high": "",
    "failed_high_g": "conductance",
    "cells": "",
}
SHARES = ("read_correlation_1", "read_correlation_10", "failed_low", "failed_high")
OPTION = "device.file"


@dataclass(frozen=True)
class Statistics:
    """Measured statistics in SI units.

    Args:
        targets: ascending, siemens, [targets].
        times: ascending, seconds, [times].
        values: by quantity, each [times, targets]; 0 where the file has no such column.
    """

    targets: Tensor
    times: tuple[float, ...]
    values: Mapping[str, Tensor]

    def __getitem__(self, quantity: str) -> Tensor:
        return self.values[quantity]


def read(path: Path) -> Statistics:
    """Read a table.

    Raises:
        ConfigError: naming `device.file`, with line and column: no such file, an unknown or missing column, a
            wrong unit, a field that is empty, no number or out of range, a doubled row, a missing combination.
    """
    header_line, headers, rows = _rows(path)
    names, factors = _columns(path, header_line, headers)
    if not rows:
        raise ConfigError(OPTION, f"{path}, line {header_line}: has a header and no rows")
    points: dict[tuple[float, float], dict[str, float]] = {}
    for line, row in rows:
        if len(row) != len(headers):
            raise ConfigError(OPTION, f"{path}, line {line}: has {len(row)} fields, the header has {len(headers)}")
        point = {
            name: _number(path, line, i, headers[i], text, name) * factors[i]
            for i, (name, text) in enumerate(zip(names, row, strict=True))
        }
        if point.get("failed_low", 0.0) + point.get("failed_high", 0.0) > 1:
            raise ConfigError(OPTION, f"{path}, line {line}: failed_low + failed_high is above 1")
        key = (point.get("time", 0.0), point["target"])
        if key in points:
            raise ConfigError(
                OPTION, f"{path}, line {line}: target {key[1]:g} S at {key[0]:g} s stands in the file already"
            )
        points[key] = point
    times, targets = sorted({t for t, _ in points}), sorted({g for _, g in points})
    for t in times:
        for g in targets:
            if (t, g) not in points:
                raise ConfigError(
                    OPTION, f"{path}: target {g:g} S has no row at {t:g} s; every target needs the same times"
                )
    values = {
        name: torch.tensor([[points[t, g].get(name, 0.0) for g in targets] for t in times], dtype=torch.float64)
        for name in QUANTITIES
    }
    return Statistics(torch.tensor(targets, dtype=torch.float64), tuple(times), values)


def _rows(path: Path) -> tuple[int, list[str], list[tuple[int, list[str]]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError(OPTION, f"no such file: {path}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(OPTION, f"{path} cannot be read: {' '.join(str(error).split())}") from error
    reader = csv.reader(text.splitlines())
    kept = []
    for row in reader:
        if any(field.strip() for field in row) and not row[0].lstrip().startswith("#"):
            kept.append((reader.line_num, row))
    if not kept:
        raise ConfigError(
            OPTION, f"{path} is empty; its first line names the columns, such as target_us,mean_us,std_us"
        )
    return kept[0][0], kept[0][1], kept[1:]


def _columns(path: Path, line: int, headers: list[str]) -> tuple[list[str], list[float]]:
    names: list[str] = []
    factors: list[float] = []
    for index, text in enumerate(headers, start=1):
        where = f"{path}, line {line}, column {index}"
        try:
            header = parse(text, QUANTITIES)
        except MemristorError as error:
            raise ConfigError(OPTION, f"{where}: {error}") from error
        if header is None:
            raise ConfigError(
                OPTION, f"{where}: no such column as '{text.strip()}'; {nearest(text.strip(), QUANTITIES)}"
            )
        if header.quantity in names:
            raise ConfigError(OPTION, f"{where}: '{text.strip()}' gives the {header.quantity} a second time")
        names.append(header.quantity)
        factors.append(header.factor)
    for name in ("target", "mean", "std"):
        if name not in names:
            raise ConfigError(
                OPTION, f"{path}, line {line}: needs a column '{name}_us'; the file has {', '.join(headers)}"
            )
    for name in ("failed_low", "failed_high"):
        if name in names and f"{name}_g" not in names:
            raise ConfigError(OPTION, f"{path}, line {line}: '{name}' needs '{name}_g_us', what such cells hold")
    return names, factors


def _number(path: Path, line: int, index: int, header: str, text: str, name: str) -> float:
    where = f"{path}, line {line}, column {index + 1}: '{header.strip()}'"
    if not text.strip():
        raise ConfigError(OPTION, f"{where} is empty")
    try:
        value = float(text)
    except ValueError:
        raise ConfigError(OPTION, f"{where} is no number: '{text.strip()[:40]}'") from None
    if not math.isfinite(value):
        raise ConfigError(OPTION, f"{where} is not finite: '{text.strip()}'")
    if value < 0:
        raise ConfigError(OPTION, f"{where} must be >= 0, got {value:g}")
    if name in SHARES and value > 1:
        raise ConfigError(OPTION, f"{where} must be at most 1, got {value:g}")
    return value
