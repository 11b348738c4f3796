"""The one table that a run prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, pstdev, stdev

from rich.console import Console
from rich.table import Table

from memristor_plugins.interfaces.energy import CostReport
from memristor_plugins.reporting import cost_table


def spread(values: Sequence[float]) -> float:
    """Sample standard deviation; 0 for one value."""
    return stdev(values) if len(values) > 1 else pstdev(values)


def duration(seconds: float) -> str:
    """A time as people say it: 3600 -> "1 h"."""
    for size, unit in ((86400.0, "day"), (3600.0, "h"), (60.0, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


def show(
    data: str, digital: float | None, rows: Sequence[tuple[int, float, float]], reports: Mapping[str, CostReport]
) -> None:
    """Print accuracy, and what an inference costs.

    Args:
        data: what was classified.
        digital: accuracy of the digital network, a fraction.
        rows: (chip, seconds, accuracy).
        reports: by estimator.
    """
    table = Table(title=f"{data}: accuracy", show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column(style="dim")
    if digital is not None:
        table.add_row("accuracy, digital", f"{digital:.2%}", "")
    for seconds in sorted({t for _, t, _ in rows}):
        at = [a for _, t, a in rows if t == seconds]
        table.add_row(
            f"accuracy on chips, {duration(seconds)} after programming",
            f"{mean(at):.2%}",
            f"± {100 * spread(at):.2f} points, {len(at)} chip{'s' if len(at) > 1 else ''}",
        )
    console = Console()
    console.print(table)
    if reports:
        cost_table.show(data, reports, layers=False)


def plans(rows: Sequence[Mapping[str, str]]) -> None:
    """Print each layer's execution plan."""
    table = Table(title="execution plans")
    for column in rows[0]:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row.values())
    Console().print(table)
