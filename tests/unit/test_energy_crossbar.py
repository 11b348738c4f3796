"""The crossbar's costs against numbers worked by hand, one component at a time."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memristor_plugins.energy.components import BOUNDARIES, GROUP_OF, by_boundary, inside
from memristor_plugins.energy.crossbar import Crossbar
from memristor_plugins.interfaces.energy import CostEntry, CostReport, LayerProfile, Quantity, WorkloadProfile

# A layer that does nothing: each test sets only the counts it is about.
IDLE: dict[str, Any] = {f.name: 0 for f in fields(LayerProfile)} | {
    "name": "conv1",
    "banks": 1,
    "input_bits": 8,
    "output_bits": 8,
    "gate_bits": None,
}


def profile(*layers: dict[str, Any], digital_ops: float = 0.0, read_time: float = 10e-9) -> WorkloadProfile:
    made = tuple(LayerProfile(**(IDLE | counts)) for counts in layers)
    return WorkloadProfile(made, digital_ops, read_time, images=10, data="digits", device="adaptive_2d")


# Leakage depends on everything: it has tests of its own.
TIGHT = Crossbar(leakage=0.0)


def costs(estimator: Crossbar, **counts: Any) -> dict[str, float]:
    """Components that cost anything in a one-layer network."""
    report = estimator.estimate(profile(counts))
    return {name: energy for name, energy in report.by_component().items() if energy}


BUSY: dict[str, Any] = {
    "rows": 27,
    "positions": 1024,
    "v2g": 3e-3,
    "input_conversions": 27648,
    "output_conversions": 65536,
    "partial_sums": 1000,
    "bank_multiplies": 70,
    "routing_macs": 500,
    "gate_updates": 4,
    "gate_cells": 6912,
    "gate_v2": 4.0,
    "input_bytes": 12288,
    "output_bytes": 262144,
    "groups": 1,
    "cells": 6912,
    "arrays": 4,
    "array_rows": 128,
    "array_columns": 128,
    "reads": 1024,
    "converted_lines": 256,
    "adcs": 64,
    "adc_share": 4,
    "factor_multiplies": 30,
    "write_j": None,
}


def test_array_read_is_dissipation_times_read_time() -> None:
    # 3 mW for 10 ns.
    assert costs(TIGHT, v2g=3e-3) == {"array read": 3e-3 * 10e-9}


def test_adc_energy_is_figure_of_merit_times_levels() -> None:
    # 100 conversions * 16 fJ * 2^8, and 0.98 fJ of sample-and-hold each.
    found = costs(TIGHT, output_conversions=100)
    assert found == pytest.approx({"ADC": 409.6e-12, "sample and hold": 98e-15})


def test_dac_energy_is_figure_of_merit_times_levels() -> None:
    # 100 conversions * 1 fJ * 2^4.
    assert costs(TIGHT, input_conversions=100, input_bits=4) == pytest.approx({"DAC": 1.6e-12})


def test_one_row_of_dacs_drives_arrays_side_by_side_of_all_groups_apart() -> None:
    # 3 arrays down and 5 across in each of 2 groups; the word lines are charged all the same.
    wide: dict[str, Any] = {"rows": 300, "array_rows": 128, "groups": 2, "arrays": 30, "input_conversions": 1000}
    wide |= {"array_columns": 128, "drive_v2": 1e-3}
    own = costs(TIGHT, **wide)
    shares = {2: 3 / 5, 4: 2 / 5, 5: 1 / 5, 64: 1 / 5}
    for fanout, share in shares.items():
        shared = Crossbar(leakage=0.0, dac_fanout=fanout)
        assert costs(shared, **wide) == pytest.approx(own | {"DAC": share * own["DAC"]})
        area, alone = sums("area_m2", shared, **wide), sums("area_m2", TIGHT, **wide)
        assert area["DAC"] == pytest.approx(share * alone["DAC"])
    assert any("up to 4 arrays" in text for text in Crossbar(dac_fanout=4).estimate(profile(wide)).assumptions)


def test_gate_costs_its_dac_and_its_lines() -> None:
    # 4 updates * 16 fJ * 2^6; 2 * 1 fF * 1000 cells * 4 V^2.
    found = costs(TIGHT, gate_updates=4, gate_cells=1000, gate_v2=4.0)
    assert found == pytest.approx({"gate DAC": 4.096e-12, "gate lines": 8e-12})


def test_digital_periphery() -> None:
    # 10 additions at 50 fJ; 10 multiply-accumulates at 0.2 + 0.1 pJ.
    assert costs(TIGHT, partial_sums=10) == pytest.approx({"partial sums": 0.5e-12})
    assert costs(TIGHT, bank_multiplies=10) == pytest.approx({"bank factors": 3e-12})


def test_routing_computes_and_fetches_a_byte_a_weight() -> None:
    # 32 MACs at 0.3 pJ; 32 bytes are one 256-bit access of 17.2 pJ, and pass the bus at 0.12 pJ.
    found = costs(TIGHT, routing_macs=32)
    assert found == pytest.approx({"routing": 9.6e-12, "buffers": 17.2e-12, "interconnect": 3.84e-12})


def test_buffers_move_one_byte_a_value() -> None:
    # 64 values in and 64 out, at 4 bytes a value in the profile: 128 bytes, four 256-bit accesses. All pass the bus,
    # and the outputs two routers at 1.1 pJ.
    found = costs(Crossbar(leakage=0.0, hops=2), input_bytes=256, output_bytes=256)
    assert found == pytest.approx({"buffers": 4 * 17.2e-12, "interconnect": 128 * 0.12e-12 + 64 * 2 * 1.1e-12})


@pytest.mark.parametrize(("reads", "accesses"), [("window", 18), ("once", 2)])
def test_overlapping_windows_are_read_again_unless_line_buffered(
    reads: Literal["window", "once"], accesses: int
) -> None:
    # 64 values; 9 rows * 64 positions = 576 reads = 18 accesses of 32 bytes.
    found = costs(Crossbar(buffer_reads=reads, leakage=0.0), input_bytes=256, rows=9, positions=64)
    assert found["buffers"] == pytest.approx(accesses * 17.2e-12)


def test_a_grouped_layer_reads_each_input_at_least_once() -> None:
    # 32 channels of 64 values, 1x1, depthwise: one row, 64 positions, yet 2048 values.
    found = costs(TIGHT, input_bytes=8192, rows=1, positions=64)
    assert found["buffers"] == pytest.approx(64 * 17.2e-12)


def test_digital_operations_stand_under_the_network() -> None:
    made = replace(profile(digital_ops=1000), normalisation_ops=600, pooling_ops=300)
    # 16 lanes at 1 GHz.
    assert Crossbar().estimate(made).entries == (
        CostEntry("network", "normalisation", 600 * 1.1e-12, 600 / 16e9),
        CostEntry("network", "pooling", 300 * 1.1e-12, 300 / 16e9),
        CostEntry("network", "digital", 100 * 1.1e-12, 100 / 16e9),
    )


def test_an_ideal_converter_is_charged_and_the_caption_says_so() -> None:
    ideal = {"input_conversions": 10, "output_conversions": 10, "input_bits": None, "output_bits": None}
    assert costs(TIGHT, **ideal) == costs(TIGHT, **(ideal | {"input_bits": 8, "output_bits": 8}))
    said = Crossbar(default_bits=10).estimate(profile(ideal, BUSY)).assumptions
    assert [s for s in said if "10-bit" in s and "1 of 2 layers" in s]
    assert not [s for s in Crossbar().estimate(profile(BUSY)).assumptions if "without a resolution" in s]


def test_rewriting_kernels_is_stated_and_never_added() -> None:
    # 4 banks of 7.35 M cells: one mixed kernel is 7.35 M writes, at 10 pJ 73.5 uJ.
    dynamic = profile({"banks": 4, "cells": 4 * 7_350_000})
    report = Crossbar(programming_interval=1e300).estimate(dynamic)
    assert report.total_j < 1e-300
    assert [s for s in report.assumptions if "7.35e+06 cell writes" in s and "7.35e-05 J" in s]
    static = Crossbar().estimate(profile({"banks": 1, "cells": 7_350_000}))
    assert not [s for s in static.assumptions if "cell writes" in s]


def test_captions_name_what_was_profiled() -> None:
    said = " ".join(Crossbar().estimate(profile(BUSY)).assumptions)
    for fact in ("10 ns", "10 images", "digits", "adaptive_2d", "16 fJ/step", "6-bit", "bank factors"):
        assert fact in said


DOUBLED = {
    "v2g": {"array read"},
    "input_conversions": {"DAC"},
    "output_conversions": {"ADC", "sample and hold"},
    "partial_sums": {"partial sums"},
    "gate_updates": {"gate DAC"},
    "gate_cells": {"gate lines"},
    "gate_v2": {"gate lines"},
}


@pytest.mark.parametrize("count", DOUBLED)
@given(value=st.floats(1e-9, 1e9))
def test_doubling_a_count_doubles_its_components_only(count: str, value: float) -> None:
    once = TIGHT.estimate(profile(BUSY | {count: value})).by_component()
    twice = TIGHT.estimate(profile(BUSY | {count: 2 * value})).by_component()
    for component, energy in once.items():
        factor = 2 if component in DOUBLED[count] else 1
        assert twice[component] == pytest.approx(factor * energy, rel=1e-12)


@pytest.mark.parametrize(
    ("side", "component"), [("input_bits", "DAC"), ("output_bits", "ADC"), ("gate_bits", "gate DAC")]
)
@given(bits=st.integers(1, 16))
def test_one_more_bit_doubles_its_converter_only(side: str, component: str, bits: int) -> None:
    fewer = TIGHT.estimate(profile(BUSY | {side: bits})).by_component()
    more = TIGHT.estimate(profile(BUSY | {side: bits + 1})).by_component()
    assert more == fewer | {component: 2 * fewer[component]}


@given(bits=st.integers(1, 16))
def test_one_more_gate_bit_doubles_the_gate_dac_only(bits: int) -> None:
    fewer = Crossbar(gate_bits=bits, leakage=0.0).estimate(profile(BUSY)).by_component()
    more = Crossbar(gate_bits=bits + 1, leakage=0.0).estimate(profile(BUSY)).by_component()
    assert more == fewer | {"gate DAC": 2 * fewer["gate DAC"]}


def test_twice_the_read_time_doubles_the_array_only() -> None:
    short = TIGHT.estimate(profile(BUSY, read_time=10e-9)).by_component()
    long = TIGHT.estimate(profile(BUSY, read_time=20e-9)).by_component()
    assert long == short | {"array read": 2 * short["array read"]}


def test_a_black_image_costs_everything_but_the_array_read() -> None:
    lit = costs(TIGHT, **BUSY)
    dark = costs(TIGHT, **(BUSY | {"v2g": 0.0, "nonzero_macs": 0.0}))
    assert dark == {name: energy for name, energy in lit.items() if name != "array read"}


def test_every_component_belongs_to_a_boundary() -> None:
    report = Crossbar().estimate(profile(BUSY, digital_ops=1.0))
    assert {e.component for e in report.entries} <= set(GROUP_OF)


def test_boundaries_nest_and_end_at_the_total() -> None:
    report = Crossbar().estimate(profile(BUSY, BUSY | {"name": "conv2"}, digital_ops=100.0))
    found, sums = by_boundary(report), report.by_component()
    array = sums["array read"] + sums["gate lines"]
    assert list(found) == ["array only", "array and converters", "full system"]
    assert found["array only"] == pytest.approx(array)
    converters = sums["DAC"] + sums["ADC"] + sums["sample and hold"] + sums["gate DAC"]
    assert found["array and converters"] == pytest.approx(array + converters)
    assert found["full system"] == report.total_j
    assert inside(report, "array only").area_m2 == pytest.approx(2 * 4 * 128 * 128 * 0.3e-12)
    assert [inside(report, name).total_j for name in BOUNDARIES] == list(found.values())


def test_an_unknown_component_counts_in_the_full_system_only() -> None:
    report = CostReport("another", (CostEntry("conv1", "photonics", 1.0),))
    assert by_boundary(report) == {"array only": 0.0, "array and converters": 0.0, "full system": 1.0}


def sums(quantity: Quantity, estimator: Crossbar = TIGHT, **counts: Any) -> dict[str, float]:
    return estimator.estimate(profile(BUSY | counts)).by_component(quantity)


def test_seconds_of_every_stage() -> None:
    # 1024 reads of 10 ns; a DAC settles in 1 ns; an ADC converts 4 lines of 8 bits at 97.7 ps; 1000 additions by 64
    # shift-adds at 1 ns; 500 MACs and 100 multiplications by 16 lanes at 1 GHz; 27648 + 65536 + 500 bytes at 38.4 GB/s.
    found = {name: seconds for name, seconds in sums("latency_s").items() if seconds}
    assert found == pytest.approx(
        {
            "array read": 10.24e-6,
            "DAC": 1.024e-6,
            "ADC": 1024 * 4 * 8 * 97.7e-12,
            "partial sums": 1000 / 64 * 1e-9,
            "gate lines": 10e-9,
            "routing": 500 / 16e9,
            "bank factors": 100 / 16e9,
            "buffers": 93684 / 38.4e9,
        }
    )


def test_latency_alone_adds_up_and_a_pipeline_waits_for_its_longest_stage() -> None:
    report = TIGHT.estimate(profile(BUSY, BUSY | {"name": "conv2", "reads": 4096}))
    one = TIGHT.estimate(profile(BUSY)).latency_s
    assert one is not None
    assert report.latency_s == pytest.approx(2 * one + 3072 * (10e-9 + 1e-9 + 4 * 8 * 97.7e-12))
    assert report.interval_s == pytest.approx(4096 * 10e-9)
    assert report.throughput == pytest.approx(1 / 40.96e-6)
    assert report.energy_delay_js == pytest.approx(report.total_j * report.total("latency_s"))


def test_square_metres_of_every_part() -> None:
    # 4 arrays of 128 x 128 cells of 0.3 um2; 512 drivers of 256 levels; 64 ADCs of 256 levels and as many shift-adds;
    # 256 sample-and-holds; 4 gate DACs of 64 levels; 3072 + 65536 + 500 bytes; the network of 4 arrays; 16 lanes.
    found = {name: area for name, area in sums("area_m2").items() if area}
    assert found == pytest.approx(
        {
            "array read": 65536 * 0.3e-12,
            "DAC": 512 * 256 * 0.083e-12,
            "ADC": 64 * 256 * 4.69e-12,
            "partial sums": 64 * 60e-12,
            "sample and hold": 256 * 0.039e-12,
            "gate DAC": 4 * 64 * 0.083e-12,
            "buffers": 69108 * 1.27e-12,
            "interconnect": 4 * 1331e-12,
            "digital": 16 * 4030e-12,
        }
    )


def test_sharing_an_adc_trades_time_for_area() -> None:
    own, shared = (TIGHT.estimate(profile(BUSY | {"adcs": 256 // n, "adc_share": n})) for n in (1, 8))
    assert shared.by_component("latency_s")["ADC"] == pytest.approx(8 * own.by_component("latency_s")["ADC"])
    assert 8 * shared.by_component("area_m2")["ADC"] == pytest.approx(own.by_component("area_m2")["ADC"])
    assert shared.by_component()["ADC"] == own.by_component()["ADC"]
    assert [s for s in shared.assumptions if "8 lines in turn" in s]


@pytest.mark.parametrize("gating", [True, False])
def test_leakage_is_area_times_time_switched_on(gating: bool) -> None:
    chip = Crossbar(leakage=2e4, power_gating=gating)
    report = chip.estimate(profile(BUSY, BUSY | {"name": "conv2", "reads": 4096, "arrays": 8}, digital_ops=1e4))
    seconds, area = report.by_layer("latency_s"), report.by_layer("area_m2")
    for layer in ("conv1", "conv2"):
        leaked = next(e.energy_j for e in report.entries if (e.layer, e.component) == (layer, "leakage"))
        assert leaked == pytest.approx(2e4 * area[layer] * (seconds[layer] if gating else sum(seconds.values())))


def test_programming_is_spread_over_the_inferences_it_lasts_for() -> None:
    # 1000 cells at 10 pJ, or what the device's pulses took, every million inferences; a million writes a cell.
    chip = Crossbar(leakage=0.0, programming_interval=1e6)
    assert costs(chip, cells=1000, write_j=None) == pytest.approx({"programming": 1e-14})
    assert costs(chip, cells=1000, write_j=5e-6) == pytest.approx({"programming": 5e-12})
    report = chip.estimate(profile(BUSY))
    assert report.lifetime_inferences == 1e12
    assert report.interval_s is not None
    assert report.lifetime_s == pytest.approx(1e12 * report.interval_s)


def test_efficiency_is_stated_with_its_bit_widths() -> None:
    report = TIGHT.estimate(profile(BUSY | {"digital_macs": 1e6, "routing_macs": 1000}, digital_ops=500))
    assert report.ops == 2 * 1.001e6 + 500
    assert report.tops_per_watt == pytest.approx(report.ops / report.total_j * 1e-12)
    assert report.precision == "8-bit inputs, 8-bit outputs of each array, analog weights"


@given(layers=st.lists(st.floats(1e-12, 1e12), min_size=1, max_size=6))
def test_layers_add_up_to_the_totals_to_the_last_bit(layers: list[float]) -> None:
    made = [BUSY | {"name": f"conv{i}", "v2g": value, "reads": value} for i, value in enumerate(layers)]
    report = Crossbar().estimate(profile(*made, digital_ops=7.0))
    assert sum(report.by_layer().values()) == report.total_j
    assert sum(report.by_layer("latency_s").values()) == report.latency_s
    assert sum(report.by_layer("area_m2").values()) == report.area_m2


def test_a_setting_of_the_other_way_of_driving_inputs_warns() -> None:
    with pytest.warns(UserWarning, match="energies.crossbar.pulse_step has no effect with inputs=amplitude"):
        Crossbar(pulse_step=2e-9)
    with pytest.warns(UserWarning, match="energies.crossbar.dac_fom has no effect with inputs=pulse_width"):
        Crossbar(inputs="pulse_width", dac_fom=2e-15)


def test_word_lines_charge_whole_rows() -> None:
    # 100 drives of 128 cells of 1 fF to sqrt(1e-3) V; what leaks through idle lines for 10 ns.
    found = costs(TIGHT, input_conversions=100, array_columns=128, drive_v2=1e-3, input_bits=1)
    assert found["word lines"] == pytest.approx(100 * 128 * 1e-15 * 1e-3)
    assert costs(TIGHT, idle_w=2e-3) == pytest.approx({"idle lines": 2e-11})
