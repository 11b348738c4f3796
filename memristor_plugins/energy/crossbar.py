"""Energy of an inference on the crossbar chip itself."""

from __future__ import annotations

from typing import Annotated, Literal

from memristor_plugins.energy import components as c
from memristor_plugins.interfaces.energy import (
    CostEntry,
    CostReport,
    EnergyEstimator,
    LayerProfile,
    WorkloadProfile,
)
from memristor_plugins.interfaces.parameter import Param

HOROWITZ = "Horowitz 2014, 45 nm, 10.1109/ISSCC.2014.6757323"
ISAAC = "ISAAC Table I, 32 nm, 10.1109/ISCA.2016.12"

# The profile counts bytes at 4 a value; the chip moves what its 8-bit converters deliver.
PROFILE_BYTES_PER_VALUE = 4.0


def conversion_energy(fom: float, bits: int) -> float:
    """Joules of one conversion, `fom * 2**bits`: Walden's figure of merit, nominal resolution as ENOB.

    Charging the nominal resolution is an upper bound: a converter's effective number of bits is lower.
    """
    return fom * 2.0**bits


class Crossbar(EnergyEstimator):
    """Crossbar chip: array reads, converters, gate, digital periphery and on-chip buffers.

    For one image, from counts that were measured on real inputs (`LayerProfile`), each layer costs

        array read       v2g * read_time                                  array
        gate lines       gate_driver * gate_capacitance * gate_cells * gate_v2
        DAC              input_conversions * dac_fom * 2^input_bits       converters
        ADC              output_conversions * adc_fom * 2^output_bits
        sample and hold  output_conversions * sample_hold
        gate DAC         gate_updates * gate_dac_fom * 2^gate_bits
        partial sums     partial_sums * shift_add                         system
        bank factors     bank_multiplies * (int8_multiply + int32_add)
        routing          routing_macs * (int8_multiply + int32_add)
        buffers          (input reads + output writes + routing_macs) * buffer_byte

    and the network, once, `digital = digital_ops * digital_op`. All in joules; the groups at the right are
    those of `components.GROUP_OF`. An ideal converter is not free: where a layer states no resolution its
    analog values still have to be made and read, and `default_bits` is charged.

    Buffers hold one byte a value. `buffer_reads=window` reads each input once for every window it falls in
    (rows x positions bytes, at least one read a value); `once` is the lower bound of perfect
    line buffers. A routing network uses each weight once an image, so each of its multiply-accumulates
    fetches one byte.

    Valid range: dynamic on-chip energy at one read voltage per profile. Not in it: leakage, clocks,
    control, off-chip links, programming, the loss of the supplies behind the word-line drivers, and
    charging the word lines (about 1 fF a cell at 0.1 V: 1 fJ for 128 cells, a two-hundredth of an 8-bit DAC
    conversion). Technologies are not scaled to one node.

    Sources: ISAAC (Shafiee, ISCA 2016, 10.1109/ISCA.2016.12) Table I; Horowitz (ISSCC 2014,
    10.1109/ISSCC.2014.6757323). The ADC's 5-50 fJ/step is the range of published 8-bit
    successive-approximation converters: ISAAC's is 6.1 (2 mW at 1.28 GS/s). The converters of signal and
    gate lines, the gate capacitance and the write energy are assumed.
    """

    def __init__(
        self,
        *,
        adc_fom: Annotated[
            float,
            Param(
                "ADC energy a conversion step",
                unit="J",
                source="geometric middle of the 5-50 fJ/step published for 8-bit SAR; "
                "ISAAC Table I (10.1109/ISCA.2016.12) comes to 6.1 fJ",
                ge=0,
            ),
        ] = 16e-15,
        dac_fom: Annotated[
            float,
            Param(
                "word-line DAC energy a level",
                unit="J",
                source="assumed: binary-weighted capacitors of 1 fF at 1 V, C V^2",
                ge=0,
            ),
        ] = 1e-15,
        default_bits: Annotated[
            int,
            Param("resolution charged where a layer states none", unit="bit", source="assumed", ge=1, le=24),
        ] = 8,
        sample_hold: Annotated[
            float,
            Param(
                "sample-and-hold energy a conversion",
                unit="J",
                source=f"{ISAAC}: 10 uW for 1024 over a read of 100 ns",
                ge=0,
            ),
        ] = 0.98e-15,
        gate_bits: Annotated[
            int,
            Param(
                "gate DAC resolution where the stack has no gate effect",
                unit="bit",
                source="assumed: the headline stack",
                ge=1,
                le=24,
            ),
        ] = 6,
        gate_dac_fom: Annotated[
            float,
            Param(
                "gate DAC energy a level",
                unit="J",
                source="assumed: binary-weighted capacitors of 1 fF across +-2 V, C V^2",
                ge=0,
            ),
        ] = 16e-15,
        gate_capacitance: Annotated[
            float,
            Param(
                "gate capacitance of a cell, its stretch of line included",
                unit="F",
                source="assumed: 0.3 um^2 under 10 nm oxide equivalent (3.45 fF/um^2)",
                ge=0,
            ),
        ] = 1e-15,
        gate_driver: Annotated[
            float,
            Param("energy drawn for each C V^2 of gate line: driver and settling", source="assumed", ge=1),
        ] = 2.0,
        shift_add: Annotated[
            float,
            Param(
                "adding one converted partial sum",
                unit="J",
                source=f"{ISAAC}: 0.05 mW at 1 ns an addition",
                ge=0,
            ),
        ] = 50e-15,
        int8_multiply: Annotated[float, Param("8-bit multiplication", unit="J", source=HOROWITZ, ge=0)] = 0.2e-12,
        int32_add: Annotated[float, Param("32-bit addition", unit="J", source=HOROWITZ, ge=0)] = 0.1e-12,
        digital_op: Annotated[
            float,
            Param(
                "one operation of batch normalisation, activation or pooling",
                unit="J",
                source=f"{HOROWITZ}: a multiplication in FP16, the dearest operation among them",
                ge=0,
            ),
        ] = 1.1e-12,
        buffer_byte: Annotated[
            float,
            Param(
                "moving one byte to or from the on-chip buffer",
                unit="J",
                source=f"{ISAAC}: eDRAM, 17.2 pJ for 256 bit (20.7 mW at 1.2 GHz)",
                ge=0,
            ),
        ] = 17.2e-12 / 32,
        buffer_reads: Annotated[
            Literal["window", "once"],
            Param(
                "how often an input value is read: for every window it falls in, or once",
                source="assumed: no line buffers",
            ),
        ] = "window",
        write_energy: Annotated[
            float,
            Param(
                "write and verify of one cell; only to state what rewriting kernels would cost",
                unit="J",
                source="assumed",
                ge=0,
            ),
        ] = 10e-12,
    ) -> None:
        self.adc_fom = adc_fom
        self.dac_fom = dac_fom
        self.default_bits = default_bits
        self.sample_hold = sample_hold
        self.gate_bits = gate_bits
        self.gate_dac_fom = gate_dac_fom
        self.gate_capacitance = gate_capacitance
        self.gate_driver = gate_driver
        self.shift_add = shift_add
        self.int8_multiply = int8_multiply
        self.int32_add = int32_add
        self.digital_op = digital_op
        self.buffer_byte = buffer_byte
        self.buffer_reads = buffer_reads
        self.write_energy = write_energy

    def estimate(self, profile: WorkloadProfile) -> CostReport:
        """Joules of every component in every layer; zeros included, so that tables are rectangular."""
        entries = [
            CostEntry(layer.name, component, energy)
            for layer in profile.layers
            for component, energy in self._layer(layer, profile.read_time).items()
        ]
        entries.append(CostEntry(c.NETWORK, c.DIGITAL, profile.digital_ops * self.digital_op))
        return CostReport("crossbar", tuple(entries), self._assumptions(profile))

    def _layer(self, layer: LayerProfile, read_time: float) -> dict[str, float]:
        dac = conversion_energy(self.dac_fom, self._bits(layer.input_bits))
        adc = conversion_energy(self.adc_fom, self._bits(layer.output_bits))
        gate_dac = conversion_energy(self.gate_dac_fom, self._gate_bits(layer))
        mac = self.int8_multiply + self.int32_add
        return {
            c.ARRAY_READ: layer.v2g * read_time,
            c.GATE_LINES: self.gate_driver * self.gate_capacitance * layer.gate_cells * layer.gate_v2,
            c.DAC: layer.input_conversions * dac,
            c.ADC: layer.output_conversions * adc,
            c.SAMPLE_AND_HOLD: layer.output_conversions * self.sample_hold,
            c.GATE_DAC: layer.gate_updates * gate_dac,
            c.PARTIAL_SUMS: layer.partial_sums * self.shift_add,
            c.BANK_FACTORS: layer.bank_multiplies * mac,
            c.ROUTING: layer.routing_macs * mac,
            c.BUFFERS: self._buffer_bytes(layer) * self.buffer_byte,
        }

    def _gate_bits(self, layer: LayerProfile) -> int:
        return self.gate_bits if layer.gate_bits is None else layer.gate_bits

    def _bits(self, bits: int | None) -> int:
        return self.default_bits if bits is None else bits

    def _buffer_bytes(self, layer: LayerProfile) -> float:
        reads = layer.input_bytes / PROFILE_BYTES_PER_VALUE
        if self.buffer_reads == "window":
            # Grouped layers hold the rows of one group only; each value is read at least once all the same.
            reads = max(reads, float(layer.rows * layer.positions))
        return reads + layer.output_bytes / PROFILE_BYTES_PER_VALUE + layer.routing_macs

    def _assumptions(self, profile: WorkloadProfile) -> tuple[str, ...]:
        stated = [
            "dynamic on-chip energy: no leakage, clock, control, off-chip link, programming or supply loss",
            f"{profile.read_time * 1e9:g} ns a read of {profile.device}; "
            f"mean of {profile.images} images ({profile.data})",
            f"ADC {self.adc_fom * 1e15:g} fJ/step, word-line DAC {self.dac_fom * 1e15:g} fJ/level (assumed)",
        ]
        layers = profile.layers
        unstated = [layer.name for layer in layers if None in (layer.input_bits, layer.output_bits)]
        if unstated:
            stated.append(
                f"converters without a resolution are charged as {self.default_bits}-bit ones, "
                f"in {len(unstated)} of {len(layers)} layers: an ideal converter is not free"
            )
        gated = [layer for layer in layers if layer.gate_updates or layer.gate_cells]
        if gated:
            stated.append(
                f"gate: {self._gate_bits(gated[0])}-bit DACs at {self.gate_dac_fom * 1e15:g} fJ a level, "
                f"{self.gate_capacitance * 1e15:g} fF a cell, {self.gate_driver:g} C V^2 a step (assumed)"
            )
        if any(layer.bank_multiplies for layer in layers):
            stated.append("bank factors are applied digitally in part or everywhere")
        writes = sum(layer.cells / layer.banks for layer in layers if layer.banks > 1)
        if writes:
            stated.append(
                f"not in the total: writing mixed kernels instead: {writes:.3g} cell writes an image, "
                f"{writes * self.write_energy:.3g} J at {self.write_energy * 1e12:g} pJ a write (assumed)"
            )
        return tuple(stated)
