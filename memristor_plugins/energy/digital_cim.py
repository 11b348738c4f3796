"""A digital compute-in-memory chip: INT8 arithmetic beside the SRAM that holds the weights."""

from __future__ import annotations

from math import ceil
from typing import Annotated

from memristor_plugins.energy import components as c
from memristor_plugins.energy.scaling import STILLMAKER, area_factor, check_node, energy_factor
from memristor_plugins.interfaces.energy import (
    CostEntry,
    CostReport,
    EnergyEstimator,
    LayerProfile,
    WorkloadProfile,
)
from memristor_plugins.interfaces.parameter import Param

HOROWITZ = "Horowitz 2014, 45 nm, 10.1109/ISSCC.2014.6757323"
NODE = 45
MACRO_BYTES = 8192
ACCESS_BYTES = 8
PROFILE_BYTES_PER_VALUE = 4.0


class DigitalCIM(EnergyEstimator):
    """Digital compute in memory: INT8 weights in 8 KB SRAM macros, each with arithmetic for one 64-bit access a cycle.

    One image costs, in joules at 45 nm,

        arithmetic     digital_macs * (multiply + add)
        weight memory  (digital_macs / weight_reuse + mixed weights) * macro_access / 8
        buffers        (rows * positions + outputs) * buffer_access / 8
        routing        routing_macs * (multiply + add + macro_access / 8)
        digital        digital_ops * operation

    with bytes as the unit of memory and accesses of 8 bytes; mixed weights are those that a dynamic layer writes for
    each image where that is its cheapest form. Seconds: digital_macs / (8 macros clock), layers one after another alone
    and side by side in a pipeline; macros = weights / 8 KB. Square metres: SRAM bits over array_efficiency, and eight
    multipliers and adders a macro.

    Valid range: a plain design, without the adder trees or the sparsity of published macros. All weights of all banks
    stay on chip. `node` scales everything by Stillmaker and Baas, 10.1016/j.vlsi.2017.02.002, but the clock.

    Sources: Horowitz (ISSCC 2014, 10.1109/ISSCC.2014.6757323) for energies; Sze et al. (Proc. IEEE 2017,
    10.1109/JPROC.2017.2761740) for areas of arithmetic; Mistry et al. (IEDM 2007, 10.1109/IEDM.2007.4418914) for the
    cell.

    Raises:
        ConfigError: a node that there is no scaling for.
    """

    def __init__(
        self,
        *,
        node: Annotated[int, Param("technology node", unit="nm", source=HOROWITZ, gt=0)] = NODE,
        multiply: Annotated[float, Param("8-bit multiplication", unit="J", source=HOROWITZ, ge=0)] = 0.2e-12,
        add: Annotated[float, Param("32-bit addition", unit="J", source=HOROWITZ, ge=0)] = 0.1e-12,
        operation: Annotated[
            float, Param("one operation of batch norm, activation, pooling", unit="J", source=HOROWITZ, ge=0)
        ] = 1.1e-12,
        macro_access: Annotated[float, Param("64 bit of 8 KB SRAM", unit="J", source=HOROWITZ, ge=0)] = 10e-12,
        buffer_access: Annotated[float, Param("64 bit of 32 KB SRAM", unit="J", source=HOROWITZ, ge=0)] = 20e-12,
        weight_reuse: Annotated[
            float, Param("positions that a weight is read once for", source="assumed: read for each", ge=1)
        ] = 1.0,
        clock: Annotated[float, Param("accesses of a macro", unit="Hz", source="assumed", gt=0)] = 1e9,
        bit_area: Annotated[
            float, Param("SRAM cell", unit="m^2", source="Mistry 2007, 45 nm, 10.1109/IEDM.2007.4418914", ge=0)
        ] = 0.346e-12,
        array_efficiency: Annotated[
            float, Param("share of a macro's area that is cells", source="assumed", gt=0, le=1)
        ] = 0.5,
        mac_area: Annotated[
            float,
            Param("8-bit multiplier and 32-bit adder", unit="m^2", source="Sze 2017: 282 + 137 um^2, 45 nm", ge=0),
        ] = 419e-12,
    ) -> None:
        check_node("energies.digital_cim.node", node)
        self.node, self.weight_reuse, self.clock = node, weight_reuse, clock
        energy, area = energy_factor(NODE, node), area_factor(NODE, node)
        self.mac, self.operation = (multiply + add) * energy, operation * energy
        self.macro_byte = macro_access / ACCESS_BYTES * energy
        self.buffer_byte = buffer_access / ACCESS_BYTES * energy
        self.macro_area = (MACRO_BYTES * 8 * bit_area / array_efficiency + ACCESS_BYTES * mac_area) * area

    def estimate(self, profile: WorkloadProfile) -> CostReport:
        """Cost of one inference on this chip."""
        entries = [entry for layer in profile.layers for entry in self._layer(layer)]
        entries.append(CostEntry(c.NETWORK, c.DIGITAL, profile.digital_ops * self.operation))
        assumptions = (
            f"INT8 on 8 KB SRAM macros ({HOROWITZ}), batch 1, all weights on chip; no control, clock or leakage",
            f"a weight is read once for {self.weight_reuse:g} positions; {self.clock * 1e-9:g} GHz (assumed)",
            *((f"scaled to {self.node} nm ({STILLMAKER})",) if self.node != NODE else ()),
        )
        return CostReport(
            "digital_cim",
            tuple(entries),
            assumptions,
            ops=profile.ops,
            precision="8-bit inputs and weights, 32-bit sums",
            interval_s=max((e.latency_s for e in entries), default=0.0) or None,
        )

    def _layer(self, layer: LayerProfile) -> list[CostEntry]:
        macros = ceil(layer.weight_bytes / PROFILE_BYTES_PER_VALUE / MACRO_BYTES)
        seconds = layer.digital_macs / (macros * ACCESS_BYTES * self.clock) if macros else 0.0
        mixed = layer.rows * layer.cols if layer.digital_macs < layer.macs else 0
        fetched = layer.digital_macs / self.weight_reuse + mixed
        energies = {
            c.WEIGHT_MEMORY: fetched * self.macro_byte,
            c.BUFFERS: (layer.rows * layer.positions + layer.outputs) * self.buffer_byte,
            c.ROUTING: layer.routing_macs * (self.mac + self.macro_byte),
        }
        arithmetic = CostEntry(
            layer.name, c.ARITHMETIC, layer.digital_macs * self.mac, seconds, macros * self.macro_area
        )
        return [arithmetic, *(CostEntry(layer.name, name, joules) for name, joules in energies.items())]
