"""What a figure is made of: panels, a table, and key numbers. All values in SI units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, cat

from memristor_plugins.reporting.panels import Panel


class Number(NamedTuple):
    """A key number in SI units; None where it cannot be told."""

    value: float | None
    unit: str = ""


@dataclass(frozen=True)
class Shown:
    """A figure that the model has.

    Args:
        title: what is shown.
        caption: under which conditions, and what bars, bands and numbers mean.
        panels: from left to right.
        table: columns of the CSV by header (`conductance_s`: the quantity and its SI unit), all of one length.
        numbers: by name, the most important first.
    """

    title: str
    caption: str
    panels: Sequence[Panel]
    table: Mapping[str, Tensor]
    numbers: Mapping[str, Number]


@dataclass(frozen=True)
class Absent:
    """A figure that the model does not have.

    Args:
        reason: why, and where it can be had.
    """

    reason: str


def columns(**parts: Sequence[Tensor]) -> dict[str, Tensor]:
    """Columns of a table: the pieces of each joined, every piece flattened."""
    return {name: cat([piece.detach().reshape(-1).double() for piece in pieces]) for name, pieces in parts.items()}
