"""What a figure of measurements is made of: panels of series, in SI units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import Tensor


class Axis(NamedTuple):
    """What an axis shows.

    Args:
        label: the quantity.
        unit: "" for a pure number, "%" for values in percent.
        scale: of the axis.
        zero: it begins at 0, so that scatter looks no larger than it is.
    """

    label: str
    unit: str = ""
    scale: Literal["linear", "log"] = "linear"
    zero: bool = False


@dataclass(frozen=True)
class Series:
    """One line or set of points.

    Args:
        x, y: [points]; y that is no number or, on a log axis, not positive is left out.
        label: in the legend; None: not there.
        colour: index of the palette, `BLACK` and `GREY` included.
        style: solid or dashed line, points, or a line through points.
        error: of y, [points], drawn as bars.
        band: lower and upper ends of a shaded band, [points] each.
    """

    x: Tensor
    y: Tensor
    label: str | None = None
    colour: int = 0
    style: Literal["line", "dashed", "points", "both"] = "line"
    error: Tensor | None = None
    band: tuple[Tensor, Tensor] | None = None


BLACK, GREY = 6, 7


@dataclass(frozen=True)
class Panel:
    """One pair of axes."""

    x: Axis
    y: Axis
    series: Sequence[Series]
