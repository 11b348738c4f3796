"""Repeated reads of programmed cells become a `device=table`: `memristor fit device=table kind=reads`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from memristor_plugins.devices import table_from_reads
from memristor_plugins.devices.table_from_reads import ReadStatistics
from memristor_plugins.errors import ConfigError
from memristor_plugins.fitting.problem import Overlay
from memristor_plugins.units import UNITS

LAGS = 50


def target(text: str) -> float:
    """A target conductance in siemens: `25us`, `40kohm`, or a number of siemens.

    Raises:
        ConfigError: naming `target`.
    """
    low = text.strip().lower()
    for units, inverse in ((UNITS["conductance"], False), (UNITS["resistance"], True)):
        for unit in sorted(units, key=len, reverse=True):
            if low.endswith(unit) and _number(low.removesuffix(unit)) is not None:
                value = (_number(low.removesuffix(unit)) or 0.0) * units[unit]
                if value > 0:
                    return 1 / value if inverse else value
    plain = _number(low)
    if plain is None or plain <= 0:
        raise ConfigError("target", f"must be a conductance or a resistance > 0, such as 25us or 40kohm, got '{text}'")
    return plain


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def summaries(paths: Sequence[Path], targets: Sequence[str], factor: float) -> tuple[list[ReadStatistics], Overlay]:
    """Statistics of each file of reads, and measured and tabled correlations of reads against their distance.

    Args:
        paths: one file a target.
        targets: as typed, as many.
        factor: a cell has failed beyond target / factor or target * factor.

    Raises:
        ConfigError: counts that differ, files that cannot be used.
    """
    if len(targets) != len(paths):
        raise ConfigError("target", f"{len(paths)} files of reads need as many targets, got {len(targets)}")
    rows, x, measured, fitted, series = [], [], [], [], []
    for path, text in zip(paths, targets, strict=True):
        names, g = table_from_reads.read_cells(path)
        row = table_from_reads.summarise(g, target(text), names=names, factor=factor)
        rows.append(row)
        failed = {*row.failed_low, *row.failed_high}
        good = g[torch.tensor([name not in failed for name in names])]
        centred = (good - good.mean(dim=1, keepdim=True)).numpy()
        count = centred.shape[1]
        power = float((centred**2).mean())
        tabled = _expected(row, count)
        for lag in range(1, min(LAGS, count // 2) + 1):
            x.append(float(lag))
            measured.append(float((centred[:, lag:] * centred[:, :-lag]).mean()) / power if power > 0 else 0.0)
            fitted.append(tabled[lag])
            series.append(f"{row.target * 1e6:.3g} uS")
    shown = Overlay(
        np.array(x), np.array(measured), np.array(fitted), None, "distance between reads (reads)",
        "correlation about each cell's mean", tuple(series),
    )  # fmt: skip
    return rows, shown


def _expected(row: ReadStatistics, count: int) -> list[float]:
    """Correlations that records of `count` reads of the table's process have once each record's mean is taken away."""
    i = np.arange(count)
    lag = np.abs(i[:, None] - i)
    c, phi = row.process.lasting, row.process.decay
    gamma = np.where(lag == 0, 1.0, c * np.power(phi, lag))
    centred = gamma - gamma.mean(0, keepdims=True)
    centred = centred - centred.mean(1, keepdims=True)
    diagonals = [float(np.diagonal(centred, k).mean()) for k in range(count // 2 + 1)]
    return [d / diagonals[0] for d in diagonals]


def record(rows: Sequence[ReadStatistics], names: Sequence[str]) -> Any:
    """As JSON holds it."""
    return {
        "device": "table",
        "kind": "reads",
        "files": [
            {"data": name, **asdict(row)}
            | {"process": row.process._asdict(), "failed": len(row.failed_low) + len(row.failed_high)}
            for name, row in zip(names, rows, strict=True)
        ],
    }


def lines(rows: Sequence[ReadStatistics]) -> list[str]:
    """What a person wants to know of each file, failed cells by name."""
    told = []
    for row in rows:
        p = row.process
        told.append(
            f"target {row.target * 1e6:.4g} uS: mean {row.mean * 1e6:.4g} uS, spread {row.std * 1e6:.3g} uS between "
            f"cells, {p.std * 1e6:.3g} uS between reads, correlation {p.lag_1:.2f} of neighbouring reads and "
            f"{p.lag_10:.2f} ten apart"
        )
        failed = [("far below", row.failed_low, row.failed_low_g), ("far above", row.failed_high, row.failed_high_g)]
        for side, names, g in failed:
            if names:
                told.append(f"  failed {side}, {len(names)} of {row.cells} cells ({g * 1e6:.3g} uS): {' '.join(names)}")
        if not any(names for _, names, _ in failed):
            told.append(f"  none of {row.cells} cells failed")
    return told
