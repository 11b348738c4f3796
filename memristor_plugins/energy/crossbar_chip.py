"""What a crossbar chip is made of: the parameters of `Crossbar`, from which its costs and captions are read."""

from __future__ import annotations

import warnings
from typing import Annotated, Literal

from memristor_plugins.interfaces.energy import LayerProfile
from memristor_plugins.interfaces.parameter import Param

HOROWITZ = "Horowitz 2014, 45 nm, 10.1109/ISSCC.2014.6757323"
ISAAC = "ISAAC Table I, 32 nm, 10.1109/ISCA.2016.12"
# Defaults of settings that one way of driving inputs does not use.
DAC_FOM, PULSE_STEP, PULSE_ENERGY = 1e-15, 1e-9, 40e-15
PUMA = "PUMA, the authors' simulator, 32 nm, 10.1145/3297858.3304049"


class Chip:
    """Joules, seconds and square metres of the parts of a crossbar chip; the formulas stand in `Crossbar`."""

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
