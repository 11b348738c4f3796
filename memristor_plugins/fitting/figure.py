"""The overlay figure of a fit: what was measured, what the fitted device says, and what is left."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from memristor_plugins.fitting.problem import Overlay
from memristor_plugins.reporting.figures import COLOURS

MARKERS = "os^vDPX*"
PREFIXES = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p"))


def overlay(path: Path, shown: Overlay, caption: str) -> None:
    """Measured points with their standard errors and the fitted line above, residuals over the range below.

    Args:
        path: of the PNG.
        shown: of the fit.
        caption: what was fitted to what, and how well.
    """
    from matplotlib.figure import Figure  # without pyplot: no global state, no window

    # A correlation has no unit, and none of its prefixes.
    unit, factor = _unit(shown.measured) if "(" in shown.y_label else ("", 1.0)
    figure = Figure(figsize=(6.4, 5.2), dpi=150, layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    series = np.array(shown.series if shown.series is not None else [""] * len(shown.x))
    extent = float(np.ptp(shown.measured))
    for k, name in enumerate(dict.fromkeys(series)):
        own = np.flatnonzero(series == name)
        x, colour = shown.x[own], COLOURS[k % len(COLOURS)]
        of = f"{name}, " if name else ""
        bars = None if shown.error is None else shown.error[own] / factor
        upper.errorbar(
            x, shown.measured[own] / factor, yerr=bars, fmt=MARKERS[k % len(MARKERS)], color=colour, markersize=3.5,
            markerfacecolor="none", markeredgewidth=0.8, elinewidth=0.8, label=f"{of}measured",
        )  # fmt: skip
        line = COLOURS[3] if len(set(series)) == 1 else colour
        upper.plot(x, shown.fitted[own] / factor, color=line, linewidth=1.5, label=f"{of}fitted", zorder=3)
        rest = 100 * (shown.fitted[own] - shown.measured[own]) / extent
        lower.plot(x, rest, color=line, linewidth=0.9, marker=MARKERS[k % len(MARKERS)], markersize=2)
    upper.set_ylabel(shown.y_label.replace("(", f"({unit}"))
    lower.axhline(0.0, color="#999999", linewidth=0.8)
    lower.set_ylabel("fitted - measured\n(% of range)")
    lower.set_xlabel(shown.x_label)
    if shown.x.min() > 0 and shown.x.max() / shown.x.min() > 100:
        lower.set_xscale("log")
    upper.legend(frameon=False, fontsize=8)
    upper.set_title("\n".join(textwrap.fill(line, 78) for line in caption.split("\n")), fontsize=9)
    figure.savefig(path)


def _unit(values: NDArray[np.float64]) -> tuple[str, float]:
    """SI prefix that brings the largest value to between 1 and 1000."""
    largest = float(np.abs(values).max())
    factor, prefix = next(((f, p) for f, p in PREFIXES if largest >= f), PREFIXES[-1])
    return prefix, factor
