"""What reports of cost become: flat metrics, tables, figures, and the table of a sweep."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from memristor_plugins.energy.comparison import against
from memristor_plugins.interfaces.energy import CostEntry, CostReport
from memristor_plugins.reporting import cost, cost_figures, cost_table
from memristor_plugins.reporting.cost_figures import Variation
from memristor_plugins.tracking.sweep import gather

CHIP = CostReport(
    "crossbar",
    (
        CostEntry("conv1", "array read", 1e-9, 1e-6, 2e-6),
        CostEntry("conv1", "ADC", 3e-9, 2e-6, 1e-6),
        CostEntry("network", "pooling", 4e-9, 1e-6),
    ),
    ("assumed",),
    ops=1e6,
    precision="8-bit",
    interval_s=2e-6,
)
GPU = CostReport("gpu_roofline", (CostEntry("conv1", "compute", 8e-6, 1e-3),), ("A100",), ops=1e6, batch=64)


def test_metrics_are_flat_numbers_with_every_boundary() -> None:
    found = cost.metrics({"gpu_roofline": GPU, "crossbar": CHIP})
    assert found == pytest.approx(
        {
            "energy/crossbar_j": 8e-9,
            "energy/crossbar_latency_s": 4e-6,
            "energy/crossbar_interval_s": 2e-6,
            "energy/crossbar_area_m2": 3e-6,
            "energy/crossbar_tops_per_watt": 1e6 / 8e-9 * 1e-12,
            "energy/crossbar_energy_delay_js": 32e-15,
            "energy/crossbar_array_only_j": 1e-9,
            "energy/crossbar_array_and_converters_j": 4e-9,
            "energy/crossbar_full_system_j": 8e-9,
            "energy/gpu_roofline_j": 8e-6,
            "energy/gpu_roofline_latency_s": 1e-3,
            "energy/gpu_roofline_tops_per_watt": 1e6 / 8e-6 * 1e-12,
            "energy/gpu_roofline_energy_delay_js": 8e-9,
            "energy/gpu_roofline_over_crossbar": 1000.0,
        }
    )
    assert cost.metrics({}) == {}
    assert against({"isaac": GPU, "brain": CHIP}) == (GPU, (CHIP,))


def test_tables_state_ratios_at_every_boundary_and_batches_that_differ(capsys: pytest.CaptureFixture[str]) -> None:
    cost_table.show("digits", {"crossbar": CHIP, "gpu_roofline": GPU})
    printed = " ".join(capsys.readouterr().out.split())
    for told in ("8,000 x", "2,000 x", "1,000 x", "batch 64 against 1", "50.0%", "3 mm²", "8-bit", "A100"):
        assert told in printed
    assert cost_table.square(2.5e-10) == "250 µm²"


def test_figures_are_drawn_and_say_what_differs(tmp_path: Path) -> None:
    reports = {"crossbar": CHIP, "gpu_roofline": GPU}
    cost_figures.layers(tmp_path / "layers.png", CHIP, "digits")
    cost_figures.comparison(tmp_path / "comparison.png", reports, "digits")
    variations = [
        Variation("ADC", "7 bit", "9 bit", {"full system": (0.5, 2.0)}),
        Variation("K", "1", "4", {"full system": (0.4, 1.9)}),
    ]
    assert [v.spread("full system") for v in variations] == pytest.approx([4.0, 4.75])
    cost_figures.sensitivity(tmp_path / "sensitivity.png", variations, ["alone"], "digits")
    for name in ("layers", "comparison", "sensitivity"):
        assert (tmp_path / f"{name}.png").stat().st_size > 5000
    cost_table.sensitivity([], ["nothing to vary"])


def test_a_sweep_is_one_table_of_what_differs(tmp_path: Path) -> None:
    for job, banks, joules in ((0, 1, 1e-6), (10, 4, 4e-6), (2, 2, 2e-6)):
        folder = tmp_path / str(job)
        folder.mkdir()
        metrics = {"test/accuracy": 0.9, "energy/crossbar_full_system_j": joules}
        (folder / "metrics.json").write_text(json.dumps(metrics))
        overrides = ["model=vgg8", f"+kernel.banks={banks}"]
        (folder / "provenance.json").write_text(json.dumps({"overrides": overrides}))
    (tmp_path / "3").mkdir()
    (tmp_path / "3" / "metrics.json").write_text("{")  # a job that is writing
    found = gather(tmp_path)
    assert [(r["job"], r["settings"]) for r in found] == [
        ("0", "kernel.banks=1"),
        ("2", "kernel.banks=2"),
        ("10", "kernel.banks=4"),
    ]
    with (tmp_path / "results.csv").open() as file:
        assert next(csv.reader(file)) == ["job", "kernel.banks", "test/accuracy", "energy/crossbar_full_system_j"]
    cost_figures.sweep(tmp_path / "accuracy_energy.png", found)
    assert (tmp_path / "accuracy_energy.png").is_file()
    cost_figures.sweep(tmp_path / "none.png", found[:1])
    assert not (tmp_path / "none.png").exists()
