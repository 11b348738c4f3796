"""Costs as flat metrics and as one JSON document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from memristor_plugins.energy.comparison import against, caption, levels
from memristor_plugins.energy.components import by_boundary
from memristor_plugins.interfaces.energy import CostReport, Quantity, WorkloadProfile

QUANTITIES: tuple[Quantity, ...] = ("energy_j", "latency_s", "area_m2")


def metrics(reports: Mapping[str, CostReport]) -> dict[str, float]:
    """Totals of every estimate under flat names (`energy/crossbar_j`), for loggers, sweeps and `metrics.json`."""
    found: dict[str, float | None] = {}
    if not reports:
        return {}
    chip, references = against(reports)
    for report in (chip, *references):
        name = f"energy/{report.estimator}"
        found[f"{name}_j"] = report.total_j
        found[f"{name}_latency_s"] = report.latency_s
        found[f"{name}_interval_s"] = report.interval_s
        found[f"{name}_area_m2"] = report.area_m2
        found[f"{name}_tops_per_watt"] = report.tops_per_watt
        found[f"{name}_energy_delay_js"] = report.energy_delay_js
    for boundary, joules in by_boundary(chip).items():
        found[f"energy/{chip.estimator}_{boundary.replace(' ', '_')}_j"] = joules
    for report in references if chip.total_j else ():
        found[f"energy/{report.estimator}_over_{chip.estimator}"] = report.total_j / chip.total_j
    return {name: value for name, value in found.items() if value is not None}


def document(profile: WorkloadProfile, reports: Mapping[str, CostReport]) -> dict[str, Any]:
    """What `cost.json` holds: the workload, every estimate, and each boundary's ratio to each reference."""
    chip, references = against(reports)
    ratios = [
        {
            "boundary": level.boundary,
            "energy_j": level.energy_j,
            "references": [
                {"estimator": r.reference, "over": r.ratio, "caveat": r.caveat or None} for r in level.ratios
            ],
        }
        for level in levels(chip, references)
    ]
    return {
        "workload": {
            "data": profile.data,
            "images": profile.images,
            "device": profile.device,
            "read_time_s": profile.read_time,
            "ops": profile.ops,
            "digital_ops": profile.digital_ops,
            "layers": [{**asdict(layer), "sparsity": layer.sparsity} for layer in profile.layers],
        },
        "estimates": {name: _estimate(report) for name, report in reports.items()},
        "comparison": {"of": chip.estimator, "levels": ratios, "caption": list(caption(chip, references))},
    }


def _estimate(report: CostReport) -> dict[str, Any]:
    return {
        "energy_j": report.total_j,
        "boundaries_j": by_boundary(report),
        "latency_sequential_s": report.latency_s,
        "interval_pipelined_s": report.interval_s,
        "throughput_per_s": report.throughput,
        "area_m2": report.area_m2,
        "ops": report.ops,
        "tops": report.tops,
        "tops_per_watt": report.tops_per_watt,
        "precision": report.precision,
        "energy_delay_js": report.energy_delay_js,
        "batch": report.batch,
        "lifetime_inferences": report.lifetime_inferences,
        "lifetime_s": report.lifetime_s,
        "by_layer": {q: report.by_layer(q) for q in QUANTITIES},
        "by_component": {q: report.by_component(q) for q in QUANTITIES},
        "assumptions": list(report.assumptions),
    }
