"""Checks of an energy estimator."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from memristor_plugins.interfaces.energy import CostReport, EnergyEstimator, LayerProfile, WorkloadProfile
from memristor_plugins.testing._behaviour import runs_here
from memristor_plugins.testing._core import Subject, check, expect
from memristor_plugins.testing._samples import workload

# Joules of one operation: below is Landauer's limit by far, above no machine computes.
PLAUSIBLE = (1e-20, 1e-5)
COUNTS = (
    "positions", "macs", "digital_macs", "routing_macs", "nonzero_macs", "v2g", "input_conversions",
    "output_conversions", "partial_sums", "bank_multiplies", "gate_updates", "outputs", "reads", "factor_multiplies",
    "weight_bytes", "input_bytes", "output_bytes",
)  # fmt: skip


def report_of(subject: Subject, profile: WorkloadProfile | None = None) -> CostReport:
    """The estimate for the sample workload, or another; skips where this machine cannot give it."""
    estimator: EnergyEstimator = subject.instance
    runs_here(estimator)
    return estimator.estimate(workload() if profile is None else profile)


@check("energy")
def entries_are_costs(subject: Subject) -> None:
    """Every entry is a finite, non-negative energy, latency and area of a layer that there is"""
    report = report_of(subject)
    expect(isinstance(report, CostReport), f"estimate() gives a {type(report).__name__}, not a CostReport")
    expect(report.entries, "the report has no entries")
    layers = {layer.name for layer in workload().layers} | {"network"}
    for entry in report.entries:
        expect(entry.layer in layers, f"an entry names '{entry.layer}', which is no layer; use 'network' for the rest")
        expect(entry.component.strip(), "an entry has no component")
        for quantity in ("energy_j", "latency_s", "area_m2"):
            value = getattr(entry, quantity)
            fine = isinstance(value, int | float) and math.isfinite(value) and value >= 0
            expect(fine, f"{quantity} of {entry.layer}/{entry.component} must be a number >= 0, got {value}")


@check("energy")
def report_names_itself(subject: Subject) -> None:
    """The report names its estimator, and says what it assumes"""
    report = report_of(subject)
    expect(report.estimator.strip(), "the report does not name its estimator")
    if subject.plugin is not None:
        expect(
            report.estimator == subject.name, f"the report says '{report.estimator}', the option is '{subject.name}'"
        )
    expect(report.assumptions, "the report states no assumptions: say what the figure leaves out")
    expect(all(isinstance(a, str) and a.strip() for a in report.assumptions), "an assumption is empty")
    expect(isinstance(report.batch, int) and report.batch >= 1, f"batch must be at least 1, got {report.batch}")


@check("energy")
def operations_are_the_networks(subject: Subject) -> None:
    """`ops` is the network's, whatever the hardware computes: no credit for more work"""
    report = report_of(subject)
    expect(report.ops == workload().ops, f"ops must be the profile's {workload().ops:g}, got {report.ops:g}")


@check("energy")
def energy_is_plausible(subject: Subject) -> None:
    """An operation costs between 1e-20 and 1e-5 J: joules, not picojoules"""
    report = report_of(subject)
    each = report.total_j / workload().ops
    low, high = PLAUSIBLE
    expect(low < each < high, f"an operation costs {each:.3g} J; energies are in joules")
    if report.latency_s is not None:
        expect(1e-15 < report.latency_s < 1e4, f"an inference takes {report.latency_s:.3g} s; latencies are in seconds")
    if report.area_m2 is not None:
        expect(1e-15 < report.area_m2 < 1, f"it takes {report.area_m2:.3g} m^2; areas are in square metres")


@check("energy")
def more_work_costs_more(subject: Subject) -> None:
    """A second copy of every layer, and twice the work in each, cost no less"""
    once = report_of(subject).total_j
    profile = workload()
    doubled = replace(profile, digital_ops=2 * profile.digital_ops)
    twins = tuple(replace(layer, name=f"{layer.name}_again") for layer in profile.layers)
    longer = report_of(subject, replace(doubled, layers=profile.layers + twins))
    expect(longer.total_j > 1.2 * once, f"twice the layers cost {longer.total_j / once:.3f} times as much")
    busier = tuple(_twice(layer) for layer in profile.layers)
    busy = report_of(subject, replace(doubled, layers=busier))
    expect(busy.total_j > once, f"twice the work in each layer costs {busy.total_j / once:.3f} times as much")


def _twice(layer: LayerProfile) -> LayerProfile:
    counts: dict[str, Any] = {name: 2 * getattr(layer, name) for name in COUNTS}
    return replace(layer, **counts)


@check("energy")
def sums_agree(subject: Subject) -> None:
    """Layers and components each add up to the total, and derived figures are finite"""
    report = report_of(subject)
    total = report.total_j
    expect(math.isclose(sum(report.by_layer().values()), total, rel_tol=1e-9), "layers do not add up to the total")
    expect(math.isclose(sum(report.by_component().values()), total, rel_tol=1e-9), "components do not add up")
    for name in ("latency_s", "area_m2", "throughput", "tops", "tops_per_watt", "energy_delay_js", "lifetime_s"):
        value = getattr(report, name)
        expect(value is None or (value > 0 and not math.isnan(value)), f"{name} must be None or positive, got {value}")


@check("energy")
def order_of_layers(subject: Subject) -> None:
    """The total does not depend on the order of the layers"""
    profile = workload()
    turned = report_of(subject, replace(profile, layers=profile.layers[::-1]))
    expect(
        math.isclose(turned.total_j, report_of(subject).total_j, rel_tol=1e-6),
        "layers in another order cost something else",
    )
