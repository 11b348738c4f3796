"""What every built-in estimator promises: sources for its numbers, and layers that add up to the total."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from fractions import Fraction
from typing import Any

import pytest

from memristor_plugins.energy.brain import Brain
from memristor_plugins.energy.cpu_measured import CPUMeasured
from memristor_plugins.energy.cpu_roofline import CPURoofline
from memristor_plugins.energy.crossbar import Crossbar
from memristor_plugins.energy.digital_cim import DigitalCIM
from memristor_plugins.energy.gpu_measured import GPUMeasured
from memristor_plugins.energy.gpu_roofline import GPURoofline
from memristor_plugins.energy.isaac import ISAAC
from memristor_plugins.energy.neurram import NeuRRAM
from memristor_plugins.energy.puma import PUMA
from memristor_plugins.energy.rewrite import Rewrite
from memristor_plugins.interfaces.energy import EnergyEstimator, LayerProfile, Quantity, WorkloadProfile
from memristor_plugins.signature import REQUIRED, mismatch, parameters

ESTIMATORS: dict[str, type[EnergyEstimator]] = {
    "crossbar": Crossbar,
    "gpu_roofline": GPURoofline,
    "cpu_roofline": CPURoofline,
    "brain": Brain,
    "isaac": ISAAC,
    "puma": PUMA,
    "neurram": NeuRRAM,
    "rewrite": Rewrite,
    "digital_cim": DigitalCIM,
}
MEASURED: dict[str, type[EnergyEstimator]] = {"gpu_measured": GPUMeasured, "cpu_measured": CPUMeasured}
PARAMETERS = [(name, p) for name, cls in (ESTIMATORS | MEASURED).items() for p in parameters(cls, name).values()]


def busy(name: str, scale: int) -> LayerProfile:
    counts: dict[str, Any] = {
        f.name: scale * (3 + i) / 7 for i, f in enumerate(fields(LayerProfile)) if f.name != "name"
    }
    whole = {f.name: 4 for f in fields(LayerProfile) if f.type == "int"}
    return LayerProfile(**(counts | whole | {"name": name, "input_bits": 8, "output_bits": None, "gate_bits": 6}))


PROFILE = WorkloadProfile(
    (busy("conv1", 10), busy("conv2", 1000), busy("fc", 3)), 1234.5, 10e-9, 8, "digits", "adaptive_2d"
)


@pytest.mark.parametrize(("name", "parameter"), PARAMETERS, ids=lambda x: getattr(x, "name", x))
def test_every_parameter_has_meaning_source_and_a_default_in_range(name: str, parameter: Any) -> None:
    assert parameter.info.about
    assert parameter.info.source
    assert parameter.default is not REQUIRED
    assert mismatch(parameter.default, parameter.type) is None
    assert parameter.info.complaint(parameter.default) is None


@pytest.mark.parametrize(("name", "parameter"), PARAMETERS, ids=lambda x: getattr(x, "name", x))
def test_numbers_with_a_dimension_have_a_unit(name: str, parameter: Any) -> None:
    pure = {"gate_driver", "utilisation", "batch", "hops", "programming_interval", "endurance", "digital_lanes"}
    pure |= {"index", "weight_reuse", "array_efficiency", "dac_fanout"}
    if parameter.type in (int, float):
        assert bool(parameter.info.unit) == (parameter.name not in pure)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_layers_and_components_add_up_to_the_total_exactly(name: str) -> None:
    report = ESTIMATORS[name]().estimate(PROFILE)
    assert report.estimator == name
    quantities: tuple[Quantity, ...] = ("energy_j", "latency_s", "area_m2")
    for quantity in quantities:
        by_layer = report.by_layer(quantity)
        assert sum(by_layer.values()) == report.total(quantity)
        # Exact sums: what is left is the rounding of adding floats in another order.
        exact = float(sum(Fraction(getattr(e, quantity)) for e in report.entries))
        assert report.total(quantity) == pytest.approx(exact, rel=1e-14)
        assert sum(report.by_component(quantity).values()) == pytest.approx(exact, rel=1e-14)
        assert set(by_layer) <= {"conv1", "conv2", "fc", "network"}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_report_states_its_work_and_precision(name: str) -> None:
    report = ESTIMATORS[name]().estimate(PROFILE)
    assert report.ops == PROFILE.ops
    assert report.precision
    assert report.tops_per_watt == pytest.approx(PROFILE.ops / report.total_j * 1e-12)
    if report.latency_s is None:
        assert report.throughput is report.tops is report.energy_delay_js is None
    else:
        assert report.interval_s is not None
        assert 0 < report.interval_s <= report.latency_s
        assert report.energy_delay_js == report.total_j * report.latency_s


@pytest.mark.parametrize("name", ESTIMATORS)
def test_entries_are_unique_and_never_negative(name: str) -> None:
    entries = ESTIMATORS[name]().estimate(PROFILE).entries
    assert len({(e.layer, e.component) for e in entries}) == len(entries)
    assert all(e.energy_j >= 0 and e.latency_s >= 0 and e.area_m2 >= 0 for e in entries)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_network_of_nothing_costs_nothing(name: str) -> None:
    empty = WorkloadProfile((), 0.0, 10e-9, 1, "none", "ideal")
    report = ESTIMATORS[name]().estimate(empty)
    assert report.total_j == 0
    assert report.assumptions


@pytest.mark.parametrize("name", ESTIMATORS)
def test_an_estimate_repeats_itself(name: str) -> None:
    estimator = ESTIMATORS[name]()
    assert estimator.estimate(PROFILE) == estimator.estimate(PROFILE)


def test_estimators_import_no_torch() -> None:
    modules = ", ".join(f"memristor_plugins.energy.{name}" for name in ESTIMATORS | MEASURED)
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
