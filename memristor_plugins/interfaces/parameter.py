"""What a plugin says about one of its parameters, in the annotation of its signature."""

from __future__ import annotations

import operator
from dataclasses import dataclass


@dataclass(frozen=True)
class Param:
    """Meaning, unit, source and valid range of a parameter: `g_max: Annotated[float, Param("...", unit="S")]`.

    Args:
        about: what the parameter is, in a few words.
        unit: SI unit; "" for a pure number.
        source: DOI, equation or table the default comes from; "assumed" where no publication gives it.
        ge, gt, le, lt: bounds, checked before anything is built. Bounds hold for each item of a sequence.
    """

    about: str
    unit: str = ""
    source: str = ""
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None

    def complaint(self, value: object) -> str | None:
        """Why `value` is out of range, or None. Values that are not numbers are not compared."""
        if isinstance(value, (list, tuple)):
            return next((c for c in map(self.complaint, value) if c), None)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return None
        if value != value:
            return "is not a number (nan)"
        unit = f" {self.unit}" if self.unit else ""
        for bound, holds, sign in (
            (self.ge, operator.ge, ">="),
            (self.gt, operator.gt, ">"),
            (self.le, operator.le, "<="),
            (self.lt, operator.lt, "<"),
        ):
            if bound is not None and not holds(value, bound):
                return f"must be {sign} {bound:g}{unit}, got {_short(value)}"
        return None


def _short(value: float) -> str:
    """-1.0 -> "-1"; whole numbers of any size as they are."""
    return f"{value:g}" if isinstance(value, float) else str(value)
