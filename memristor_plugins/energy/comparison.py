"""One chip against its references: at each boundary apart, and never on different batch sizes without saying so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from memristor_plugins.energy.components import by_boundary
from memristor_plugins.interfaces.energy import CostReport


@dataclass(frozen=True)
class Ratio:
    """How many times the chip's energy a reference takes.

    Args:
        reference: the estimator.
        ratio: its total over the chip's energy inside the boundary; above 1 the chip is better.
        caveat: what the reader must know to compare them; "" where nothing.
    """

    reference: str
    ratio: float
    caveat: str


@dataclass(frozen=True)
class Level:
    """The chip's energy inside one boundary, with its ratio to every reference.

    Args:
        boundary: array only, array and converters, or full system.
        energy_j: joules; None where the chip's publication does not tell what lies inside.
        ratios: none where there is no energy.
    """

    boundary: str
    energy_j: float | None
    ratios: tuple[Ratio, ...]


def against(reports: Mapping[str, CostReport]) -> tuple[CostReport, tuple[CostReport, ...]]:
    """The chip that others are compared with, the crossbar or else the first, and those others."""
    chip = reports.get("crossbar") or next(iter(reports.values()))
    return chip, tuple(r for r in reports.values() if r is not chip)


def levels(report: CostReport, references: Sequence[CostReport]) -> tuple[Level, ...]:
    """The three boundaries, narrowest first. References count in full at each."""
    return tuple(
        Level(boundary, joules or None, tuple(_ratio(joules, report, r) for r in references) if joules else ())
        for boundary, joules in by_boundary(report).items()
    )


def caption(report: CostReport, references: Sequence[CostReport]) -> tuple[str, ...]:
    """What a table or a figure of them must say: every assumption, and batches that differ, first."""
    differing = [f"{r.estimator}: {caveat}" for r in references if (caveat := batches(report, r))]
    stated = [f"{r.estimator}: {line}" for r in (report, *references) for line in r.assumptions]
    return (*differing, *stated)


def batches(report: CostReport, reference: CostReport) -> str:
    """Which batch sizes are compared, where they differ; "" where they are the same."""
    if report.batch == reference.batch:
        return ""
    return f"batch {reference.batch} against batch {report.batch} of {report.estimator}"


def _ratio(joules: float, report: CostReport, reference: CostReport) -> Ratio:
    return Ratio(reference.estimator, reference.total_j / joules, batches(report, reference))
