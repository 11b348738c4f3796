"""Tables of what an inference costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from memristor_plugins.energy.comparison import against, caption, levels
from memristor_plugins.interfaces.energy import CostReport
from memristor_plugins.reporting.cost_figures import Variation
from memristor_plugins.reporting.figures import ratio, si

DASH = "-"


def show(data: str, reports: Mapping[str, CostReport], *, layers: bool = True) -> None:
    """Print the chip by component and by layer, its boundaries against every reference, and all totals.

    Args:
        data: what the workload was.
        reports: by estimator.
        layers: with a table of layers.
    """
    chip, references = against(reports)
    console = Console()
    console.print(_parts(data, chip, "component"))
    if layers:
        console.print(_parts(data, chip, "layer"))
    if references:
        console.print(boundaries(chip, references))
    console.print(_totals(chip, references))
    for line in caption(chip, references):
        console.print(f"  {line}", style="dim", markup=False, highlight=False)


def _parts(data: str, chip: CostReport, kind: str) -> Table:
    table = Table(title=f"{data}: one inference on {chip.estimator}, by {kind}", pad_edge=False)
    table.add_column(kind, overflow="fold")
    for column in ("energy", "share", "latency", "area"):
        table.add_column(column, justify="right")
    read = chip.by_component if kind == "component" else chip.by_layer
    energy, latency, area = read("energy_j"), read("latency_s"), read("area_m2")
    for name, joules in energy.items():
        if joules or latency[name] or area[name]:
            table.add_row(name, *_row(joules, chip.total_j, latency[name], area[name]))
    table.add_section()
    table.add_row("total", *_row(chip.total_j, chip.total_j, chip.latency_s, chip.area_m2), style="bold")
    return table


def _row(joules: float, total: float, seconds: float | None, area: float | None) -> tuple[str, str, str, str]:
    share = f"{joules / total:.1%}" if total else DASH
    return si(joules, "J"), share, si(seconds, "s") if seconds else DASH, square(area) if area else DASH


def boundaries(chip: CostReport, references: tuple[CostReport, ...]) -> Table:
    """Energy inside each boundary, and how many times as much every reference takes."""
    table = Table(title=f"{chip.estimator}: how many times its energy each reference takes", pad_edge=False)
    table.add_column("inside")
    table.add_column("energy", justify="right")
    for report in references:
        batch = f" (batch {report.batch} against {chip.batch})" if report.batch != chip.batch else ""
        table.add_column(f"{report.estimator}{batch}", justify="right", overflow="fold")
    for level in levels(chip, references):
        told = [ratio(r.ratio) for r in level.ratios] or [DASH] * len(references)
        table.add_row(level.boundary, DASH if level.energy_j is None else si(level.energy_j, "J"), *told)
    return table


def _totals(chip: CostReport, references: tuple[CostReport, ...]) -> Table:
    reports = (chip, *references)
    table = Table(title="one inference by every estimate", pad_edge=False)
    table.add_column(no_wrap=True)
    for report in reports:
        table.add_column(report.estimator, justify="right", overflow="fold")

    def told(value: float | None, unit: str) -> str:
        return DASH if value is None else si(value, unit)

    table.add_row("energy", *(si(r.total_j, "J") for r in reports))
    table.add_row("latency alone", *(told(r.latency_s, "s") for r in reports))
    table.add_row("interval, pipelined", *(told(r.interval_s, "s") for r in reports))
    table.add_row("inferences/s", *(_count(r.throughput) for r in reports))
    table.add_row("area", *(DASH if r.area_m2 is None else square(r.area_m2) for r in reports))
    table.add_row("TOPS", *(_count(r.tops) for r in reports))
    table.add_row("TOPS/W", *(_count(r.tops_per_watt) for r in reports))
    table.add_row("at", *(r.precision for r in reports))
    table.add_row("energy-delay product", *(told(r.energy_delay_js, "Js") for r in reports))
    table.add_row("batch", *(str(r.batch) for r in reports))
    table.add_row("inferences to wear-out", *(_count(r.lifetime_inferences) for r in reports))
    return table


def sensitivity(variations: Sequence[Variation], caption: Sequence[str]) -> None:
    """Print what each setting does by itself, the most important first."""
    table = Table(title="energy over that with the setting as it is", pad_edge=False)
    table.add_column("setting, alone", overflow="fold")
    names = list(variations[0].ratios) if variations else []
    for name in names:
        table.add_column(name, justify="right")
    for variation in variations:
        for place, value in enumerate((variation.low, variation.high)):
            table.add_row(f"{variation.setting}: {value}", *(f"{variation.ratios[name][place]:.3g}" for name in names))
    console = Console()
    if variations:
        console.print(table)
    for line in caption:
        console.print(f"  {line}", style="dim", markup=False, highlight=False)


def square(area: float) -> str:
    """Square metres as designers say them: 2.5e-6 -> "2.5 mm\u00b2"."""
    return f"{area * 1e6:.3g} mm\u00b2" if area >= 1e-9 else f"{area * 1e12:.3g} \u00b5m\u00b2"


def _count(value: float | None) -> str:
    if value is None:
        return DASH
    return f"{value:.3g}" if value < 1e3 or value >= 1e7 else f"{float(f'{value:.3g}'):,.0f}"
