"""Names of a crossbar's cost components, and which boundary (array, converters, system) each falls in.

"Brain-like" depends on where the boundary is drawn, so a report states three figures side by side
(`by_boundary`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Literal

from memristor_plugins.interfaces.energy import CostReport

Group = Literal["array", "converters", "system"]

ARRAY_READ = "array read"
GATE_LINES = "gate lines"
WORD_LINES = "word lines"
IDLE_LINES = "idle lines"
MATRIX_UNIT = "matrix unit"
DAC = "DAC"
ADC = "ADC"
SAMPLE_AND_HOLD = "sample and hold"
GATE_DAC = "gate DAC"
PARTIAL_SUMS = "partial sums"
BANK_FACTORS = "bank factors"
ROUTING = "routing"
BUFFERS = "buffers"
INTERCONNECT = "interconnect"
NORMALISATION = "normalisation"
POOLING = "pooling"
DIGITAL = "digital"
CONTROL = "control"
OFF_CHIP = "off-chip links"
LEAKAGE = "leakage"
PROGRAMMING = "programming"
WRITES = "kernel writes"
MIXING = "kernel mixing"
ARITHMETIC = "arithmetic"
WEIGHT_MEMORY = "weight memory"
MEASURED = "measured"

#: The layer that network-level entries stand under.
NETWORK = "network"

#: The innermost group a component belongs to. Gate lines run through the array, so they are of the array; so are the
#: writes of kernels that change with each image. The one programming of stationary kernels is the system's.
GROUP_OF: Mapping[str, Group] = MappingProxyType(
    {
        ARRAY_READ: "array",
        GATE_LINES: "array",
        WORD_LINES: "array",
        IDLE_LINES: "array",
        MATRIX_UNIT: "converters",
        DAC: "converters",
        ADC: "converters",
        SAMPLE_AND_HOLD: "converters",
        GATE_DAC: "converters",
        PARTIAL_SUMS: "system",
        BANK_FACTORS: "system",
        ROUTING: "system",
        BUFFERS: "system",
        INTERCONNECT: "system",
        NORMALISATION: "system",
        POOLING: "system",
        DIGITAL: "system",
        CONTROL: "system",
        OFF_CHIP: "system",
        LEAKAGE: "system",
        PROGRAMMING: "system",
        WRITES: "array",
        MIXING: "system",
        ARITHMETIC: "array",
        WEIGHT_MEMORY: "array",
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


def inside(report: CostReport, boundary: str) -> CostReport:
    """The report of what lies inside one boundary.

    A component that is not listed in `GROUP_OF` (another author's estimator) counts in the full system only.
    """
    groups = BOUNDARIES[boundary]
    return replace(report, entries=tuple(e for e in report.entries if GROUP_OF.get(e.component, "system") in groups))


def by_boundary(report: CostReport) -> dict[str, float]:
    """Joules of one inference inside each boundary, narrowest first; the last one is the total."""
    return {name: inside(report, name).total_j for name in BOUNDARIES}
