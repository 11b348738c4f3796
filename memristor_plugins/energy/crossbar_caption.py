"""What a caption says of a crossbar's cost: bit widths and assumptions."""

from __future__ import annotations

from memristor_plugins.energy.crossbar_chip import Chip
from memristor_plugins.interfaces.energy import WorkloadProfile


def precision(chip: Chip, profile: WorkloadProfile) -> str:
    """Bit widths of inputs, outputs and weights, in words."""
    sides = []
    for side, name in (("inputs", "input_bits"), ("outputs", "output_bits")):
        bits = sorted({chip.bits(getattr(layer, name)) for layer in profile.layers})
        sides.append(f"{'/'.join(map(str, bits)) or chip.default_bits}-bit {side}")
    return f"{sides[0]}, {sides[1]} of each array, analog weights"


def assumptions(chip: Chip, profile: WorkloadProfile) -> tuple[str, ...]:
    """What must be said beside the figures."""
    stated = [
        "batch 1, on chip: no clock, control, off-chip link or supply loss",
        f"{_read(chip, profile)} of {profile.device}; mean of {profile.images} images ({profile.data})",
        *_power(chip, profile),
        f"ADC {chip.adc_fom * 1e15:g} fJ/step, {_driver(chip)} (assumed)",
        f"leakage {chip.leakage * 1e-3:g} mW/mm2 (assumed), idle layers {'off' if chip.power_gating else 'on'}; "
        f"cells are programmed every {chip.programming_interval:.3g} inferences (assumed)",
    ]
    layers = profile.layers
    unstated = [layer.name for layer in layers if None in (layer.input_bits, layer.output_bits)]
    if unstated:
        stated.append(
            f"converters without a resolution are charged as {chip.default_bits}-bit ones, "
            f"in {len(unstated)} of {len(layers)} layers: an ideal converter is not free"
        )
    if chip.dac_fanout > 1:
        stated.append(f"a row of DACs drives up to {chip.dac_fanout} arrays side by side")
    shared = max((layer.adc_share for layer in layers), default=1)
    if shared > 1:
        stated.append(f"an ADC reads {shared} lines in turn")
    gated = [layer for layer in layers if layer.gate_updates or layer.gate_cells]
    if gated:
        stated.append(
            f"gate: {chip.gate_resolution(gated[0])}-bit DACs at {chip.gate_dac_fom * 1e15:g} fJ a level, "
            f"{chip.gate_capacitance * 1e15:g} fF a cell, {chip.gate_driver:g} C V^2 a step (assumed)"
        )
    if any(layer.bank_multiplies for layer in layers):
        stated.append("bank factors are applied digitally in part or everywhere")
    writes = sum(layer.cells / layer.banks for layer in layers if layer.banks > 1)
    if writes:
        stated.append(
            f"not in the total: writing mixed kernels instead: {writes:.3g} cell writes an image, "
            f"{writes * chip.write_energy:.3g} J at {chip.write_energy * 1e12:g} pJ a write (assumed)"
        )
    return tuple(stated)


def _read(chip: Chip, profile: WorkloadProfile) -> str:
    if chip.inputs == "amplitude":
        return f"inputs are amplitudes, {profile.read_time * 1e9:g} ns a read"
    longest = max((chip.read_seconds(layer, profile.read_time) for layer in profile.layers), default=0.0)
    return f"inputs are pulse widths, {longest * 1e9:g} ns a read"


def _driver(chip: Chip) -> str:
    if chip.inputs == "amplitude":
        return f"word-line DAC {chip.dac_fom * 1e15:g} fJ/level"
    return f"{chip.pulse_energy * 1e15:g} fJ a pulse"


def _power(chip: Chip, profile: WorkloadProfile) -> list[str]:
    """What the array's energy is of, where wires have resistance."""
    found = {layer.power_of for layer in profile.layers}
    stated = []
    if found & {"sources", "ohmic sources"}:
        stated.append("array energy is what its sources deliver, the dissipation of wires and drivers included")
        if chip.inputs == "pulse_width":
            stated.append("word lines that share wires are taken one by one, an upper bound of their pulses")
    if "ohmic sources" in found:
        stated.append("in that energy cells are taken as ohmic")
    if "seen" in found:
        stated.append("what the wires dissipate is left out: their model does not tell what the sources deliver")
    return stated
