"""Draws panels side by side, the conditions below them."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from memristor_plugins.reporting.figures import COLOURS
from memristor_plugins.reporting.panels import Axis, Panel, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Without the yellow, which cannot be seen on paper.
PALETTE = (*COLOURS[:6], "#000000", "#777777")
# Beside colours: lines stay apart in a black and white print.
DASHES = ("-", (0, (5, 1.5)), "-.", (0, (1.5, 1)), (0, (5, 1, 1, 1, 1, 1)), "-", "-", "-")
MARKERS = "os^vDPX*"
PREFIXES = ((1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p"), (1e-15, "f"))
WIDTH, HEIGHT = 4.1, 3.7  # inches of a panel


def draw(path: Path, panels: Sequence[Panel], *, title: str, caption: str) -> None:
    """Write a figure as PNG; arguments as of `compose`."""
    compose(panels, title=title, caption=caption).savefig(path)


def compose(panels: Sequence[Panel], *, title: str, caption: str) -> Figure:
    """A figure of panels.

    Args:
        panels: from left to right.
        title: above the panels.
        caption: below them.
    """
    from matplotlib.figure import Figure as Canvas  # without pyplot: no global state, no window

    width = max(WIDTH * len(panels), 5.6)
    # A number stays with its unit, and |a - b| in one line.
    caption = re.sub(r"\|[^|]*\|", lambda formula: formula[0].replace(" ", "\u00a0"), caption)
    caption = re.sub(r"(?<=\d) (?=[fpnµmkM]?(?:S|V|A|s|J|V/s)\b|%)", "\u00a0", caption)
    caption = textwrap.fill(caption, int(15.5 * width))
    height = HEIGHT + 0.3 + 0.14 * (caption.count("\n") + 1)
    figure = Canvas(figsize=(width, height), dpi=150, layout="constrained")
    figure.suptitle(title, fontsize=10, fontweight="bold")
    figure.supxlabel(caption, fontsize=7.5, color="#444444", x=0.5, ha="center")
    row = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, panel in zip(row, panels, strict=True):
        _panel(axes, panel)
    return figure


def _panel(axes: Axes, panel: Panel) -> None:
    from matplotlib.ticker import LogFormatterMathtext, LogLocator, NullFormatter

    everything = [s.x for s in panel.series], [s.y for s in panel.series]
    (x_unit, x_factor), (y_unit, y_factor) = (_unit(a, v) for a, v in zip((panel.x, panel.y), everything, strict=True))
    for series in panel.series:
        _series(axes, series, x_factor, y_factor, positive=panel.y.scale == "log")
    axes.set_xlabel(_label(panel.x, x_unit))
    axes.set_ylabel(_label(panel.y, y_unit))
    axes.set_xscale(panel.x.scale)
    axes.set_yscale(panel.y.scale)
    for name, axis, told in (("x", axes.xaxis, panel.x), ("y", axes.yaxis, panel.y)):
        if told.scale == "linear":
            axes.ticklabel_format(axis=name, useOffset=False)  # type: ignore[arg-type]
            continue
        low, high = sorted(axis.get_view_interval())
        if high < 30 * low:  # about a decade: 1, 2, 5 and 10 as they are, where powers of ten would be too few
            axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high > 3 * low else (1, 1.5, 2, 3, 4, 5, 6, 8)))
            axis.set_major_formatter("{x:g}")
        else:
            axis.set_major_formatter(LogFormatterMathtext())
        axis.set_minor_formatter(NullFormatter())
    if panel.x.scale == "linear":
        axes.locator_params(axis="x", nbins=8)  # more would touch each other, and long ones sooner
        ticks = axes.xaxis.get_major_formatter().format_ticks(axes.xaxis.get_majorticklocs().tolist())
        if max(map(len, ticks)) > 6:
            axes.locator_params(axis="x", nbins=5)
    if panel.y.zero:
        axes.set_ylim(0, 1.04 * axes.get_ylim()[1])
    axes.tick_params(labelsize=8)
    axes.grid(visible=True, color="#dddddd", linewidth=0.5)
    axes.set_axisbelow(True)
    labels = [s.label for s in panel.series if s.label]
    if labels:
        # Above the axes: what lies within would hide data of one device or another.
        inches = 0.058 * max(map(len, labels)) + 0.45
        columns = max(1, min(3, int(WIDTH / inches)))
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=columns, frameon=False, fontsize=7)


def _series(axes: Axes, series: Series, x_factor: float, y_factor: float, *, positive: bool) -> None:
    colour = PALETTE[series.colour]
    dash = DASHES[series.colour] if series.style in ("line", "both") else "--"
    x, y = series.x / x_factor, series.y / y_factor
    shown = torch.isfinite(y) & (y > 0) if positive else torch.isfinite(y)
    y = torch.where(shown, y, torch.nan)  # a gap, so that no line crosses it
    if series.band is not None:
        low, high = (b / y_factor for b in series.band)
        axes.fill_between(x.tolist(), low.tolist(), high.tolist(), color=colour, alpha=0.2, linewidth=0)
    axes.errorbar(
        x.tolist(),
        y.tolist(),
        yerr=None if series.error is None else (series.error / y_factor).tolist(),
        color=colour,
        linestyle="none" if series.style == "points" else dash,
        linewidth=1.0 if series.style == "both" else 1.4,
        marker="" if series.style in ("line", "dashed") else MARKERS[series.colour],
        markersize=2.5 if series.style == "both" else 3.5,
        elinewidth=0.8,
        capsize=1.5,
        label=series.label,
        zorder=2 if series.style == "points" else 3,
    )


def _unit(axis: Axis, values: Sequence[Tensor]) -> tuple[str, float]:
    """Unit with the SI prefix that brings the largest value to between 1 and 1000, and its factor."""
    if axis.unit in ("", "%") or (axis.unit == "s" and axis.scale == "log"):
        return axis.unit, 1.0
    whole = torch.cat([v.reshape(-1) for v in values])
    whole = whole[torch.isfinite(whole)].abs()
    largest = float(whole.max()) if whole.numel() else 1.0
    factor, prefix = next(((f, p) for f, p in PREFIXES if largest >= f * 0.9995), (1.0, ""))
    return f"{prefix}{axis.unit}", factor


def _label(axis: Axis, unit: str) -> str:
    return f"{axis.label} ({unit})" if unit else axis.label
