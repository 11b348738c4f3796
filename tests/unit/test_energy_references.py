"""Rewriting, digital compute in memory and comparisons, against numbers worked by hand."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from memristor_plugins.energy.brain import Brain
from memristor_plugins.energy.comparison import caption, levels
from memristor_plugins.energy.components import by_boundary
from memristor_plugins.energy.cpu_roofline import CPURoofline
from memristor_plugins.energy.crossbar import Crossbar
from memristor_plugins.energy.digital_cim import DigitalCIM
from memristor_plugins.energy.gpu_roofline import GPURoofline
from memristor_plugins.energy.puma import PUMA
from memristor_plugins.energy.rewrite import Rewrite
from memristor_plugins.energy.scaling import area_factor, energy_factor
from memristor_plugins.errors import ConfigError
from memristor_plugins.interfaces.energy import CostReport, LayerProfile, WorkloadProfile

IDLE: dict[str, Any] = {f.name: 0 for f in fields(LayerProfile)} | {"name": "conv1", "banks": 1, "write_j": None}

# 27 x 16 weights in pairs, four gated banks, 64 pixels: what the engine counts for it on arrays of 128.
GATED: dict[str, Any] = {
    "rows": 27,
    "cols": 16,
    "banks": 4,
    "arrays": 4,
    "array_rows": 128,
    "array_columns": 128,
    "cells": 4 * 864,
    "positions": 64,
    "reads": 64,
    "macs": 4 * 64 * 432,
    "digital_macs": 64 * 432 + 4 * 432,
    "nonzero_macs": 4 * 64 * 432,
    "routing_macs": 28,
    "v2g": 4e-3,
    "input_conversions": 4 * 64 * 27,
    "output_conversions": 4 * 64 * 16,
    "partial_sums": 3 * 64 * 16,
    "gate_updates": 4,
    "gate_cells": 4 * 864,
    "gate_v2": 2.0,
    "converted_lines": 64,
    "adcs": 64,
    "adc_share": 1,
    "outputs": 1024,
    "input_bits": 8,
    "output_bits": 8,
    "groups": 1,
    "weight_bytes": 4.0 * 4 * 432,
    "input_bytes": 4.0 * 192,
    "output_bytes": 4.0 * 1024,
}


def profile(**counts: Any) -> WorkloadProfile:
    return WorkloadProfile((LayerProfile(**(IDLE | GATED | counts)),), 3000.0, 10e-9, 10, "digits", "adaptive_2d")


def test_rewriting_reads_one_bank_and_writes_its_cells() -> None:
    gated, rewritten = Crossbar().estimate(profile()), Rewrite().estimate(profile())
    before, after = gated.by_component(), rewritten.by_component()
    for component in ("array read", "DAC", "ADC", "sample and hold"):
        assert after[component] == pytest.approx(before[component] / 4)
    assert after["gate lines"] == after["gate DAC"] == after["partial sums"] == 0
    assert after["kernel writes"] == pytest.approx(864 * 10e-12)
    # 4 x 432 weights: a multiplication, an addition and a byte of buffer each.
    assert after["kernel mixing"] == pytest.approx(1728 * (0.3e-12 + 17.2e-12 / 32))
    assert "programming" not in after
    assert rewritten.by_component("latency_s")["kernel writes"] == pytest.approx(27e-6)
    assert [s for s in rewritten.assumptions if "864 cells are written an image" in s]


def test_rewriting_uses_up_the_cells() -> None:
    assert Rewrite(chip={"endurance": 1e8}).estimate(profile()).lifetime_inferences == 1e8
    static = profile(banks=1, cells=864)
    assert Rewrite().estimate(static).lifetime_inferences == Crossbar().estimate(static).lifetime_inferences


def test_a_static_layer_costs_what_it_costs_on_the_crossbar() -> None:
    static = profile(banks=1, gate_updates=0, gate_cells=0, gate_v2=0)
    assert Rewrite().estimate(static).entries == Crossbar().estimate(static).entries


def test_rewriting_uses_the_pulses_that_the_device_took_and_the_chip_it_is_given() -> None:
    assert Rewrite().estimate(profile(write_j=4e-6)).by_component()["kernel writes"] == pytest.approx(1e-6)
    chip = {"write_energy": 1e-9, "adc_fom": 0.0, "_target_": "of an interpolated node"}
    found = Rewrite(chip=chip).estimate(profile()).by_component()
    assert found["kernel writes"] == pytest.approx(864e-9)
    assert found["ADC"] == 0
    with pytest.raises(ConfigError, match=r"energies\.rewrite\.chip: .* did you mean 'adc_fom'"):
        Rewrite(chip={"adc_form": 1e-15})
    with pytest.raises(ConfigError, match=r"energies\.rewrite\.chip\.adc_fom: must be >= 0 J, got -1"):
        Rewrite(chip={"adc_fom": -1.0})


def test_digital_compute_in_memory() -> None:
    # 64 x 432 products and 4 x 432 to mix at 0.3 pJ; a byte of weight for each and 432 written, at 1.25 pJ;
    # 27 x 64 inputs and 1024 outputs at 2.5 pJ; 28 MACs of routing; 3000 operations at 1.1 pJ.
    report = DigitalCIM().estimate(profile())
    assert report.by_component() == pytest.approx(
        {
            "arithmetic": 29376 * 0.3e-12,
            "weight memory": (29376 + 432) * 1.25e-12,
            "buffers": 2752 * 2.5e-12,
            "routing": 28 * 1.55e-12,
            "digital": 3000 * 1.1e-12,
        }
    )
    # One macro of 8 KB: eight products a nanosecond, 65536 cells of 0.346 um2 at half density, eight units of 419 um2.
    assert report.latency_s == pytest.approx(29376 / 8e9)
    assert report.area_m2 == pytest.approx(65536 * 0.692e-12 + 8 * 419e-12)


def test_digital_compute_in_memory_at_another_node() -> None:
    own, small = (DigitalCIM(node=node).estimate(profile()) for node in (45, 7))
    assert own.area_m2 is not None
    assert small.total_j == pytest.approx(own.total_j * energy_factor(45, 7))
    assert small.area_m2 == pytest.approx(own.area_m2 * area_factor(45, 7))
    assert small.latency_s == own.latency_s
    assert [s for s in small.assumptions if "scaled to 7 nm" in s]
    reused = DigitalCIM(weight_reuse=4).estimate(profile()).by_component()["weight memory"]
    assert reused == pytest.approx((29376 / 4 + 432) * 1.25e-12)
    with pytest.raises(ConfigError, match="no scaling for 22 nm; the nearest valid value is 20"):
        DigitalCIM(node=22)


@pytest.mark.parametrize("estimator", [GPURoofline(batch=8), CPURoofline(batch=8)])
def test_an_image_waits_for_its_batch(estimator: GPURoofline | CPURoofline) -> None:
    report = estimator.estimate(profile())
    assert report.batch == 8
    assert report.latency_s is not None
    assert report.throughput is not None
    assert report.throughput * report.latency_s == pytest.approx(8)
    watts = 400.0 if isinstance(estimator, GPURoofline) else 280.0
    assert report.total_j * report.throughput == pytest.approx(watts)


def test_every_boundary_has_its_ratio_to_gpu_and_brain() -> None:
    chip = Crossbar().estimate(profile())
    references = [GPURoofline().estimate(profile()), Brain().estimate(profile())]
    found = levels(chip, references)
    assert {level.boundary: level.energy_j for level in found} == by_boundary(chip)
    for level in found:
        assert level.energy_j is not None
        expected = [r.total_j / level.energy_j for r in references]
        assert [r.reference for r in level.ratios] == ["gpu_roofline", "brain"]
        assert [r.ratio for r in level.ratios] == expected
        assert not any(r.caveat for r in level.ratios)


def test_different_batches_are_never_compared_silently() -> None:
    chip, gpu = Crossbar().estimate(profile()), GPURoofline(batch=64).estimate(profile())
    for level in levels(chip, [gpu]):
        assert [r.caveat for r in level.ratios] == ["batch 64 against batch 1 of crossbar"]
    said = caption(chip, [gpu])
    assert said[0] == "gpu_roofline: batch 64 against batch 1 of crossbar"
    assert len(said) == 1 + len(chip.assumptions) + len(gpu.assumptions)
    assert not [s for s in caption(chip, [replace(gpu, batch=1)]) if "against batch" in s]


def test_a_boundary_that_a_source_does_not_tell_has_no_ratio() -> None:
    narrow, wide, _ = levels(PUMA().estimate(profile()), [CostReport("other", ())])
    assert (narrow.energy_j, narrow.ratios) == (None, ())
    assert wide.energy_j is not None
