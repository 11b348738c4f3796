"""What every built-in estimator promises: sources for its numbers, and layers that add up to the total."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from fractions import Fraction
from typing import Any

import pytest

from memristor_plugins.energy.brain import Brain
from memristor_plugins.energy.cpu_roofline import CPURoofline
from memristor_plugins.energy.crossbar import Crossbar
from memristor_plugins.energy.gpu_roofline import GPURoofline
from memristor_plugins.interfaces.energy import EnergyEstimator, LayerProfile, WorkloadProfile
from memristor_plugins.signature import REQUIRED, mismatch, parameters

ESTIMATORS: dict[str, type[EnergyEstimator]] = {
    "crossbar": Crossbar,
    "gpu_roofline": GPURoofline,
    "cpu_roofline": CPURoofline,
    "brain": Brain,
}
PARAMETERS = [(name, p) for name, cls in ESTIMATORS.items() for p in parameters(cls, name).values()]


def busy(name: str, scale: int) -> LayerProfile:
    counts: dict[str, Any] = {
        f.name: scale * (3 + i) / 7 for i, f in enumerate(fields(LayerProfile)) if f.name != "name"
    }
    return LayerProfile(**(counts | {"name": name, "banks": 4, "input_bits": 8, "output_bits": None, "gate_bits": 6}))


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
    pure = {"gate_driver", "utilisation", "batch"}
    if parameter.type in (int, float):
        assert bool(parameter.info.unit) == (parameter.name not in pure)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_layers_and_components_add_up_to_the_total_exactly(name: str) -> None:
    report = ESTIMATORS[name]().estimate(PROFILE)
    assert report.estimator == name
    by_layer: dict[str, Fraction] = {}
    for entry in report.entries:
        by_layer[entry.layer] = by_layer.get(entry.layer, Fraction(0)) + Fraction(entry.energy_j)
    # Exact sums: what is left is the rounding of adding floats in another order.
    total = sum(by_layer.values())
    assert report.total_j == pytest.approx(float(total), rel=1e-14)
    assert sum(report.by_component().values()) == pytest.approx(float(total), rel=1e-14)
    assert set(by_layer) <= {"conv1", "conv2", "fc", "network"}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_entries_are_unique_and_never_negative(name: str) -> None:
    entries = ESTIMATORS[name]().estimate(PROFILE).entries
    assert len({(e.layer, e.component) for e in entries}) == len(entries)
    assert all(e.energy_j >= 0 for e in entries)


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
    modules = ", ".join(f"memristor_plugins.energy.{name}" for name in ESTIMATORS)
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
