"""Energy of an inference on the crossbar chip itself."""

from __future__ import annotations

from memristor_plugins.energy import components as c
from memristor_plugins.energy import crossbar_caption as caption
from memristor_plugins.energy import crossbar_costs as costs
from memristor_plugins.energy.crossbar_chip import Chip
from memristor_plugins.interfaces.energy import CostEntry, CostReport, EnergyEstimator, WorkloadProfile


class Crossbar(Chip, EnergyEstimator):
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
