"""The headline table as Markdown, and its figure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import isnan
from pathlib import Path
from statistics import mean

from memristor_plugins.reporting.figures import COLOURS, si
from memristor_plugins.reproduce.preset import CONDITIONS, NETWORKS, Preset
from memristor_plugins.reproduce.statistics import Estimate, estimate, paired

Row = Mapping[str, str]
TITLES = {
    "digital": "digital",
    "stack": "stack, no hardware-aware training",
    "stack_hwa": "stack, hardware-aware",
    "stack_hwa_1day": "after 1 day, compensated",
}
# Differences that the table tests, each paired over seeds.
AGAINST = ("static", "static_iso_energy", "static_wide", "heterosynaptic_constant", "heterosynaptic_permuted")
NOT_RUN = "not run"


def by_seed(results: Sequence[Row]) -> dict[tuple[str, str], dict[int, float]]:
    """Accuracy of (network, condition) by seed, chips averaged."""
    found: dict[tuple[str, str], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in results:
        found[row["network"], row["condition"]][int(row["seed"])].append(float(row["accuracy"]))
    return {key: {seed: mean(values) for seed, values in seeds.items()} for key, seeds in found.items()}


def table(
    preset: Preset,
    results: Sequence[Row],
    costs: Sequence[Row],
    runs: Sequence[Row],
    wires: Sequence[Row],
    variants: Sequence[Row],
) -> str:
    """All of it as Markdown."""
    found = by_seed(results)
    parts = [_accuracies(preset, found, costs), _differences(found), _losses(found), _coverage(preset, results)]
    parts += [_wires(wires), _variants(variants), _budget(runs)]
    return "\n\n".join(part for part in parts if part) + "\n"


def percent(e: Estimate) -> str:
    """A mean of fractions with its interval and number of seeds."""
    interval = "" if isnan(e.half) else f" ± {100 * e.half:.2f}"
    return f"{100 * e.mean:.2f}{interval} % (n = {e.n})"


def points(e: Estimate | None) -> str:
    """A difference of fractions, in points."""
    if e is None:
        return NOT_RUN
    interval = "" if isnan(e.half) else f" ± {100 * e.half:.2f}"
    chance = "" if isnan(e.p) else f", p = {e.p:.2g}"
    return f"{100 * e.mean:+.2f}{interval} (n = {e.n}{chance})"


def _lines(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(
        [f"| {' | '.join(header)} |", f"| {' | '.join('---' for _ in header)} |"]
        + [f"| {' | '.join(row)} |" for row in rows]
    )


def _accuracies(preset: Preset, found: Mapping[tuple[str, str], dict[int, float]], costs: Sequence[Row]) -> str:
    cost = {row["network"]: row for row in costs}
    rows = []
    for network in NETWORKS:
        cells = [
            percent(estimate(list(found[network, c].values()))) if (network, c) in found else NOT_RUN
            for c in CONDITIONS
        ]
        own = cost.get(network)
        spent = (
            [f"{int(own['cells']):,}", f"{float(own['conversions']):,.0f}", si(float(own["joules"]), "J"), own["width"]]
            if own
            else [NOT_RUN] * 4
        )
        rows.append([network, *cells, *spent])
    header = ["network", *(TITLES[c] for c in CONDITIONS), "cells", "ADC conversions an image", "an image", "width"]
    text = (
        f"Accuracy on the test images: mean over seeds with the 95 % interval of Student's t, chips (up to "
        f"{preset.chips}) averaged for each seed. Energy an image as `energy=crossbar` counts it."
    )
    return f"{text}\n\n{_lines(header, rows)}"


def _differences(found: Mapping[tuple[str, str], dict[int, float]]) -> str:
    rows = []
    for other in AGAINST:
        cells = []
        for condition in CONDITIONS:
            one, two = found.get(("heterosynaptic", condition)), found.get((other, condition))
            cells.append(points(paired(one, two) if one and two else None))
        rows.append([other, *cells])
    header = ["`heterosynaptic` minus", *(TITLES[c] for c in CONDITIONS)]
    text = "Differences in points, paired over seeds, with 95 % intervals and p of a paired t test."
    return f"{text}\n\n{_lines(header, rows)}"


def _losses(found: Mapping[tuple[str, str], dict[int, float]]) -> str:
    rows = []
    for network in NETWORKS:
        digital = found.get((network, "digital"))
        if digital:
            cells = [
                points(paired(found[network, c], digital) if (network, c) in found else None) for c in CONDITIONS[1:]
            ]
            rows.append([network, *cells])
    if not rows:
        return ""
    header = ["network, condition minus digital", *(TITLES[c] for c in CONDITIONS[1:])]
    return f"What the stack costs, in points.\n\n{_lines(header, rows)}"


def _coverage(preset: Preset, results: Sequence[Row]) -> str:
    """Which measurements the preset asks for and the table lacks."""
    counted: dict[tuple[str, str, str], int] = defaultdict(int)
    for row in results:
        counted[row["network"], row["seed"], row["condition"]] += 1
    missing = []
    for network in NETWORKS:
        for condition in CONDITIONS:
            wanted = len(preset.seeds) * (1 if condition == "digital" else preset.chips)
            have = sum(counted[network, str(seed), condition] for seed in preset.seeds)
            if have < wanted:
                missing.append(f"{network}/{condition} {have} of {wanted}")
    return "Complete." if not missing else f"Not complete (measurements made of those planned): {'; '.join(missing)}."


def _wires(wires: Sequence[Row]) -> str:
    if not wires:
        return ""
    errors = [float(r["accuracy_fast"]) - float(r["accuracy_exact"]) for r in wires]
    largest = max(errors, key=abs)
    return (
        "Wires are solved exactly on the chips of `ir_drop.csv` and by the approximation of training on all others. "
        f"On those chips the approximation's accuracy minus the exact one's is {100 * mean(errors):+.2f} points in the "
        f"mean of {len(errors)} measurements, {100 * largest:+.2f} at most."
    )


def _variants(variants: Sequence[Row]) -> str:
    if not variants:
        return ""
    networks = list(dict.fromkeys(r["network"] for r in variants))
    kinds = list(dict.fromkeys((r["stack"], r["without"]) for r in variants))
    at = {(r["network"], r["stack"], r["without"]): 100 * float(r["accuracy"]) for r in variants}
    rows = [
        [f"{stack}, without `{effect}`" if effect else stack]
        + [f"{at[n, stack, effect]:.2f} %" if (n, stack, effect) in at else NOT_RUN for n in networks]
        for stack, effect in kinds
    ]
    text = "Hardware-aware networks of the first seed on other stacks, chip 0, one run each."
    return f"{text}\n\n{_lines(['stack', *networks], rows)}"


def _budget(runs: Sequence[Row]) -> str:
    if not runs:
        return ""
    rows = [
        [r["network"], r["seed"], r["phase"], r["epochs"], f"{100 * float(r['val_accuracy']):.2f} %", r["parameters"]]
        for r in runs
    ]
    header = ["network", "seed", "phase", "epochs", "validation images", "trained values"]
    return f"Trainings.\n\n{_lines(header, rows)}"


def draw(path: Path, preset: Preset, results: Sequence[Row], data: str) -> None:
    """Accuracy of every network in every condition, with intervals over seeds and every seed's own mean."""
    from matplotlib.figure import Figure

    found = by_seed(results)
    networks = [n for n in NETWORKS if (n, "digital") in found]
    if not networks:
        return
    figure = Figure(figsize=(max(6.4, 2.2 + 1.1 * len(networks)), 4.6), dpi=150, layout="constrained")
    axes = figure.subplots()
    markers = "osD^"
    for index, condition in enumerate(CONDITIONS):
        shift = 0.18 * (index - 1.5)
        places = [i for i, n in enumerate(networks) if (n, condition) in found]
        estimates = [estimate(list(found[networks[i], condition].values())) for i in places]
        axes.errorbar(
            [i + shift for i in places],
            [100 * e.mean for e in estimates],
            yerr=[0 if isnan(e.half) else 100 * e.half for e in estimates],
            fmt=markers[index],
            color=COLOURS[index],
            capsize=3,
            label=TITLES[condition],
        )
        for i in places:
            own = [100 * v for v in found[networks[i], condition].values()]
            axes.plot([i + shift + 0.05] * len(own), own, ".", color=COLOURS[index], markersize=3)
    axes.set_xticks(range(len(networks)), [n.replace("_", "\n", 1) for n in networks], fontsize=8)
    axes.set_ylabel("test accuracy (%)")
    figure.legend(frameon=False, fontsize=7, loc="outside lower center", ncols=2)
    axes.set_title(f"{data}: mean of seeds {preset.seeds}, 95 % intervals; dots: single seeds", fontsize=8)
    figure.savefig(path)
