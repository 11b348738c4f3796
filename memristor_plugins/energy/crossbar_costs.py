"""Joules, seconds and square metres of a layer on a crossbar chip: the formulas of `Crossbar`, by component."""

from __future__ import annotations

from math import ceil

from memristor_plugins.energy import components as c
from memristor_plugins.energy.crossbar_chip import Chip
from memristor_plugins.interfaces.energy import LayerProfile, WorkloadProfile

# The profile counts bytes at 4 a value; the chip moves what its 8-bit converters deliver.
PROFILE_BYTES_PER_VALUE = 4.0


def conversion_energy(fom: float, bits: int) -> float:
    """Joules of one conversion, `fom * 2**bits`: Walden's figure of merit, nominal resolution as ENOB.

    Charging the nominal resolution is an upper bound: a converter's effective number of bits is lower.
    """
    return fom * 2.0**bits


def energies(chip: Chip, layer: LayerProfile, read_time: float) -> dict[str, float]:
    """Dynamic energy, joules; each formula stands in the docstring of `Crossbar`."""
    mac = chip.int8_multiply + chip.int32_add
    moved = buffer_bytes(chip, layer)
    written = layer.cells * chip.write_energy if layer.write_j is None else layer.write_j
    seconds, amplitude = chip.read_seconds(layer, read_time), chip.inputs == "amplitude"
    square = layer.drive_v2 if amplitude else layer.read_voltage**2 * (1.0 - layer.sparsity)
    dac = conversion_energy(chip.dac_fom, chip.bits(layer.input_bits)) if amplitude else chip.pulse_energy
    return {
        c.ARRAY_READ: (layer.v2g if amplitude else layer.pulse_w) * seconds,
        c.IDLE_LINES: layer.idle_w * seconds,
        c.WORD_LINES: layer.input_conversions * layer.array_columns * chip.word_capacitance * square,
        c.GATE_LINES: chip.gate_driver * chip.gate_capacitance * layer.gate_cells * layer.gate_v2,
        c.DAC: layer.input_conversions * dac * driven(chip, layer),
        c.ADC: layer.output_conversions * conversion_energy(chip.adc_fom, chip.bits(layer.output_bits)),
        c.SAMPLE_AND_HOLD: layer.output_conversions * chip.sample_hold,
        c.GATE_DAC: layer.gate_updates * conversion_energy(chip.gate_dac_fom, chip.gate_resolution(layer)),
        c.PARTIAL_SUMS: layer.partial_sums * chip.shift_add,
        c.BANK_FACTORS: layer.bank_multiplies * mac + layer.factor_multiplies * chip.int8_multiply,
        c.ROUTING: layer.routing_macs * mac,
        c.BUFFERS: moved * chip.buffer_byte,
        c.INTERCONNECT: moved * chip.bus_byte + output_bytes(layer) * chip.hops * chip.router_byte,
        c.PROGRAMMING: written / chip.programming_interval,
    }


def latencies(chip: Chip, layer: LayerProfile, read_time: float) -> dict[str, float]:
    """Seconds that each component takes for one image; components not named here take none."""
    adder = layer.partial_sums / layer.adcs if layer.adcs else 0.0
    return {
        c.ARRAY_READ: layer.reads * chip.read_seconds(layer, read_time),
        c.GATE_LINES: chip.gate_settle if layer.gate_updates else 0.0,
        c.DAC: layer.reads * chip.dac_time,
        c.ADC: layer.reads * layer.adc_share * chip.bits(layer.output_bits) * chip.adc_bit_time,
        c.PARTIAL_SUMS: adder * chip.shift_add_time,
        c.BANK_FACTORS: (layer.bank_multiplies + layer.factor_multiplies) / chip.digital_rate,
        c.ROUTING: layer.routing_macs / chip.digital_rate,
        c.BUFFERS: buffer_bytes(chip, layer) / chip.buffer_rate,
    }


def areas(chip: Chip, layer: LayerProfile) -> dict[str, float]:
    """Square metres of each component; components not named here have none of their own."""
    held = layer.input_bytes / PROFILE_BYTES_PER_VALUE + output_bytes(layer) + layer.routing_macs
    drivers = layer.arrays * layer.array_rows
    return {
        c.ARRAY_READ: drivers * layer.array_columns * chip.cell_area,
        # A pulse needs a driver of two levels.
        c.DAC: drivers
        * driven(chip, layer)
        * chip.dac_area
        * 2.0 ** (chip.bits(layer.input_bits) if chip.inputs == "amplitude" else 1),
        c.ADC: layer.adcs * chip.adc_area * 2.0 ** chip.bits(layer.output_bits),
        c.SAMPLE_AND_HOLD: layer.converted_lines * chip.sample_hold_area,
        c.GATE_DAC: layer.gate_updates * chip.dac_area * 2.0 ** chip.gate_resolution(layer),
        c.PARTIAL_SUMS: layer.adcs * chip.shift_add_area,
        c.BUFFERS: held * chip.buffer_area,
        c.INTERCONNECT: layer.arrays * chip.network_area,
        c.DIGITAL: chip.digital_lanes * chip.lane_area,
    }


def digital(chip: Chip, profile: WorkloadProfile) -> dict[str, tuple[float, float]]:
    """Joules and seconds of what no layer's arrays do, on the lanes of all layers."""
    rest = profile.digital_ops - profile.normalisation_ops - profile.pooling_ops
    kinds = {c.NORMALISATION: profile.normalisation_ops, c.POOLING: profile.pooling_ops, c.DIGITAL: rest}
    rate = chip.digital_rate * max(1, len(profile.layers))
    return {name: (operations * chip.digital_op, operations / rate) for name, operations in kinds.items()}


def driven(chip: Chip, layer: LayerProfile) -> float:
    """Share of the word lines that have a DAC of their own."""
    down = layer.groups * ceil(layer.rows / layer.array_rows) if layer.array_rows else 0
    across = layer.arrays // down if down and layer.arrays > down else 1
    return ceil(across / chip.dac_fanout) / across


def buffer_bytes(chip: Chip, layer: LayerProfile) -> float:
    """Bytes to and from the buffers, one a value."""
    reads = layer.input_bytes / PROFILE_BYTES_PER_VALUE
    if chip.buffer_reads == "window":
        # Grouped layers hold the rows of one group only; each value is read at least once all the same.
        reads = max(reads, float(layer.rows * layer.positions))
    return reads + output_bytes(layer) + layer.routing_macs


def output_bytes(layer: LayerProfile) -> float:
    """Bytes that leave the layer, one a value."""
    return layer.output_bytes / PROFILE_BYTES_PER_VALUE
