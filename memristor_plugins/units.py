"""Headers with units: `current_ua` is a current in microamperes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from memristor_plugins.errors import MemristorError, nearest

PREFIXES = {"": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9, "p": 1e-12}
# No `mohm`: nobody can tell milliohm from megohm.
OHM = {"ohm": 1.0, "kohm": 1e3, "megohm": 1e6, "gohm": 1e9}
SECONDS = {f"{prefix}s": factor for prefix, factor in PREFIXES.items()} | {"min": 60.0, "h": 3600.0, "d": 86400.0}


def _scaled(unit: str) -> dict[str, float]:
    return {f"{prefix}{unit}": factor for prefix, factor in PREFIXES.items()}


# Dimension -> unit -> factor to SI. Units are written in small letters: `us` is a microsecond of a time, a
# microsiemens of a conductance.
UNITS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "time": SECONDS,
        "voltage": _scaled("v"),
        "current": _scaled("a"),
        "conductance": _scaled("s"),
        "resistance": OHM,
    }
)


class Header:
    """One column's header: which quantity, and the factor that turns its numbers into SI.

    Args:
        quantity: such as `gate_voltage`; for a number without a unit the header itself.
        factor: multiply by this for SI.
    """

    __slots__ = ("factor", "quantity")

    def __init__(self, quantity: str, factor: float) -> None:
        self.quantity = quantity
        self.factor = factor


def parse(header: str, quantities: Mapping[str, str]) -> Header | None:
    """What a header says, or None where it names none of the quantities.

    Args:
        header: as in the file; capitals do not matter.
        quantities: dimension of each known quantity by name ("" for a pure number).

    Raises:
        MemristorError: a known quantity with an unknown unit or none.
    """
    text = header.strip().lower()
    if quantities.get(text) == "":
        return Header(text, 1.0)
    # The longest name first: `gate_voltage` is no `gate` in the unit `voltage`.
    for name in sorted(quantities, key=len, reverse=True):
        dimension = quantities[name]
        if not dimension or not (text == name or text.startswith(f"{name}_")):
            continue
        unit, known = text[len(name) + 1 :], UNITS[dimension]
        if unit in known:
            return Header(name, known[unit])
        units = ", ".join(known)
        if not unit:
            raise MemristorError(f"'{header.strip()}' has no unit; write {name}_{next(iter(known))} (units: {units})")
        more = " (it could be milliohm or megohm)" if unit == "mohm" else ""
        raise MemristorError(f"unknown unit '{unit}' of a {dimension}{more}; {nearest(unit, known)} (units: {units})")
    return None
