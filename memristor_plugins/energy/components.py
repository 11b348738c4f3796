"""Names of a crossbar's cost components, and which boundary (array, converters, system) each falls in.

"Brain-like" depends on where the boundary is drawn, so a report states three figures side by side
(`by_boundary`).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from memristor_plugins.interfaces.energy import CostReport

Group = Literal["array", "converters", "system"]

ARRAY_READ = "array read"
GATE_LINES = "gate lines"
DAC = "DAC"
ADC = "ADC"
SAMPLE_AND_HOLD = "sample and hold"
GATE_DAC = "gate DAC"
PARTIAL_SUMS = "partial sums"
BANK_FACTORS = "bank factors"
ROUTING = "routing"
BUFFERS = "buffers"
DIGITAL = "digital"

#: The layer that network-level entries stand under.
NETWORK = "network"

#: The innermost group a component belongs to. Gate lines run through the array, so they are of the array.
GROUP_OF: Mapping[str, Group] = MappingProxyType(
    {
        ARRAY_READ: "array",
        GATE_LINES: "array",
        DAC: "converters",
        ADC: "converters",
        SAMPLE_AND_HOLD: "converters",
        GATE_DAC: "converters",
        PARTIAL_SUMS: "system",
        BANK_FACTORS: "system",
        ROUTING: "system",
        BUFFERS: "system",
        DIGITAL: "system",
    }
)

ARRAY_ONLY = "array only"
ARRAY_AND_CONVERTERS = "array and converters"
FULL_SYSTEM = "full system"

#: What each boundary contains; each contains the one before it.
BOUNDARIES: Mapping[str, frozenset[Group]] = MappingProxyType(
    {
        ARRAY_ONLY: frozenset[Group]({"array"}),
        ARRAY_AND_CONVERTERS: frozenset[Group]({"array", "converters"}),
        FULL_SYSTEM: frozenset[Group]({"array", "converters", "system"}),
    }
)


def by_boundary(report: CostReport) -> dict[str, float]:
    """Joules of one inference inside each boundary, narrowest first; the last one is the total.

    A component that is not listed in `GROUP_OF` (another author's estimator) counts in the full system only.
    """
    return {
        name: sum(e.energy_j for e in report.entries if GROUP_OF.get(e.component, "system") in groups)
        for name, groups in BOUNDARIES.items()
    }
