"""What a fit leaves behind: `fit.json`, the points of its figure as CSV, and a table for the terminal."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from memristor_plugins.fitting.run import Outcome


def record(outcome: Outcome, derived: Mapping[str, float], checks: Mapping[str, Mapping[str, float | None]]) -> Any:
    """Everything a program could ask of a fit, as JSON holds it."""
    found = outcome.found
    return {
        "device": outcome.subject.chosen,
        "data": outcome.table.name,
        "kind": outcome.table.kind,
        "rows": len(outcome.table),
        "periods_averaged": outcome.averaged,
        "parameters": [
            {
                "name": e.name,
                "unit": e.unit,
                "value": e.value,
                "low_95": e.low,
                "high_95": e.high,
                "status": e.status,
                "reason": e.reason,
                "of_the_measurement": e.nuisance,
            }
            for e in found.inference.estimates
        ],
        "held_without_effect": list(outcome.dropped),
        "from_the_file": dict(outcome.taken),
        "chosen_for_the_array": dict(derived),
        "goodness": dict(found.quality),
        "correlated_over_points": found.inference.window,
        "costs_of_starts": list(found.solution.costs),
        "simulations": found.solution.evaluations,
        "other_files": {name: dict(errors) for name, errors in checks.items()},
    }


def write(folder: Path, content: Any, outcome: Outcome) -> None:
    """`fit.json` and `fit.csv` in `folder`."""
    (folder / "fit.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    shown = outcome.found.overlay
    with (folder / "fit.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["series", shown.x_label, f"measured {shown.y_label}", f"fitted {shown.y_label}"])
        for i, x in enumerate(shown.x):
            series = shown.series[i] if shown.series is not None else ""
            writer.writerow([series, f"{x:.8g}", f"{shown.measured[i]:.8g}", f"{shown.fitted[i]:.8g}"])


def quality(found: Mapping[str, float | None]) -> str:
    """Goodness of fit in one line."""
    parts = []
    if found["rms_error_over_range"] is not None:
        parts.append(f"RMS error {100 * found['rms_error_over_range']:.2f} % of the range")
    if found["r2"] is not None:
        parts.append(f"R² = {found['r2']:.4f}")
    if found["reduced_chi2"] is not None:
        parts.append(f"reduced χ² = {found['reduced_chi2']:.3g}")
    return ", ".join(parts)


def show(
    outcome: Outcome,
    checks: Mapping[str, Mapping[str, float | None]],
    derived: Mapping[str, float],
    made: Sequence[str],
) -> None:
    """Print the parameters with their intervals, how good the fit is, and what was written."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"device={outcome.subject.chosen} fitted to {outcome.table.name}", pad_edge=False)
    for column in ("parameter", "value", "95 % interval"):
        table.add_column(column, overflow="fold")
    for e in outcome.found.inference.estimates:
        unit = f" {e.unit}" if e.unit else ""
        told = f"{e.low:.4g} to {e.high:.4g}" if e.low is not None else f"{e.status}: {e.reason}"
        table.add_row(Text(e.name), Text(f"{e.value:.4g}{unit}"), Text(told))
    console = Console(highlight=False)
    console.print(table)
    lines = [quality(outcome.found.quality)]
    if outcome.averaged > 1:
        lines.append(f"average of {outcome.averaged} periods; intervals account for correlated residuals")
    if outcome.dropped:
        lines.append(f"held, without effect on this measurement: {', '.join(outcome.dropped)}")
    for label, values in (("from the file", outcome.taken), ("chosen for the array, not measured", derived)):
        if values:
            lines.append(f"{label}: {', '.join(f'{k} = {v:.4g}' for k, v in values.items())}")
    for name, errors in checks.items():
        own = errors["own_offsets"]
        more = "" if own is None else f", {100 * own:.2f} % with channel offsets of its own"
        lines.append(
            f"the same parameters on {name}: RMS error {100 * (errors['same'] or 0.0):.2f} % of its range{more}"
        )
    for line in [*lines, *made]:
        console.print(line, markup=False, soft_wrap=True)
