"""The execution plan of a layer, chosen from what the selected plugins declare about themselves."""

from __future__ import annotations

from dataclasses import dataclass

from memristor_plugins.crossbar.geometry import Geometry
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.interfaces.nonideality import Site


@dataclass(frozen=True)
class Plan:
    """How a layer is computed.

    Args:
        kind: `collapsed`: one convolution; `boundary`: plus converters at the layer's boundary; `tiled`: converters act
            on each array's partial sums.
        reason: why, for `explain=true`.
        noise: read noise is injected into each converted sum.
        row_tiles: arrays that a column's sum is split over.
        banks: stationary kernels.
        nodes: gate voltages that each bank is computed at.
        gate: who applies bank factors: "cells" (third terminal), "digital", or "none".
    """

    kind: str
    reason: str
    noise: bool
    row_tiles: int
    banks: int
    nodes: int
    gate: str


def choose(stack: Stack, geometry: Geometry, *, banks: int, gated: bool, modulated: bool) -> Plan:
    """The cheapest plan that stays exact.

    Args:
        banks: stationary kernels of the layer.
        gated: bank factors lie within the gate's range and the device has a gate.
        modulated: the layer has bank factors.
    """
    row_tiles = -(-geometry.rows // stack.mapping.rows)
    converter, inputs, noise = stack.at(Site.SUM), stack.at(Site.INPUT), stack.at(Site.READ)
    gate = "none" if not modulated else "cells" if gated else "digital"
    effect = stack.at(Site.GATE)
    nodes = effect.nodes if effect is not None and gate == "cells" else 1
    fits = f"{geometry.rows} rows on {stack.mapping.rows}-row arrays"
    if converter is not None and converter.per_tile and row_tiles > 1:
        kind, reason = "tiled", f"{fits}: each of {row_tiles} partial sums is converted by itself"
    elif converter is not None:
        kind, reason = "boundary", f"{fits}: one converted sum a column"
    elif inputs is not None and not inputs.linear:
        kind, reason = "boundary", "converters at the inputs alone; sums stay analog"
    else:
        kind, reason = "collapsed", "every effect on the read path is linear and static"
        if noise is not None:
            reason = "the read path is linear; read noise is added to each column's sum with its exact variance"
    return Plan(kind, reason, noise is not None, row_tiles, banks, nodes, gate)
