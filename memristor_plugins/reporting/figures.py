"""The figures of one run, as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito 2008: distinct in print and for colour-blind readers.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442", "#000000")


def _figure(width: float = 6.4, height: float = 4.0) -> Figure:
    from matplotlib.figure import Figure as Canvas  # without pyplot: no global state, no window

    return Canvas(figsize=(width, height), dpi=150, layout="constrained")


def chips(path: Path, digital: float, rows: Sequence[tuple[int, float, float]], caption: str) -> None:
    """Accuracy against time since programming: one line a chip, their mean, and the digital network.

    Args:
        path: of the PNG.
        digital: accuracy of the digital network, a fraction.
        rows: (chip, seconds, accuracy) of each measurement.
        caption: what was measured, on what data.
    """
    figure = _figure()
    axes = figure.subplots()
    times = sorted({t for _, t, _ in rows})
    for chip in sorted({c for c, _, _ in rows}):
        points = sorted((t, 100 * a) for c, t, a in rows if c == chip)
        axes.plot(*zip(*points, strict=True), color="#999999", linewidth=0.8, marker=".", zorder=1)
    means = [_mean([100 * a for _, t, a in rows if t == at]) for at in times]
    axes.plot(times, means, color=COLOURS[0], marker="o", linewidth=2, label="mean of chips", zorder=3)
    axes.plot([], [], color="#999999", marker=".", linewidth=0.8, label="one chip")
    axes.axhline(100 * digital, color=COLOURS[3], linestyle="--", label="digital")
    if min(times) > 0:
        axes.set_xscale("log")
    axes.set_xlabel("time since programming (s)")
    axes.set_ylabel("test accuracy (%)")
    axes.legend(frameon=False)
    axes.set_title(caption, fontsize=9)
    figure.savefig(path)


def si(value: float, unit: str) -> str:
    """A value with an SI prefix and three digits: 1.23e-06, "J" -> "1.23 µJ"."""
    for factor, prefix in ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p"), (1e-15, "f")):
        if abs(value) >= factor:
            return f"{value / factor:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}"


def ratio(value: float) -> str:
    """A factor with three digits: 1482.1 -> "1,480 x"."""
    return f"{float(f'{value:.3g}'):,.10g} x"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
