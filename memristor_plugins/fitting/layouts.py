"""Which columns each kind of measurement has.

    iv           time, voltage, current [, gate_voltage]       I-V sweeps, rows in the order of measurement
    pulses       pulse, conductance or resistance, and either polarity (+1, -1) or amplitude and width [, cell]
                 what was read after each pulse; pulse 0, with no polarity needed, is the start
    retention    time, conductance or resistance [, cell]      time since programming
    programming  target, conductance or resistance [, cell]    what a write left, of what was asked for

Headers carry units: `time_us`, `voltage_mv`, `current_na`, `conductance_us` (microsiemens), `resistance_kohm`,
`target_us` (a conductance), `amplitude_v`, `width_ns`. `pulse`, `polarity` and `cell` are numbers without a unit.
Fields are separated by commas; lines that begin with `#` and empty lines are skipped; further columns are
ignored.
"""

from __future__ import annotations

from dataclasses import dataclass

from memristor_plugins.errors import ConfigError


@dataclass(frozen=True)
class Layout:
    """Columns of one kind of file.

    Args:
        kind: its name on the command line.
        required: quantity -> dimension, "" for a pure number.
        optional: the same.
    """

    kind: str
    required: dict[str, str]
    optional: dict[str, str]

    @property
    def quantities(self) -> dict[str, str]:
        """All of them; a resistance may stand where a conductance is asked for."""
        found = {**self.required, **self.optional}
        return {**found, "resistance": "resistance"} if "conductance" in found else found


LAYOUTS: dict[str, Layout] = {
    layout.kind: layout
    for layout in (
        Layout("iv", {"time": "time", "voltage": "voltage", "current": "current"}, {"gate_voltage": "voltage"}),
        Layout(
            "pulses",
            {"pulse": "", "conductance": "conductance"},
            {"polarity": "", "amplitude": "voltage", "width": "time", "cell": ""},
        ),
        Layout("retention", {"time": "time", "conductance": "conductance"}, {"cell": ""}),
        Layout("programming", {"target": "conductance", "conductance": "conductance"}, {"cell": ""}),
    )
}


def guess(headers: list[str]) -> str:
    """The kind of file whose required columns are all there, by names alone.

    Raises:
        ConfigError: none fits, or several do.
    """
    names = [header.strip().lower() for header in headers]

    def has(quantity: str) -> bool:
        alternatives = ("conductance", "resistance") if quantity == "conductance" else (quantity,)
        return any(n == a or n.startswith(f"{a}_") for n in names for a in alternatives)

    fitting = [kind for kind, layout in LAYOUTS.items() if all(has(q) for q in layout.required)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise ConfigError("kind", f"the columns fit {' and '.join(fitting)}; choose kind={fitting[0]} or another")
    needs = "; ".join(f"{k}: {', '.join(layout.required)}" for k, layout in LAYOUTS.items())
    raise ConfigError("data", f"line 1: the columns ({', '.join(names)}) fit no kind of measurement ({needs})")
