"""The execution plan of a layer, chosen from what the selected plugins declare about themselves."""

from __future__ import annotations

from dataclasses import dataclass

from memristor_plugins.crossbar.geometry import Geometry
from memristor_plugins.crossbar.layout import reads
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.errors import SimulationError
from memristor_plugins.interfaces.nonideality import Site


@dataclass(frozen=True)
class Plan:
    """How a layer is computed.

    Args:
        kind: `collapsed`: one convolution; `boundary`: plus element-wise work at the layer's boundary; `tiled`:
            converters act on each read's partial sums.
        reason: why, for `explain=true`.
        noise: read noise is injected into each converted sum.
        reads: matrix rows [first, last) of each converted sum; one for the whole column where the plan is not tiled.
        row_tiles: conversions that a column's sum is split over.
        banks: stationary kernels.
        nodes: gate voltages that each bank is computed at.
        gate: who applies bank factors: "cells" (third terminal), "digital", or "none".
        terms: products that a current is the sum of.
        slices: parts of an input that are driven one after another.
    """

    kind: str
    reason: str
    noise: bool
    reads: tuple[tuple[int, int], ...]
    row_tiles: int
    banks: int
    nodes: int
    gate: str
    terms: int = 1
    slices: int = 1


def choose(stack: Stack, geometry: Geometry, *, banks: int, gated: bool, modulated: bool) -> Plan:
    """The cheapest plan that stays exact.

    Args:
        banks: stationary kernels of the layer.
        gated: bank factors lie within the gate's range and the device has a gate.
        modulated: the layer has bank factors.
    """
    cut = reads(geometry.rows, stack.mapping.rows, stack.rows_per_read)
    converter, inputs, noise = stack.at(Site.SUM), stack.at(Site.INPUT), stack.at(Site.READ)
    gate = "none" if not modulated else "cells" if gated else "digital"
    effect, current = stack.at(Site.GATE), stack.at(Site.CURRENT)
    nodes = effect.nodes if effect is not None and gate == "cells" else 1
    fits = f"{geometry.rows} rows on {stack.mapping.rows}-row arrays"
    if stack.rows_per_read < stack.mapping.rows:
        fits += f", {stack.rows_per_read} at a time"
    if converter is not None and converter.per_tile and len(cut) > 1:
        kind, reason = "tiled", f"{fits}: each of {len(cut)} partial sums is converted by itself"
    elif converter is not None:
        kind, reason = "boundary", f"{fits}: one converted sum a column"
    elif inputs is not None and not inputs.linear:
        kind, reason = "boundary", "converters at the inputs alone; sums stay analog"
    elif current is not None and not current.linear:
        kind, reason = "boundary", "cells' currents are not linear in the inputs; sums stay analog"
    else:
        kind, reason = "collapsed", "every effect on the read path is linear and static"
        if noise is not None:
            reason = "the read path is linear; read noise is added to each column's sum with its exact variance"
    if kind != "tiled" and stack.mapping.lines(geometry.cols) != geometry.cols:
        raise SimulationError(
            f"mapping={type(stack.mapping).__name__} with reference columns is simulated where an adc converts each of "
            f"several row tiles; here the plan is {kind}: {reason}. Take mapping.reference=digital"
        )
    slices = 1
    if inputs is not None and inputs.slice_bits is not None:
        slices = -(-(inputs.bits_used() or 1) // inputs.slice_bits)
        reason += f"; inputs in {slices} slices of {inputs.slice_bits} bits"
    return Plan(
        kind,
        reason,
        noise is not None,
        tuple(cut) if kind == "tiled" else ((0, geometry.rows),),
        len(cut),
        banks,
        nodes,
        gate,
        1 if current is None else current.terms,
        slices,
    )
