"""The energy contract: what an inference costs, from the workload that was measured on real inputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field


@dataclass(frozen=True)
class LayerProfile:
    """What one layer did, averaged over the profiled images; all counts are for one image.

    Args:
        name: layer name relative to the converted network.
        rows, cols: weight matrix of one bank (word lines by logical outputs), all groups together for `cols`.
        banks: stationary kernels.
        planes: cells of one weight.
        row_tiles: arrays that a column's sum is split over.
        arrays: physical arrays, all banks.
        cells: cells that hold a weight, all banks and planes.
        positions: reads of the arrays (output pixels).
        macs: multiply-accumulates of the layer's own arithmetic, modulation included, routing not.
        digital_macs: the same for the cheapest digital realisation (per-image aggregation of banks or K convolutions).
        routing_macs: multiply-accumulates of the routing network.
        nonzero_macs: those of `macs` whose input is not zero.
        v2g: sum over reads and cells of v^2 G, watts: what the cells dissipate while all reads of one image last.
        input_conversions: word-line conversions.
        output_conversions: bit-line conversions.
        partial_sums: converted sums that are added digitally.
        bank_multiplies: digital multiplications by bank factors (where no gate applies them).
        gate_updates: gate voltages that are set.
        gate_cells: cells on the gate lines that are charged by these updates.
        gate_v2: mean square of the gate voltage steps, V^2.
        outputs: values that leave the layer.
        input_bits, output_bits, gate_bits: converter resolution; None where there is none.
        weight_bytes, input_bytes, output_bytes: bytes at 4 bytes a value.
    """

    name: str
    rows: int
    cols: int
    banks: int
    planes: int
    row_tiles: int
    arrays: int
    cells: int
    positions: int
    macs: float
    digital_macs: float
    routing_macs: float
    nonzero_macs: float
    v2g: float
    input_conversions: float
    output_conversions: float
    partial_sums: float
    bank_multiplies: float
    gate_updates: float
    gate_cells: float
    gate_v2: float
    outputs: float
    input_bits: int | None
    output_bits: int | None
    gate_bits: int | None
    weight_bytes: float
    input_bytes: float
    output_bytes: float


@dataclass(frozen=True)
class WorkloadProfile:
    """What a network did on real images.

    Args:
        layers: the analog layers, in execution order.
        digital_ops: operations of everything else (batch norm, activations, pooling), for one image.
        read_time: duration of one array read, seconds.
        images: how many images were profiled.
        data: what the images were.
        device: name of the device class the layers stand on.
    """

    layers: tuple[LayerProfile, ...]
    digital_ops: float
    read_time: float
    images: int
    data: str
    device: str


@dataclass(frozen=True)
class CostEntry:
    """Energy of one component in one layer, joules for one inference."""

    layer: str
    component: str
    energy_j: float


@dataclass(frozen=True)
class CostReport:
    """What one estimator says of one inference.

    Args:
        estimator: its name.
        entries: what adds up to the total.
        assumptions: what a caption must say.
    """

    estimator: str
    entries: tuple[CostEntry, ...]
    assumptions: tuple[str, ...] = field(default=())

    @property
    def total_j(self) -> float:
        """Joules for one inference."""
        return sum(e.energy_j for e in self.entries)

    def by_component(self) -> dict[str, float]:
        """Joules by component, largest first."""
        sums: dict[str, float] = {}
        for entry in self.entries:
            sums[entry.component] = sums.get(entry.component, 0.0) + entry.energy_j
        return dict(sorted(sums.items(), key=lambda item: -item[1]))


class EnergyEstimator(ABC):
    """Turns a measured workload into joules."""

    @abstractmethod
    def estimate(self, profile: WorkloadProfile) -> CostReport:
        """Cost of one inference of the profiled network."""
