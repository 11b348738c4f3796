"""The energy contract: what an inference costs, from the workload that was measured on real inputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Literal

TERA = 1e12

#: What an entry of a report states, and what its sums are asked for by.
Quantity = Literal["energy_j", "latency_s", "area_m2"]

#: What `LayerProfile.v2g` is the power of: `cells`, without wires; `sources`, all that they deliver into resistive
#: wires and cells; `ohmic sources`, the same with the cells' current taken as ohmic; `seen`, what the converters see of
#: it, where the wires' model does not tell what its sources deliver.
PowerOf = Literal["cells", "sources", "ohmic sources", "seen"]

#: `replay(device, batch, format)` puts the digital network on a device and returns what runs one batch there and waits.
Replay = Callable[[str, int, str], Callable[[], None]]


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
        v2g: watts while all reads of one image last, added up over them: sum over cells of v^2 G (v I of cells that are
            not ohmic), or over arrays of v^T A v, see `power_of`. Amplitude inputs. Cells without a weight included.
        input_conversions: word-line conversions.
        output_conversions: bit-line conversions.
        partial_sums: converted sums that are added digitally.
        bank_multiplies: digital multiplications by bank factors (where no gate applies them, or not all of them), and
            by factors that mix inputs; each brings an addition.
        gate_updates: gate voltages that are set.
        gate_cells: cells on the gate lines that are charged by these updates.
        gate_v2: mean square of the gate voltage steps, V^2.
        outputs: values that leave the layer.
        input_bits, output_bits, gate_bits: converter resolution; None where there is none.
        weight_bytes, input_bytes, output_bytes: bytes at 4 bytes a value.
        groups: independent matrices of the layer (a grouped convolution's); `cols` counts the outputs of all.
        array_rows, array_columns: word lines and bit lines of one physical array.
        reads: reads of an array one after another: positions, input slices, and word lines that are driven in turn.
        converted_lines: sums that one read holds for conversion.
        adcs: converters of these lines.
        adc_share: lines that one converter reads in turn.
        factor_multiplies: digital multiplications by all other factors (of input and output channels, of kernel
            positions, of an image).
        drive_v2: mean square voltage of a word line, V^2.
        write_j: joules that programming all cells took, where the device simulates its pulses; None elsewhere.
        pulse_w: the same as `v2g` for inputs that are widths of pulses of the read voltage, averaged over the widest:
            sum of read_voltage |v| G. With wires each word line counts as if it were driven alone, an upper bound.
        idle_w: the same for word lines that are not selected and leak (`nonideality=sneak`).
        read_voltage: of the cells, volts.
        bit_activity: share of ones among the bits of the input codes, of four to eight images a batch; None without a
            converter at the inputs.
        power_of: what `v2g` is the power of.
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
    groups: int
    array_rows: int
    array_columns: int
    reads: float
    converted_lines: int
    adcs: int
    adc_share: int
    factor_multiplies: float
    drive_v2: float
    write_j: float | None
    pulse_w: float = 0.0
    idle_w: float = 0.0
    read_voltage: float = 0.0
    bit_activity: float | None = None
    power_of: PowerOf = "cells"

    @property
    def sparsity(self) -> float:
        """Share of the multiply-accumulates whose input is zero."""
        return 1.0 - self.nonzero_macs / self.macs if self.macs else 0.0


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
        normalisation_ops, pooling_ops: those of `digital_ops` that normalise or pool.
        replay: runs the digital network on a processor, for estimators that measure; None where there is none.
    """

    layers: tuple[LayerProfile, ...]
    digital_ops: float
    read_time: float
    images: int
    data: str
    device: str
    normalisation_ops: float = 0.0
    pooling_ops: float = 0.0
    replay: Replay | None = field(default=None, compare=False, repr=False)

    @property
    def ops(self) -> float:
        """Operations of one inference in its cheapest digital form, two for a multiply-accumulate.

        The same for every estimator, so that a chip that computes K banks gets no credit for K times the work.
        """
        return self.digital_ops + 2.0 * sum(layer.digital_macs + layer.routing_macs for layer in self.layers)


@dataclass(frozen=True)
class CostEntry:
    """One component of one layer, for one inference.

    Args:
        layer: its name; "network" for what belongs to no layer.
        component: its name.
        energy_j: joules.
        latency_s: seconds that it adds where nothing overlaps.
        area_m2: square metres; 0 where the estimator states none.
    """

    layer: str
    component: str
    energy_j: float
    latency_s: float = 0.0
    area_m2: float = 0.0


@dataclass(frozen=True)
class CostReport:
    """What one estimator says of one inference.

    Args:
        estimator: its name.
        entries: what adds up to the totals.
        assumptions: what a caption must say.
        ops: operations of one inference (`WorkloadProfile.ops`).
        precision: bit widths that `tops` and `tops_per_watt` are stated for, in words.
        batch: inferences that are computed together; reports of different batches are not compared silently.
        interval_s: seconds between inferences where they overlap (a pipeline, a batch); None: they do not overlap.
        lifetime_inferences: inferences until the cells have used up their endurance; None: not limited, or not told.
    """

    estimator: str
    entries: tuple[CostEntry, ...]
    assumptions: tuple[str, ...] = field(default=())
    ops: float = 0.0
    precision: str = ""
    batch: int = 1
    interval_s: float | None = None
    lifetime_inferences: float | None = None

    def by_layer(self, quantity: Quantity = "energy_j") -> dict[str, float]:
        """Sums by layer, in the entries' order; their sum is the total, to the last bit."""
        sums: dict[str, float] = {}
        for entry in self.entries:
            sums[entry.layer] = sums.get(entry.layer, 0.0) + float(getattr(entry, quantity))
        return sums

    def by_component(self, quantity: Quantity = "energy_j") -> dict[str, float]:
        """Sums by component, largest first."""
        sums: dict[str, float] = {}
        for entry in self.entries:
            sums[entry.component] = sums.get(entry.component, 0.0) + float(getattr(entry, quantity))
        return dict(sorted(sums.items(), key=lambda item: -item[1]))

    def total(self, quantity: Quantity = "energy_j") -> float:
        """The sum over layers."""
        return sum(self.by_layer(quantity).values())

    @property
    def total_j(self) -> float:
        """Joules for one inference."""
        return self.total()

    @property
    def latency_s(self) -> float | None:
        """Seconds of one inference alone, nothing overlapping; None where the estimator states no times."""
        return self.total("latency_s") or None

    @property
    def area_m2(self) -> float | None:
        """Square metres; None where the estimator states none."""
        return self.total("area_m2") or None

    @property
    def throughput(self) -> float | None:
        """Inferences a second, overlapping as far as the estimator says."""
        seconds = self.latency_s if self.interval_s is None else self.interval_s
        return 1.0 / seconds if seconds else None

    @property
    def tops(self) -> float | None:
        """Tera-operations a second, of `precision`."""
        return None if self.throughput is None else self.ops * self.throughput / TERA

    @property
    def tops_per_watt(self) -> float | None:
        """Tera-operations a joule, of `precision`; None where nothing was counted or nothing costs."""
        return self.ops / self.total_j / TERA if self.ops and self.total_j else None

    @property
    def energy_delay_js(self) -> float | None:
        """Energy of an inference times its latency alone, joule seconds."""
        return None if self.latency_s is None else self.total_j * self.latency_s

    @property
    def lifetime_s(self) -> float | None:
        """Seconds of uninterrupted inference until the cells' endurance is used up."""
        if self.lifetime_inferences is None or self.throughput is None:
            return None
        return self.lifetime_inferences / self.throughput


class EnergyEstimator(ABC):
    """Turns a measured workload into joules, seconds and square metres.

    Attributes:
        requires_api: version of the contracts it was written for; a newer one than `PLUGIN_API` is refused in one line.
    """

    requires_api: ClassVar[int] = 1

    def check(self) -> None:  # noqa: B027 - most estimators run anywhere
        """Raise where this machine cannot give the estimate; called before a run starts."""

    @abstractmethod
    def estimate(self, profile: WorkloadProfile) -> CostReport:
        """Cost of one inference of the profiled network."""
