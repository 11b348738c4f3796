"""The cost constants against the figures of their sources (design notes, physics.md, 'Cost constants')."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from memristor_plugins.energy.brain import Brain
from memristor_plugins.energy.cpu_roofline import CPURoofline
from memristor_plugins.energy.crossbar import Crossbar
from memristor_plugins.energy.gpu_roofline import GPURoofline, Part
from memristor_plugins.interfaces.energy import LayerProfile, WorkloadProfile

IDLE: dict[str, Any] = {f.name: 0 for f in fields(LayerProfile)} | {"name": "conv1", "banks": 1}


def profile(read_time: float = 10e-9, **counts: Any) -> WorkloadProfile:
    layer = LayerProfile(**(IDLE | counts))
    return WorkloadProfile((layer,), 0.0, read_time, images=1, data="none", device="none")


@pytest.mark.parametrize(
    ("part", "pj_per_flop", "last_digit"),
    [
        ("a100_fp32", 20.5, 0.1),
        ("a100_fp16", 1.28, 0.01),
        ("h100_fp32", 10.4, 0.1),
        ("h100_fp16", 0.71, 0.01),
        ("h100_fp8", 0.35, 0.01),
    ],
)
def test_gpu_energy_a_flop_when_compute_bound(part: Part, pj_per_flop: float, last_digit: float) -> None:
    macs = 1e12
    joules = GPURoofline(part=part).estimate(profile(digital_macs=macs)).total_j
    assert joules / (2 * macs) * 1e12 == pytest.approx(pj_per_flop, abs=last_digit)


def test_cpu_peak_is_cores_clock_and_vector_width() -> None:
    machine = CPURoofline().machine
    # 64 cores, 2.45 GHz, two fused multiply-adds of 8 FP32 lanes; twice the 2.51 TFLOP/s of FP64.
    assert machine.peak == pytest.approx(64 * 2.45e9 * 2 * 8 * 2)
    assert machine.peak == pytest.approx(2 * 2.51e12, rel=2e-3)
    # Eight channels of DDR4-3200, 8 bytes wide.
    assert machine.bandwidth == pytest.approx(8 * 3200e6 * 8)
    assert machine.joule_per_flop == pytest.approx(55.8e-12, rel=1e-3)


def test_one_isaac_unit_for_one_read() -> None:
    """Its 8 arrays of 128 lines for 100 ns, at Table I: ADC 16 mW, DAC 4 mW, sample-and-hold 10 uW."""
    unit = Crossbar(adc_fom=2e-3 / 1.28e9 / 2**8, dac_fom=4e-3 / 1024 * 100e-9 / 2)
    read = profile(
        read_time=100e-9,
        v2g=2.4e-3,
        input_conversions=1024,
        output_conversions=1024,
        input_bits=1,
        output_bits=8,
    )
    sums = unit.estimate(read).by_component()
    assert sums["array read"] == pytest.approx(2.4e-3 * 100e-9)
    assert sums["ADC"] == pytest.approx(16e-3 * 100e-9, rel=1e-9)
    assert sums["DAC"] == pytest.approx(4e-3 * 100e-9)
    assert sums["sample and hold"] == pytest.approx(10e-6 * 100e-9, rel=0.01)


def test_default_adc_lies_in_the_published_range_above_isaac() -> None:
    default = Crossbar().adc_fom
    assert 5e-15 <= 2e-3 / 1.28e9 / 2**8 < default <= 50e-15
    assert default == pytest.approx((5e-15 * 50e-15) ** 0.5, rel=0.02)


def test_buffer_is_isaacs_edram() -> None:
    # 17.2 pJ for 256 bit, which is 20.7 mW at one access a cycle of 1.2 GHz.
    assert Crossbar().buffer_byte * 32 == pytest.approx(17.2e-12)
    assert Crossbar().buffer_byte * 32 == pytest.approx(20.7e-3 / 1.2e9, rel=0.01)


def test_gate_capacitance_is_its_oxide_over_its_area() -> None:
    oxide = 3.9 * 8.854e-12 / 10e-9
    assert Crossbar().gate_capacitance == pytest.approx(oxide * 0.3e-12, rel=0.05)


def test_arithmetic_is_horowitz_at_45_nm() -> None:
    crossbar = Crossbar()
    assert (crossbar.int8_multiply, crossbar.int32_add, crossbar.digital_op) == (0.2e-12, 0.1e-12, 1.1e-12)


def test_brain_spends_20_to_200_femtojoules_an_event() -> None:
    assert sum(Brain(event_rate=1e14).joule_per_event.values()) == pytest.approx(200e-15)
    assert sum(Brain(event_rate=1e15).joule_per_event.values()) == pytest.approx(20e-15)
    assert sum(Brain().joule_per_event.values()) == pytest.approx(63e-15, rel=0.01)


def test_cortical_communication_is_35_times_computation() -> None:
    parts = Brain().joule_per_event
    assert parts["communication"] / parts["computation"] == pytest.approx(35.0)


def test_rewriting_a_dynamic_vgg16_takes_29_million_writes_an_image() -> None:
    weights = 14_710_000
    said = Crossbar().estimate(profile(banks=4, cells=4 * 2 * weights)).assumptions
    assert [s for s in said if "2.94e+07 cell writes" in s]
