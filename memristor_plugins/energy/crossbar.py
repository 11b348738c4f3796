"""Energy of an inference on the crossbar chip itself."""

from __future__ import annotations

import warnings
from typing import Annotated, Literal

from memristor_plugins.energy import components as c
from memristor_plugins.energy import crossbar_caption as caption
from memristor_plugins.energy import crossbar_costs as costs
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
# Defaults of settings that one way of driving inputs does not use.
DAC_FOM, PULSE_STEP, PULSE_ENERGY = 1e-15, 1e-9, 40e-15
PUMA = "PUMA, the authors' simulator, 32 nm, 10.1145/3297858.3304049"


class Crossbar(EnergyEstimator):
    """Crossbar chip: energy, latency and area of arrays, converters, gate, digital periphery and buffers.

    From counts that were measured on real inputs (`LayerProfile`), for one image, in joules:

        array read       v2g * read_time                                        array
        idle lines       idle_w * read_time
        word lines       input_conversions * array_columns * word_capacitance * drive_v2
        gate lines       gate_driver * gate_capacitance * gate_cells * gate_v2
        DAC              input_conversions * dac_fom * 2^input_bits * d         converters
        ADC              output_conversions * adc_fom * 2^output_bits
        sample and hold  output_conversions * sample_hold
        gate DAC         gate_updates * gate_dac_fom * 2^gate_bits
        partial sums     partial_sums * shift_add                               system
        bank factors     bank_multiplies * (int8_multiply + int32_add) + factor_multiplies * int8_multiply
        routing          routing_macs * (int8_multiply + int32_add)
        buffers          (input reads + outputs + routing_macs) * buffer_byte
        interconnect     the same bytes * bus_byte + outputs * hops * router_byte
        programming      cells * write_energy (or what the device's pulses took) / programming_interval
        leakage          leakage * area of the layer * time it is switched on

    and for the network `normalisation`, `pooling` and `digital` (the rest): operations * digital_op.

    d is the share of word lines that have a DAC of their own: of a arrays side by side (banks and columns that read the
    same inputs) ceil(a / dac_fanout) / a. What charges the word lines is not shared.

    With `inputs=pulse_width` an input is the width of a pulse of the read voltage, and a read lasts
    (2^input_bits - 1) * pulse_step: array read pulse_w * that time, idle lines idle_w * that time, word lines charged
    to the read voltage for each input that is not zero, DAC input_conversions * pulse_energy * d. The sums of linear
    cells are the same as with amplitudes, and so is the accuracy.

    Seconds: array reads * read_time (or the longest pulse), DAC reads * dac_time, ADC reads * share * output_bits *
    adc_bit_time, partial sums partial_sums / adcs * shift_add_time, gate lines gate_settle, digital work operations /
    (digital_lanes * clock), buffers bytes / buffer_rate. Nothing overlaps in `latency_s`; `interval_s` is the longest
    of all entries, where every stage of every layer works on something else.

    Square metres: cells of whole arrays, word-line DACs and ADCs in proportion to their levels, one shift-add an ADC,
    buffers for a layer's inputs, outputs and routing weights, network a share an array, digital lanes a layer.

    The groups at the right are those of `components.GROUP_OF`. An ideal converter is not free: where a layer states no
    resolution its analog values still have to be made and read, and `default_bits` is charged. Buffers hold one byte a
    value. `buffer_reads=window` reads each input once for every window it falls in (rows x positions bytes, at least
    one read a value); `once` is the lower bound of perfect line buffers. A routing network uses each weight once an
    image, so each of its multiply-accumulates fetches one byte.

    Valid range: `v2g` is what the sources deliver, with `ir_drop` into the wires too (`LayerProfile.power_of`; a
    caption tells where something is left out). Gain and offset of word-line drivers are taken as ideal here. Not in it:
    clocks, control, off-chip links, and the loss of the supplies behind the word-line drivers. Technologies are not
    scaled to one node.

    Sources: ISAAC (Shafiee, ISCA 2016, 10.1109/ISCA.2016.12) Table I; PUMA (Ankit, ASPLOS 2019,
    10.1145/3297858.3304049); Horowitz (ISSCC 2014, 10.1109/ISSCC.2014.6757323). The ADC's 5-50 fJ/step is the range of
    published 8-bit successive-approximation converters: ISAAC's is 6.1 (2 mW at 1.28 GS/s). The converters of signal
    and gate lines, the gate capacitance and the write energy are assumed.
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
        ] = DAC_FOM,
        dac_fanout: Annotated[
            int,
            Param("arrays side by side, banks among them, that one row of DACs drives", source="1: each its own", ge=1),
        ] = 1,
        inputs: Annotated[
            Literal["amplitude", "pulse_width"],
            Param("what of a word line's signal an input is", source="assumed: the headline stack"),
        ] = "amplitude",
        pulse_step: Annotated[
            float, Param("width of the shortest pulse, inputs=pulse_width", unit="s", source="assumed: 1 GHz", gt=0)
        ] = PULSE_STEP,
        pulse_energy: Annotated[
            float,
            Param(
                "making one pulse, inputs=pulse_width",
                unit="J",
                source="assumed: compared with a counter of 8 bit, 5 fJ a bit",
                ge=0,
            ),
        ] = PULSE_ENERGY,
        word_capacitance: Annotated[
            float, Param("capacitance of a word line a cell", unit="F", source="assumed: as a gate's", ge=0)
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
        bus_byte: Annotated[
            float,
            Param(
                "moving one byte between buffer and arrays",
                unit="J",
                source=f"{ISAAC}: bus of 384 bit, 7 mW; at 1.2 GHz (assumed)",
                ge=0,
            ),
        ] = 0.12e-12,
        router_byte: Annotated[
            float,
            Param(
                "one byte through one router",
                unit="J",
                source=f"{ISAAC}: router of 42 mW, 8 ports of 32 bit; one flit a port and cycle of 1.2 GHz (assumed)",
                ge=0,
            ),
        ] = 1.1e-12,
        hops: Annotated[
            float, Param("routers that an output passes", source="assumed: the next layer is a neighbour", ge=0)
        ] = 1.0,
        write_energy: Annotated[
            float,
            Param("write and verify of one cell, unless its device says", unit="J", source="assumed", ge=0),
        ] = 10e-12,
        programming_interval: Annotated[
            float,
            Param("inferences between two programmings", source="assumed: hours to days of inference", ge=1),
        ] = 1e9,
        endurance: Annotated[
            float, Param("writes that a cell bears", source="assumed: nonideality=endurance, 1e6", gt=0)
        ] = 1e6,
        leakage: Annotated[
            float,
            Param(
                "leakage of a square metre of chip",
                unit="W/m^2",
                source=f"assumed: 10 mW/mm^2, between memory (5) and core logic (50) in {PUMA}",
                ge=0,
            ),
        ] = 1e4,
        power_gating: Annotated[
            bool,
            Param("layers that do not work are switched off", source="assumed: cells keep their weights without power"),
        ] = True,
        dac_time: Annotated[float, Param("settling of a word line", unit="s", source=PUMA, ge=0)] = 1e-9,
        adc_bit_time: Annotated[
            float,
            Param("one bit of a conversion", unit="s", source=f"{ISAAC}: 8 bit at 1.28 GS/s", ge=0),
        ] = 97.7e-12,
        shift_add_time: Annotated[float, Param("one addition of a sum", unit="s", source=PUMA, ge=0)] = 1e-9,
        gate_settle: Annotated[float, Param("settling of the gate lines", unit="s", source="assumed", ge=0)] = 10e-9,
        digital_lanes: Annotated[
            int, Param("digital operations of a layer at once", source="assumed: a vector unit of 16", ge=1)
        ] = 16,
        clock: Annotated[float, Param("digital clock", unit="Hz", source=PUMA, gt=0)] = 1e9,
        buffer_rate: Annotated[
            float,
            Param(
                "bytes a second to and from a layer's buffer",
                unit="B/s",
                source=f"{ISAAC}: eDRAM, 256 bit a cycle of 1.2 GHz",
                gt=0,
            ),
        ] = 38.4e9,
        cell_area: Annotated[
            float,
            Param("area of a cell", unit="m^2", source="assumed: 0.3 um^2, that of the gate above", ge=0),
        ] = 0.3e-12,
        dac_area: Annotated[
            float,
            Param(
                "area of a level of a DAC",
                unit="m^2",
                source=f"{ISAAC}: 1 bit, 0.166 um^2; in proportion to levels (assumed)",
                ge=0,
            ),
        ] = 0.083e-12,
        adc_area: Annotated[
            float,
            Param(
                "area of a level of an ADC",
                unit="m^2",
                source=f"{ISAAC}: 8 bit, 1200 um^2; in proportion to levels (assumed)",
                ge=0,
            ),
        ] = 4.69e-12,
        sample_hold_area: Annotated[
            float, Param("area of a sample-and-hold", unit="m^2", source=f"{ISAAC}: 40 um^2 for 1024", ge=0)
        ] = 0.039e-12,
        shift_add_area: Annotated[
            float, Param("area of a shift-add", unit="m^2", source=f"{ISAAC}: 240 um^2 for 4", ge=0)
        ] = 60e-12,
        buffer_area: Annotated[
            float, Param("area of a byte of buffer", unit="m^2", source=f"{ISAAC}: 0.083 mm^2 for 64 KB", ge=0)
        ] = 1.27e-12,
        network_area: Annotated[
            float,
            Param(
                "area of bus and router for an array",
                unit="m^2",
                source=f"{ISAAC}: 0.1278 mm^2 for the 96 of a tile",
                ge=0,
            ),
        ] = 1331e-12,
        lane_area: Annotated[
            float, Param("area of a digital lane", unit="m^2", source=f"{PUMA}: vector unit of one lane", ge=0)
        ] = 4030e-12,
    ) -> None:
        self.adc_fom = adc_fom
        self.dac_fom = dac_fom
        self.dac_fanout = dac_fanout
        self.inputs = inputs
        unused = {
            "dac_fom": inputs == "pulse_width" and dac_fom != DAC_FOM,
            "pulse_step": inputs == "amplitude" and pulse_step != PULSE_STEP,
            "pulse_energy": inputs == "amplitude" and pulse_energy != PULSE_ENERGY,
        }
        for name in (name for name, is_unused in unused.items() if is_unused):
            warnings.warn(f"energies.crossbar.{name} has no effect with inputs={inputs}", stacklevel=2)
        self.pulse_step, self.pulse_energy = pulse_step, pulse_energy
        self.word_capacitance = word_capacitance
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
        self.bus_byte = bus_byte
        self.router_byte = router_byte
        self.hops = hops
        self.write_energy = write_energy
        self.programming_interval = programming_interval
        self.endurance = endurance
        self.leakage = leakage
        self.power_gating = power_gating
        self.dac_time = dac_time
        self.adc_bit_time = adc_bit_time
        self.shift_add_time = shift_add_time
        self.gate_settle = gate_settle
        self.digital_lanes = digital_lanes
        self.digital_rate = digital_lanes * clock
        self.buffer_rate = buffer_rate
        self.cell_area = cell_area
        self.dac_area = dac_area
        self.adc_area = adc_area
        self.sample_hold_area = sample_hold_area
        self.shift_add_area = shift_add_area
        self.buffer_area = buffer_area
        self.network_area = network_area
        self.lane_area = lane_area

    def estimate(self, profile: WorkloadProfile) -> CostReport:
        """Cost of every component in every layer; zeros included, so that tables are rectangular."""
        digital = costs.digital(self, profile)
        times = {layer.name: costs.latencies(self, layer, profile.read_time) for layer in profile.layers}
        alone = sum(sum(of.values()) for of in times.values()) + sum(seconds for _, seconds in digital.values())
        entries = []
        for layer in profile.layers:
            energy, area = costs.energies(self, layer, profile.read_time), costs.areas(self, layer)
            on = sum(times[layer.name].values()) if self.power_gating else alone
            energy[c.LEAKAGE] = self.leakage * sum(area.values()) * on
            entries += [
                CostEntry(
                    layer.name,
                    component,
                    energy.get(component, 0.0),
                    times[layer.name].get(component, 0.0),
                    area.get(component, 0.0),
                )
                for component in {**energy, **area}
            ]
        entries += [CostEntry(c.NETWORK, name, *of) for name, of in digital.items()]
        return CostReport(
            "crossbar",
            tuple(entries),
            caption.assumptions(self, profile),
            ops=profile.ops,
            precision=caption.precision(self, profile),
            interval_s=max(e.latency_s for e in entries) or None,
            lifetime_inferences=self.endurance * self.programming_interval,
        )

    def read_seconds(self, layer: LayerProfile, read_time: float) -> float:
        """Duration of one read of an array; `read_time` is the device's."""
        if self.inputs == "amplitude":
            return read_time
        return (2.0 ** self.bits(layer.input_bits) - 1) * self.pulse_step

    def gate_resolution(self, layer: LayerProfile) -> int:
        """Bits of the layer's gate DACs."""
        return self.gate_bits if layer.gate_bits is None else layer.gate_bits

    def bits(self, bits: int | None) -> int:
        """Resolution that a converter is charged for."""
        return self.default_bits if bits is None else bits
