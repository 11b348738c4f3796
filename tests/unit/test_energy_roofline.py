"""GPU and CPU rooflines against numbers worked by hand."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memristor_plugins.energy.cpu_roofline import CPURoofline
from memristor_plugins.energy.gpu_roofline import GPURoofline, Part
from memristor_plugins.energy.roofline import Machine, Traffic, roofline
from memristor_plugins.errors import ConfigError
from memristor_plugins.interfaces.energy import CostReport, LayerProfile, WorkloadProfile

IDLE: dict[str, Any] = {f.name: 0 for f in fields(LayerProfile)} | {"name": "conv1", "banks": 1}

# 10 W, 1 GFLOP/s, 1 GB/s, 2 bytes a value: 10 nJ a FLOP and 10 nJ a byte.
TOY = Machine("toy", power=10.0, peak=1e9, bandwidth=1e9, value_bytes=2)


def profile(digital_ops: float = 0.0, **counts: Any) -> WorkloadProfile:
    layer = LayerProfile(**(IDLE | counts))
    return WorkloadProfile((layer,), digital_ops, 10e-9, images=1, data="digits", device="ideal")


def toy(workload: WorkloadProfile, batch: int = 1, utilisation: float = 1.0, traffic: Traffic = "all") -> CostReport:
    return roofline(workload, TOY, estimator="toy", batch=batch, utilisation=utilisation, traffic=traffic)


def test_compute_bound_layer_costs_two_flop_a_mac() -> None:
    # 100 MACs and 50 of routing: 300 FLOP at 10 nJ; 100 routing bytes hide behind the arithmetic.
    report = toy(profile(digital_macs=100, routing_macs=50, macs=1e9))
    assert report.by_component() == pytest.approx({"compute": 3e-6, "memory wait": 0.0})


def test_memory_bound_layer_waits_for_its_bytes() -> None:
    # 200 FLOP; (800 + 400 + 400) / 2 = 800 bytes: 8 uJ, of which 2 uJ is arithmetic.
    report = toy(profile(digital_macs=100, weight_bytes=800, input_bytes=400, output_bytes=400))
    assert report.by_component() == pytest.approx({"memory wait": 6e-6, "compute": 2e-6})
    assert report.total_j == pytest.approx(8e-6)


@pytest.mark.parametrize(
    ("traffic", "batch", "joules"),
    # Weights 400 bytes and routing weights 40, activations 400, in the toy's format; routing is 40 FLOP.
    [
        ("all", 1, 8.4e-6),
        ("all", 4, 5.1e-6),
        ("weights", 1, 4.4e-6),
        ("weights", 4, 1.1e-6),
        ("none", 1, 4e-7),
    ],
)
def test_traffic_and_batch(traffic: Traffic, batch: int, joules: float) -> None:
    workload = profile(routing_macs=20, weight_bytes=800, input_bytes=400, output_bytes=400)
    assert toy(workload, batch=batch, traffic=traffic).total_j == pytest.approx(joules)


def test_digital_operations_stand_under_the_network() -> None:
    report = toy(profile(digital_ops=100))
    assert {e.layer: e.energy_j for e in report.entries if e.energy_j} == pytest.approx({"network": 1e-6})


@given(macs=st.floats(0, 1e9), moved=st.floats(0, 1e9), utilisation=st.floats(0.01, 1.0), ops=st.floats(0, 1e6))
def test_energy_is_the_larger_time_over_the_utilisation(
    macs: float, moved: float, utilisation: float, ops: float
) -> None:
    report = toy(profile(ops, digital_macs=macs, input_bytes=moved), utilisation=utilisation)
    expected = 1e-8 * (max(2 * macs, moved / 2) + ops) / utilisation
    assert report.total_j == pytest.approx(expected, rel=1e-12)


@given(macs=st.floats(0, 1e12), moved=st.floats(0, 1e9), batch=st.integers(1, 1024))
def test_a_larger_batch_never_costs_more(macs: float, moved: float, batch: int) -> None:
    workload = profile(digital_macs=macs, weight_bytes=moved, input_bytes=moved)
    assert toy(workload, batch=batch + 1).total_j <= toy(workload, batch=batch).total_j * (1 + 1e-12)


def test_gpu_by_hand() -> None:
    # A100 FP16: 1 G MACs take 2e9 / 312e12 s at 400 W.
    assert GPURoofline().estimate(profile(digital_macs=1e9)).total_j == pytest.approx(2e9 / 312e12 * 400)
    # Half precision halves 4-byte weights: 10 MB at 2039 GB/s.
    assert GPURoofline().estimate(profile(weight_bytes=20e6)).total_j == pytest.approx(10e6 / 2039e9 * 400)


def test_gpu_passes_its_options_on() -> None:
    workload = profile(digital_macs=1e6, weight_bytes=20e6)
    best = GPURoofline(part="h100_fp8", batch=1000, utilisation=0.5, traffic="weights").estimate(workload)
    # 5 MB / 1000 images at 3350 GB/s is less than 2e6 / 1978.9e12 s; half used.
    assert best.total_j == pytest.approx(max(5e3 / 3350e9, 2e6 / 1978.9e12) * 700 / 0.5)
    assert best.estimator == "gpu_roofline"


def test_unknown_part_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"energies\.gpu_roofline\.part: .*h100_fp16"):
        GPURoofline(part=cast(Part, "h100_fp61"))


def test_cpu_by_hand() -> None:
    estimator = CPURoofline(power=100.0, peak=1e12, bandwidth=1e11)
    assert estimator.estimate(profile(digital_macs=1e9)).total_j == pytest.approx(0.2)
    assert estimator.estimate(profile(weight_bytes=1e9)).total_j == pytest.approx(1.0)
    assert estimator.estimate(profile()).estimator == "cpu_roofline"


def test_captions_state_machine_bound_and_utilisation() -> None:
    said = " ".join(GPURoofline().estimate(profile()).assumptions)
    for fact in ("A100 SXM FP16", "400 W", "1.28 pJ/FLOP", "batch 1", "100% of the roofline", "10-100 times"):
        assert fact in said
    assert "10-100" not in " ".join(CPURoofline().estimate(profile()).assumptions)
    measured = " ".join(GPURoofline(utilisation=0.05, traffic="none").estimate(profile()).assumptions)
    assert "5% of the roofline" in measured
    assert "strict lower bound" in measured
    assert "10-100 times" not in measured
