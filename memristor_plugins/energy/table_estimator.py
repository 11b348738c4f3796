"""What a workload costs on a published chip, from its component table."""

from __future__ import annotations

from math import ceil

from memristor_plugins.energy import components as c
from memristor_plugins.energy.component_table import Table, load
from memristor_plugins.energy.scaling import STILLMAKER, check_node, energy_factor
from memristor_plugins.interfaces.energy import (
    CostEntry,
    CostReport,
    EnergyEstimator,
    LayerProfile,
    WorkloadProfile,
)

# What the table has no unit for: an 8-bit multiplication and a 32-bit addition, and an FP16 operation, at 45 nm.
HOROWITZ = "Horowitz 2014, 45 nm, 10.1109/ISSCC.2014.6757323"
HOROWITZ_NODE = 45
MAC, OPERATION = 0.3e-12, 1.1e-12


class TableEstimator(EnergyEstimator):
    """A chip as its publication describes it, with the profiled network on it.

    A layer takes `blocks` arrays (its own matrices cut to the chip's array size and cells a weight) and uses each of
    them once a position. A product costs its share of every component: power * seconds / arrays of the chip, or energy
    an operation * operations; the area of a layer is its arrays' share of the whole chip.
    """

    def __init__(self, estimator: str, node: int | None) -> None:
        table = load(estimator)
        self.estimator, self.own_node = estimator, table.node
        if node is not None:
            check_node(f"energies.{estimator}.node", node)
        self.table: Table = table if node is None or node == table.node else table.at(node)

    def estimate(self, profile: WorkloadProfile) -> CostReport:
        """Joules, seconds and square metres of one inference on this chip."""
        entries = [entry for layer in profile.layers for entry in self._layer(layer)]
        digital = profile.digital_ops * OPERATION * energy_factor(HOROWITZ_NODE, self.table.node)
        entries.append(CostEntry(c.NETWORK, c.DIGITAL, digital))
        intervals = [layer.positions * self.table.seconds for layer in profile.layers]
        return CostReport(
            self.estimator,
            tuple(entries),
            self._assumptions(profile),
            ops=profile.ops,
            precision=self.table.precision,
            interval_s=max(intervals, default=0.0) or None,
        )

    def blocks(self, layer: LayerProfile) -> int:
        """Arrays that a layer takes."""
        table, groups = self.table, max(1, layer.groups)
        tall = ceil(layer.rows * table.rows_per_weight / table.rows)
        wide = ceil(ceil(layer.cols / groups) * table.columns_per_weight / table.columns)
        return groups * tall * wide * layer.banks

    def _layer(self, layer: LayerProfile) -> list[CostEntry]:
        arrays = self.blocks(layer)
        products = arrays * layer.positions
        duration = layer.positions * self.table.seconds
        unit = self.table.array_part if self.table.array_part == c.MATRIX_UNIT else c.ARRAY_READ
        entries = [
            CostEntry(layer.name, name, products * joules, duration if name == unit else 0.0, arrays * area)
            for name, (joules, area) in self.table.per_product().items()
        ]
        # The table has no unit for dynamic kernels: their arithmetic is charged beside it.
        mac = MAC * energy_factor(HOROWITZ_NODE, self.table.node)
        factors = layer.banks * layer.outputs if layer.banks > 1 else 0.0
        for name, macs in ((c.ROUTING, layer.routing_macs), (c.BANK_FACTORS, factors + layer.factor_multiplies)):
            entries.append(CostEntry(layer.name, name, macs * mac))
        return entries

    def _assumptions(self, profile: WorkloadProfile) -> tuple[str, ...]:
        table = self.table
        stated = [
            f"{table.name} ({table.source}), {table.precision}, {self.own_node} nm",
            *table.assumed,
            f"batch 1; {table.seconds * 1e9:g} ns a product; peak {table.ops_per_joule * 1e-12:.3g} TOPS/W",
            f"batch norm, activations, routing and bank factors at {HOROWITZ}, scaled to {table.node} nm; "
            "their time is hidden",
        ]
        if table.node != self.own_node:
            stated.append(f"scaled to {table.node} nm: energy and area of digital parts only ({STILLMAKER}), no times")
        used = sum(map(self.blocks, profile.layers))
        if used > table.arrays:
            stated.append(f"{used} arrays, which are {used / table.arrays:.2g} chips; links between them as on one")
        return tuple(stated)
