"""A sweep's lines as Markdown, and its figure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import isnan
from pathlib import Path
from textwrap import fill

from memristor_plugins.reporting.figures import COLOURS, si
from memristor_plugins.reproduce.headline_table import NOT_RUN, percent
from memristor_plugins.reproduce.statistics import Estimate, estimate
from memristor_plugins.reproduce.sweep import Sweep

Row = Mapping[str, str]
AXES = {"width": "width", "cells": "cells", "conversions": "ADC conversions an image", "joules": "energy an image (J)"}


def _by_point(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["point"]].append(row)
    return found


def _seeds(rows: Sequence[Row]) -> Estimate:
    """Over seeds, what comes of one averaged first."""
    own: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        own[row["seed"]].append(float(row["val_accuracy"]))
    return estimate([sum(v) / len(v) for v in own.values()])


def table(sweep: Sweep, data: str, lines: Sequence[Row], chips: Sequence[Row]) -> str:
    """Every line with its validation accuracy, on chips where there are some, and its costs."""
    trained, on_chips = _by_point(lines), _by_point(chips)
    header = ["line", "validation images, digital"]
    header += [f"on {sweep.chips} chips"] if sweep.chips else []
    header += ["cells", "ADC conversions an image", "an image", "training"]
    rows = [header, ["---"] * len(header)]
    for point in sweep.lines():
        own, shared = trained.get(point.of or point.name), on_chips.get(point.name)
        row = [point.name, percent(_seeds(own)) if own else NOT_RUN]
        if sweep.chips:
            row.append(percent(_seeds(shared)) if shared else NOT_RUN)
        if own:
            first = own[0]
            spent = "" if point.of else f"{float(first['seconds']):.0f} s, {first['epochs']} epochs"
            row += [f"{int(first['cells']):,}", f"{float(first['conversions']):,.0f}", si(float(first["joules"]), "J")]
            row.append(spent)
        else:
            row += [NOT_RUN] * 4
        rows.append(row)
    text = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    seeds = ", ".join(map(str, sweep.seeds))
    return (
        f"{sweep.title}. {data}.\n\nValidation images; the test images were not read. Seeds {seeds}: means with 95 % "
        f"intervals of Student's t where there are several. Seconds are of the machine as it was, with other work.\n\n"
        f"{text}\n"
    )


def draw(path: Path, sweep: Sweep, data: str, lines: Sequence[Row], chips: Sequence[Row]) -> None:
    """Accuracy against what a line costs, by kind of network; or bars, one a line."""
    from matplotlib.figure import Figure

    if not lines:
        return
    if sweep.axes:
        figure = Figure(figsize=(9.0, 6.6), dpi=150, layout="constrained")
        grid = figure.subplots(2, 2, sharey=True).flat
        kinds = list(dict.fromkeys(p.name.rpartition(" ")[0] or p.name for p in sweep.lines()))
        for axes, (column, label) in zip(grid, AXES.items(), strict=True):
            for index, kind in enumerate(kinds):
                own = [r for r in lines if (r["point"].rpartition(" ")[0] or r["point"]) == kind]
                if not own:
                    continue
                at = sorted((float(r[column]), 100 * float(r["val_accuracy"])) for r in own)
                style = {"color": COLOURS[index % 8], "marker": "osD^vPX*"[index % 8], "label": kind}
                axes.plot(*zip(*at, strict=True), linewidth=1, markersize=5, **style)
            axes.set_xscale("log", base=2 if column == "width" else 10)
            axes.tick_params(axis="x", which="both", labelsize=7, rotation=30)
            axes.set_xlabel(label)
            axes.set_ylabel("validation accuracy (%)")
        next(iter(figure.axes)).legend(frameon=False, fontsize=6)
        figure.suptitle(f"{sweep.title}; {data}", fontsize=9)
    else:
        trained, on_chips = _by_point(lines), _by_point(chips)
        shown = [p for p in sweep.lines() if (on_chips if sweep.chips else trained).get(p.name)]
        figure = Figure(figsize=(8.0, 1.2 + 0.34 * len(shown)), dpi=150, layout="constrained")
        axes = figure.subplots()
        found = [_seeds((on_chips if sweep.chips else trained)[p.name]) for p in shown]
        axes.errorbar(
            [100 * e.mean for e in found],
            range(len(shown)),
            xerr=[0 if isnan(e.half) else 100 * e.half for e in found],
            fmt="o",
            color=COLOURS[0],
            capsize=3,
        )
        axes.set_yticks(range(len(shown)), [fill(p.name, 48) for p in shown], fontsize=8)
        axes.invert_yaxis()
        # Lines that lie close on an axis with an outlier are told apart by their numbers.
        values = axes.secondary_yaxis("right")
        values.set_yticks(range(len(shown)), [f"{100 * e.mean:.2f}" for e in found], fontsize=8)
        axes.grid(axis="x", linewidth=0.3)
        axes.set_xlabel(f"validation accuracy {f'on {sweep.chips} chips' if sweep.chips else '(digital)'} (%)")
        figure.suptitle(f"{sweep.title}; {data}", fontsize=9)
    figure.savefig(path)
