"""Repeated reads of programmed cells become a table for `device=table`.

A file of reads has one row a cell, `cell` and then one column a read: `resistance_ohm_0`, `resistance_ohm_1`, ... or
`conductance_us_0`, ... All cells of a file were programmed to one target.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from memristor_plugins.devices import correlated_reads
from memristor_plugins.devices.correlated_reads import ReadProcess
from memristor_plugins.errors import ConfigError, MemristorError
from memristor_plugins.units import parse

OPTION = "data"
FEWEST_READS = 20


@dataclass(frozen=True)
class ReadStatistics:
    """What repeated reads of cells of one target say, in siemens.

    Args:
        target: what was asked for.
        cells: how many cells were read.
        mean: of the conductances of cells that have not failed.
        std: deviation of their own conductances, noise of the average taken out.
        process: noise of their reads, all cells together.
        failed_low, failed_high: names of cells far below and far above the target.
        failed_low_g, failed_high_g: geometric means of what those hold; 0 where there are none.
    """

    target: float
    cells: int
    mean: float
    std: float
    process: ReadProcess
    failed_low: tuple[str, ...]
    failed_high: tuple[str, ...]
    failed_low_g: float
    failed_high_g: float


def summarise(g: Tensor, target: float, *, names: Sequence[str] | None = None, factor: float = 2.0) -> ReadStatistics:
    """Statistics of reads `g` [cells, reads] in siemens (> 0) of cells programmed to `target` siemens.

    A cell has failed where its median read is beyond target / factor or target * factor. (A factor of 2 is assumed;
    what was accepted as programmed is the experimenter's to know.)

    The spread of the cells' averages contains noise of the average; its expected variance is taken off. Read noise
    is fitted to what is left of each cell after its own average is taken off (`correlated_reads.fit`).

    Raises:
        ConfigError: fewer than two good cells or 20 reads.
    """
    if g.dim() != 2 or g.shape[1] < FEWEST_READS:
        reads = g.shape[1] if g.dim() == 2 else 0
        raise ConfigError(
            OPTION, f"correlations ten reads apart need at least {FEWEST_READS} reads a cell, got {reads}"
        )
    g = g.double()
    labels = [str(i) for i in range(len(g))] if names is None else list(names)
    middle = g.median(dim=1).values
    low, high = middle < target / factor, middle > target * factor
    good = g[~(low | high)]
    if len(good) < 2:
        raise ConfigError(
            OPTION, f"{len(good)} of {len(g)} cells lie within a factor of {factor:g} of {target:g} S; check the target"
        )
    process = correlated_reads.fit(good)
    averages = good.mean(dim=1)
    noise = correlated_reads.variance_of_mean(process, g.shape[1])
    return ReadStatistics(
        target=target,
        cells=len(g),
        mean=float(averages.mean()),
        std=math.sqrt(max(float(averages.var()) - noise, 0.0)),
        process=process,
        failed_low=tuple(label for label, is_low in zip(labels, low.tolist(), strict=True) if is_low),
        failed_high=tuple(label for label, is_high in zip(labels, high.tolist(), strict=True) if is_high),
        failed_low_g=_geometric_mean(middle[low]),
        failed_high_g=_geometric_mean(middle[high]),
    )


def _geometric_mean(g: Tensor) -> float:
    return float(g.clamp_min(1e-15).log().mean().exp()) if g.numel() else 0.0


def table(rows: Sequence[ReadStatistics]) -> str:
    """The text of a table file, one row a target, with what failed in comments.

    Raises:
        ConfigError: two rows with one target.
    """
    targets = [row.target for row in rows]
    if len(set(targets)) < len(targets):
        raise ConfigError("target", "each file of reads needs a target of its own")
    out = io.StringIO()
    out.write("# Statistics of repeated reads; failed cells are no part of mean and std.\n")
    for row in sorted(rows, key=lambda r: r.target):
        for side, failed in (("below", row.failed_low), ("above", row.failed_high)):
            if failed:
                out.write(f"# target {row.target * 1e6:.6g} uS: failed {side}: cells {' '.join(failed)}\n")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        [
            "target_us",
            "mean_us",
            "std_us",
            "read_std_us",
            "read_correlation_1",
            "read_correlation_10",
            "failed_low",
            "failed_low_g_us",
            "failed_high",
            "failed_high_g_us",
            "cells",
        ]
    )
    for row in sorted(rows, key=lambda r: r.target):
        numbers = (
            row.target * 1e6,
            row.mean * 1e6,
            row.std * 1e6,
            row.process.std * 1e6,
            max(row.process.lag_1, 0.0),
            max(row.process.lag_10, 0.0),
            len(row.failed_low) / row.cells,
            row.failed_low_g * 1e6,
            len(row.failed_high) / row.cells,
            row.failed_high_g * 1e6,
            row.cells,
        )
        writer.writerow([f"{number:.6g}" for number in numbers])
    return out.getvalue()


def read_cells(path: Path) -> tuple[list[str], Tensor]:
    """Names of the cells and their reads in siemens, [cells, reads], float64.

    Raises:
        ConfigError: naming `data`, with line and column: no such file, a wrong header or unit, a field that is
            missing, no number, or not above zero.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise ConfigError(OPTION, f"no such file: {path}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(OPTION, f"{path} cannot be read: {' '.join(str(error).split())}") from error
    reader = csv.reader(lines)
    rows = [(reader.line_num, row) for row in reader if any(f.strip() for f in row) and not row[0].startswith("#")]
    if len(rows) < 2:
        raise ConfigError(
            OPTION, f"{path} has no rows; a header cell,resistance_ohm_0,... and one row a cell is needed"
        )
    (header_line, headers), body = rows[0], rows[1:]
    if headers[0].strip() != "cell":
        raise ConfigError(OPTION, f"{path}, line {header_line}, column 1: must be 'cell', got '{headers[0].strip()}'")
    columns = [_read_header(path, header_line, i, text) for i, text in enumerate(headers[1:], start=2)]
    names, values = [], []
    for line, row in body:
        if len(row) != len(headers):
            raise ConfigError(OPTION, f"{path}, line {line}: has {len(row)} fields, the header has {len(headers)}")
        names.append(row[0].strip())
        values.append([_conductance(path, line, i, f, *columns[i - 2]) for i, f in enumerate(row[1:], start=2)])
    return names, torch.tensor(values, dtype=torch.float64)


def _read_header(path: Path, line: int, column: int, text: str) -> tuple[str, float]:
    name, _, number = text.strip().rpartition("_")
    where = f"{path}, line {line}, column {column}"
    try:
        header = parse(name, {"resistance": "resistance", "conductance": "conductance"})
    except MemristorError as error:
        raise ConfigError(OPTION, f"{where}: {error}") from error
    if header is None or not number.isdigit():
        raise ConfigError(OPTION, f"{where}: must be such as 'resistance_ohm_{column - 2}', got '{text.strip()}'")
    return header.quantity, header.factor


def _conductance(path: Path, line: int, column: int, text: str, quantity: str, factor: float) -> float:
    where = f"{path}, line {line}, column {column}"
    try:
        value = float(text) * factor
    except ValueError:
        raise ConfigError(OPTION, f"{where}: is no number: '{text.strip()[:40]}'") from None
    if not (math.isfinite(value) and value > 0):
        raise ConfigError(OPTION, f"{where}: a {quantity} must be > 0, got '{text.strip()}'")
    return 1 / value if quantity == "resistance" else value
