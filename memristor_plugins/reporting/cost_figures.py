"""Figures of what an inference costs, as PNG."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log10
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memristor_plugins.energy.comparison import against, batches, levels
from memristor_plugins.interfaces.energy import CostReport
from memristor_plugins.reporting.figures import COLOURS, ratio, si

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Components that are told apart; the others are drawn as one. Hatches keep them apart without colour.
SHOWN = 7
FILLS = (*COLOURS[:6], "#999999")
HATCHES = ("", "///", "", "...", "xxx", "", "\\\\\\")
UNITS = ((1.0, "J"), (1e-3, "mJ"), (1e-6, "\u00b5J"), (1e-9, "nJ"), (1e-12, "pJ"))


@dataclass(frozen=True)
class Variation:
    """What one setting does to the energy, alone.

    Args:
        setting: what is varied.
        low, high: its values, in words.
        ratios: by boundary, energy at `low` and at `high` over that at the setting as it is.
    """

    setting: str
    low: str
    high: str
    ratios: Mapping[str, tuple[float, float]]

    def spread(self, boundary: str) -> float:
        """Larger of the two energies over the smaller, of those and the setting as it is."""
        values = (*self.ratios[boundary], 1.0)
        return max(values) / min(values) if min(values) > 0 else float("inf")


def _canvas(width: float, height: float, caption: Sequence[str]) -> Figure:
    from matplotlib.figure import Figure as Canvas  # without pyplot: no global state, no window

    told = "\n".join(textwrap.fill(line, int(16.5 * width)) for line in caption)
    figure = Canvas(figsize=(width, height + 0.13 * (told.count("\n") + 1)), dpi=150, layout="constrained")
    figure.supxlabel(told, fontsize=7, color="#444444", x=0.02, ha="left")
    return figure


def layers(path: Path, report: CostReport, data: str) -> None:
    """Energy of each layer, stacked by component; the largest components by name."""
    names = list(report.by_layer())
    ranked = [name for name, joules in report.by_component().items() if joules > 0]
    chosen = ranked if len(ranked) <= SHOWN else ranked[: SHOWN - 1]
    heights = {name: dict.fromkeys(names, 0.0) for name in (*chosen, *(["other"] if len(chosen) < len(ranked) else []))}
    for entry in report.entries:
        if entry.energy_j > 0:
            heights[entry.component if entry.component in chosen else "other"][entry.layer] += entry.energy_j
    size, unit = next(((s, u) for s, u in UNITS if max(report.by_layer().values()) >= s), UNITS[-1])
    figure = _canvas(max(6.4, 2.6 + 0.36 * len(names)), 4.2, report.assumptions)
    axes = figure.subplots()
    bottom = [0.0] * len(names)
    for (component, of), colour, hatch in zip(heights.items(), FILLS, HATCHES, strict=False):
        values = [of[name] / size for name in names]
        share = sum(of.values()) / report.total_j
        axes.bar(
            names,
            values,
            bottom=bottom,
            color=colour,
            hatch=hatch,
            edgecolor="white",
            linewidth=0.4,
            label=f"{component}, {share:.1%}",
        )
        bottom = [b + v for b, v in zip(bottom, values, strict=True)]
    axes.set_ylabel(f"energy of one inference ({unit})")
    axes.tick_params(axis="x", rotation=60 if len(names) > 4 else 0, labelsize=8)
    axes.legend(frameon=False, fontsize=8)
    axes.set_title(f"{data}: {si(report.total_j, 'J')} on {report.estimator}, by layer and component", fontsize=9)
    figure.savefig(path)


def comparison(path: Path, reports: Mapping[str, CostReport], data: str) -> None:
    """The chip inside each boundary beside every reference, on a log axis, with the ratios of all pairs."""
    chip, references = against(reports)
    rows: list[tuple[str, float, str]] = []
    for level in levels(chip, references):
        if level.energy_j is not None:
            told = ", ".join(f"{r.reference} {ratio(r.ratio)}".replace(" ", "\u00a0") for r in level.ratios)
            rows.append((f"{chip.estimator}, {level.boundary}", level.energy_j, told))
    for report in references:
        apart = f"batch {report.batch} (the chip: {chip.batch})" if batches(chip, report) else f"batch {report.batch}"
        rows.append((report.estimator, report.total_j, apart))
    rows = [row for row in rows if row[1] > 0]
    rows.reverse()
    caption = ["At the chip's bars: how many times its energy each reference takes.", *chip.assumptions]
    caption += [f"{r.estimator}: {line}" for r in references for line in r.assumptions[:3]]
    figure = _canvas(8.6, 1.2 + 0.55 * len(rows), caption)
    axes = figure.subplots()
    values = [joules for _, joules, _ in rows]
    own = [name.startswith(f"{chip.estimator}, ") for name, _, _ in rows]
    bars = axes.barh(
        [name for name, _, _ in rows],
        values,
        color=[COLOURS[0] if mine else COLOURS[1] for mine in own],
        height=0.55,
    )
    for bar, (_, joules, told) in zip(bars, rows, strict=True):
        y = bar.get_y() + bar.get_height() / 2
        axes.annotate(
            f"{si(joules, 'J')}\n{textwrap.fill(told, 62)}",
            (joules, y),
            (4, 0),
            textcoords="offset points",
            fontsize=7,
            va="center",
            linespacing=1.2,
        )
    axes.set_xscale("log")
    # As many decades as leave room for what is written at the chip's bars, and at the references'.
    ours = max(v for v, mine in zip(values, own, strict=True) if mine)
    decades = max((1 + log10(ours / min(values))) / 0.4, (1 + log10(max(values) / min(values))) / 0.85)
    axes.set_xlim(min(values) / 10, min(values) / 10 * 10**decades)
    axes.set_xlabel("energy of one inference (J)")
    axes.set_title(f"{data}: one inference", fontsize=9)
    figure.savefig(path)


def sensitivity(path: Path, variations: Sequence[Variation], caption: Sequence[str], data: str) -> None:
    """Each setting alone, halved and doubled: energy over that as it is, most important at the top of each panel."""
    names = list(variations[0].ratios)
    figure = _canvas(4.4 * len(names), 1.3 + 0.5 * len(variations), caption)
    for axes, boundary in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        ranked = sorted(variations, key=lambda v: v.spread(boundary))
        for place, variation in enumerate(ranked):
            low, high = variation.ratios[boundary]
            for value, colour, hatch in ((low, COLOURS[1], "///"), (high, COLOURS[0], "")):
                axes.barh(place, value - 1, left=1, color=colour, hatch=hatch, edgecolor="white", height=0.6)
            smaller, larger = sorted(((low, variation.low), (high, variation.high)))
            for (value, label), side, gap in ((smaller, "right", -3), (larger, "left", 3)):
                at = min(value, 1.0) if side == "right" else max(value, 1.0)
                axes.annotate(
                    f"{label}: {value:.3g}",
                    (at, place),
                    (gap, 0),
                    textcoords="offset points",
                    fontsize=6.5,
                    ha=side,
                    va="center",
                )
        axes.axvline(1, color="#000000", linewidth=0.8)
        axes.set_yticks(range(len(ranked)), [v.setting for v in ranked], fontsize=8)
        reach = max(max(v.ratios[boundary]) for v in variations), min(min(v.ratios[boundary]) for v in variations)
        span = max(reach[0] - reach[1], 0.02)
        axes.set_xlim(min(reach[1], 1) - 0.6 * span, max(reach[0], 1) + 0.5 * span)
        axes.set_xticks([t for t in axes.get_xticks() if t >= 0 and axes.get_xlim()[0] <= t <= axes.get_xlim()[1]])
        axes.set_xlabel("energy over that with the setting as it is")
        axes.set_title(boundary, fontsize=9)
    figure.suptitle(f"{data}: what matters most, one setting at a time", fontsize=9)
    figure.savefig(path)


def sweep(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Accuracy against the energy of an inference, one point a finished job of a sweep.

    Accuracy is the mean on chips at the first time, where there are chips, else digital. Nothing is drawn before two
    jobs have told both.
    """
    on_chips = next((key for row in rows for key in row if key.startswith("chips/accuracy_mean_")), "test/accuracy")
    energies = [key for row in rows for key in row if key.startswith("energy/") and key.endswith("_full_system_j")]
    points = [
        (float(row[energies[0]]), 100 * float(row[on_chips]), str(row["settings"]))
        for row in rows
        if energies and energies[0] in row and on_chips in row
    ]
    if len(points) < 2:
        return
    figure = _canvas(6.4, 4.2, [f"One point a job: {on_chips} against {energies[0]} of results.csv."])
    axes = figure.subplots()
    axes.scatter([x for x, _, _ in points], [y for _, y, _ in points], color=COLOURS[0], zorder=3)
    for x, y, told in points:
        axes.annotate(told, (x, y), (4, 3), textcoords="offset points", fontsize=6.5)
    axes.set_xscale("log")
    axes.margins(x=0.25, y=0.15)
    axes.grid(visible=True, color="#dddddd", linewidth=0.5)
    axes.set_xlabel("energy of one inference, full system (J)")
    axes.set_ylabel("accuracy on chips (%)" if on_chips != "test/accuracy" else "test accuracy, digital (%)")
    axes.set_title("accuracy against energy", fontsize=9)
    figure.savefig(path)
