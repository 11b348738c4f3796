"""The crossbar's costs against numbers worked by hand, one component at a time."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memristor_plugins.energy.components import GROUP_OF, by_boundary
from memristor_plugins.energy.crossbar import Crossbar
from memristor_plugins.interfaces.energy import CostEntry, CostReport, LayerProfile, WorkloadProfile

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
}


def test_array_read_is_dissipation_times_read_time() -> None:
    # 3 mW for 10 ns.
    assert costs(Crossbar(), v2g=3e-3) == {"array read": 3e-3 * 10e-9}


def test_adc_energy_is_figure_of_merit_times_levels() -> None:
    # 100 conversions * 16 fJ * 2^8, and 0.98 fJ of sample-and-hold each.
    found = costs(Crossbar(), output_conversions=100)
    assert found == pytest.approx({"ADC": 409.6e-12, "sample and hold": 98e-15})


def test_dac_energy_is_figure_of_merit_times_levels() -> None:
    # 100 conversions * 1 fJ * 2^4.
    assert costs(Crossbar(), input_conversions=100, input_bits=4) == pytest.approx({"DAC": 1.6e-12})


def test_gate_costs_its_dac_and_its_lines() -> None:
    # 4 updates * 16 fJ * 2^6; 2 * 1 fF * 1000 cells * 4 V^2.
    found = costs(Crossbar(), gate_updates=4, gate_cells=1000, gate_v2=4.0)
    assert found == pytest.approx({"gate DAC": 4.096e-12, "gate lines": 8e-12})


def test_digital_periphery() -> None:
    # 10 additions at 50 fJ; 10 multiply-accumulates at 0.2 + 0.1 pJ.
    assert costs(Crossbar(), partial_sums=10) == pytest.approx({"partial sums": 0.5e-12})
    assert costs(Crossbar(), bank_multiplies=10) == pytest.approx({"bank factors": 3e-12})


def test_routing_computes_and_fetches_a_byte_a_weight() -> None:
    # 32 MACs at 0.3 pJ; 32 bytes are one 256-bit access of 17.2 pJ.
    assert costs(Crossbar(), routing_macs=32) == pytest.approx({"routing": 9.6e-12, "buffers": 17.2e-12})


def test_buffers_move_one_byte_a_value() -> None:
    # 64 values in and 64 out, at 4 bytes a value in the profile: 128 bytes, four 256-bit accesses.
    assert costs(Crossbar(), input_bytes=256, output_bytes=256) == pytest.approx({"buffers": 4 * 17.2e-12})


@pytest.mark.parametrize(("reads", "accesses"), [("window", 18), ("once", 2)])
def test_overlapping_windows_are_read_again_unless_line_buffered(
    reads: Literal["window", "once"], accesses: int
) -> None:
    # 64 values; 9 rows * 64 positions = 576 reads = 18 accesses of 32 bytes.
    found = costs(Crossbar(buffer_reads=reads), input_bytes=256, rows=9, positions=64)
    assert found == pytest.approx({"buffers": accesses * 17.2e-12})


def test_a_grouped_layer_reads_each_input_at_least_once() -> None:
    # 32 channels of 64 values, 1x1, depthwise: one row, 64 positions, yet 2048 values.
    found = costs(Crossbar(), input_bytes=8192, rows=1, positions=64)
    assert found == pytest.approx({"buffers": 64 * 17.2e-12})


def test_digital_operations_stand_under_the_network() -> None:
    report = Crossbar().estimate(profile(digital_ops=1000))
    assert report.entries == (CostEntry("network", "digital", 1000 * 1.1e-12),)


def test_an_ideal_converter_is_charged_and_the_caption_says_so() -> None:
    ideal = {"input_conversions": 10, "output_conversions": 10, "input_bits": None, "output_bits": None}
    assert costs(Crossbar(), **ideal) == costs(Crossbar(), **(ideal | {"input_bits": 8, "output_bits": 8}))
    said = Crossbar(default_bits=10).estimate(profile(ideal, BUSY)).assumptions
    assert [s for s in said if "10-bit" in s and "1 of 2 layers" in s]
    assert not [s for s in Crossbar().estimate(profile(BUSY)).assumptions if "without a resolution" in s]


def test_rewriting_kernels_is_stated_and_never_added() -> None:
    # 4 banks of 7.35 M cells: one mixed kernel is 7.35 M writes, at 10 pJ 73.5 uJ.
    dynamic = profile({"banks": 4, "cells": 4 * 7_350_000})
    report = Crossbar().estimate(dynamic)
    assert report.total_j == 0.0
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
    "bank_multiplies": {"bank factors"},
    "gate_updates": {"gate DAC"},
    "gate_cells": {"gate lines"},
    "gate_v2": {"gate lines"},
}


@pytest.mark.parametrize("count", DOUBLED)
@given(value=st.floats(1e-9, 1e9))
def test_doubling_a_count_doubles_its_components_only(count: str, value: float) -> None:
    once = Crossbar().estimate(profile(BUSY | {count: value})).by_component()
    twice = Crossbar().estimate(profile(BUSY | {count: 2 * value})).by_component()
    for component, energy in once.items():
        factor = 2 if component in DOUBLED[count] else 1
        assert twice[component] == pytest.approx(factor * energy, rel=1e-12)


@pytest.mark.parametrize(
    ("side", "component"), [("input_bits", "DAC"), ("output_bits", "ADC"), ("gate_bits", "gate DAC")]
)
@given(bits=st.integers(1, 16))
def test_one_more_bit_doubles_its_converter_only(side: str, component: str, bits: int) -> None:
    fewer = Crossbar().estimate(profile(BUSY | {side: bits})).by_component()
    more = Crossbar().estimate(profile(BUSY | {side: bits + 1})).by_component()
    assert more == fewer | {component: 2 * fewer[component]}


@given(bits=st.integers(1, 16))
def test_one_more_gate_bit_doubles_the_gate_dac_only(bits: int) -> None:
    fewer = Crossbar(gate_bits=bits).estimate(profile(BUSY)).by_component()
    more = Crossbar(gate_bits=bits + 1).estimate(profile(BUSY)).by_component()
    assert more == fewer | {"gate DAC": 2 * fewer["gate DAC"]}


def test_twice_the_read_time_doubles_the_array_only() -> None:
    short = Crossbar().estimate(profile(BUSY, read_time=10e-9)).by_component()
    long = Crossbar().estimate(profile(BUSY, read_time=20e-9)).by_component()
    assert long == short | {"array read": 2 * short["array read"]}


def test_a_black_image_costs_everything_but_the_array_read() -> None:
    lit = costs(Crossbar(), **BUSY)
    dark = costs(Crossbar(), **(BUSY | {"v2g": 0.0, "nonzero_macs": 0.0}))
    assert dark == {name: energy for name, energy in lit.items() if name != "array read"}


def test_every_component_belongs_to_a_boundary() -> None:
    report = Crossbar().estimate(profile(BUSY, digital_ops=1.0))
    assert {e.component for e in report.entries} == set(GROUP_OF)


def test_boundaries_nest_and_end_at_the_total() -> None:
    report = Crossbar().estimate(profile(BUSY, BUSY | {"name": "conv2"}, digital_ops=100.0))
    found, sums = by_boundary(report), report.by_component()
    array = sums["array read"] + sums["gate lines"]
    assert list(found) == ["array only", "array and converters", "full system"]
    assert found["array only"] == pytest.approx(array)
    converters = sums["DAC"] + sums["ADC"] + sums["sample and hold"] + sums["gate DAC"]
    assert found["array and converters"] == pytest.approx(array + converters)
    assert found["full system"] == report.total_j


def test_an_unknown_component_counts_in_the_full_system_only() -> None:
    report = CostReport("another", (CostEntry("conv1", "photonics", 1.0),))
    assert by_boundary(report) == {"array only": 0.0, "array and converters": 0.0, "full system": 1.0}
