"""What every run measures once a network is trained: chips, cost, files, figures and the table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from torch import Tensor

from memristor_plugins.cli.assemble import Assembly, prepared_test
from memristor_plugins.crossbar.convert import program, running
from memristor_plugins.crossbar.profile import profile
from memristor_plugins.energy.comparison import against
from memristor_plugins.interfaces.energy import CostReport, WorkloadProfile
from memristor_plugins.models.evaluation import ChipResult, calibration_batches, on_chips
from memristor_plugins.models.routing import routing
from memristor_plugins.models.routing import table as routing_table
from memristor_plugins.models.vgg import count_parameters
from memristor_plugins.reporting import cost, cost_figures, figures, table
from memristor_plugins.reporting.routing import routing as routing_figure
from memristor_plugins.tracking.record import RunRecord

# Images that the workload is profiled on: a mean over so many is within a few percent of that over all.
PROFILED = 100
# Images that the distribution of bank coefficients is told from.
ROUTED = 2000
# Images that are profiled at once: their activations, and the moments of their word lines, fit a few gigabytes.
AT_ONCE = 25


def measure(run: Assembly, record: RunRecord, metrics: dict[str, Any], device: torch.device, quick: bool) -> None:
    """Evaluate a trained, calibrated module on chips, profile it, and write, draw and print the results.

    Args:
        metrics: what is known already, such as `test/accuracy`; completed here and written.
        quick: one batch on one chip at the first time, to try a config out.
    """
    module = run.module.to(device)
    chips, times = (run.chips[:1], run.times[:1]) if quick else (run.chips, run.times)
    test = prepared_test(run.data, device, 1 if quick else None)
    results = _on_chips(run, test, chips, times, device) if chips else []
    rows = [(r.chip, r.time_s, r.accuracy) for r in results]
    record.chips(rows)
    _, reports = costs(run, [images for images, _ in test], PROFILED)
    metrics["parameters"] = count_parameters(module.network)
    _routing(run, record, metrics, test)
    for seconds in times if rows else ():
        at = [a for _, t, a in rows if t == seconds]
        metrics[f"chips/accuracy_mean_{seconds:g}s"] = mean(at)
        metrics[f"chips/accuracy_std_{seconds:g}s"] = table.spread(at)
    metrics.update(cost.metrics(reports))
    if reports:
        record.cost(reports.values())
    record.metrics(metrics)
    _draw(run.data.name, record, metrics, rows, reports)
    table.show(run.data.name, metrics.get("test/accuracy"), rows, reports)


def _on_chips(
    run: Assembly, test: list[tuple[Tensor, Tensor]], chips: list[int], times: list[float], device: torch.device
) -> list[ChipResult]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[last]}"), TimeElapsedColumn())
    low = run.chip_precision is not torch.float32
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("chips", total=len(chips) * len(times), last="")

        def report(result: ChipResult) -> None:
            progress.update(task, advance=1, last=f"chip {result.chip}, {result.time_s:g} s: {result.accuracy:.2%}")

        def programmed(layers: int, of: int) -> None:
            progress.update(task, last=f"{layers} of {of} layers programmed and solved")

        def images() -> Iterator[Tensor]:
            return (batch.to(device) for batch in calibration_batches(run.data, run.batchnorm_images))

        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=low):
            return on_chips(
                run.module.network,
                lambda: test,
                chips,
                times,
                report,
                compensation=run.compensation,
                norm_batches=images if run.batchnorm_images else None,
                progress=programmed,
            )


def _routing(run: Assembly, record: RunRecord, metrics: dict[str, Any], test: list[tuple[Tensor, Tensor]]) -> None:
    """What kernels with bank coefficients make of the test images: `routing.csv` and its figure."""
    network = run.module.network.eval()
    with running(network, "digital"):
        found = routing(network, test, ROUTED)
    if not found:
        return
    record.routing(routing_table(found, run.data.num_classes))
    metrics["routing/spread_mean"] = mean(float(layer.spread.mean()) for layer in found)
    metrics["routing/between_class_share_mean"] = mean(float(layer.between_class_share.mean()) for layer in found)
    metrics["routing/entropy_mean"] = mean(layer.entropy for layer in found)
    folder = record.folder / "figures"
    folder.mkdir(exist_ok=True)
    panels = [
        (
            layer.layer,
            layer.coefficients,
            [layer.of_class(c).mean(dim=0) for c in layer.labels.unique().tolist()],
            float(layer.between_class_share.mean()),
        )
        for layer in found
    ]
    images = len(found[0].labels)
    routing_figure(folder / "routing.png", panels, f"{run.data.name}: bank coefficients of {images} test images")


def costs(
    run: Assembly, batches: Sequence[Tensor], images: int
) -> tuple[WorkloadProfile | None, dict[str, CostReport]]:
    """The workload of the first `images` images on the first chip at the first time, and what each estimator says."""
    if not run.estimators:
        return None, {}
    network = run.module.network
    program(network, run.chips[0] if run.chips else 0, run.times[0], power=True)
    workload = profile(network, first_images(batches, images), run.data.name)
    return workload, {name: estimator.estimate(workload) for name, estimator in run.estimators.items()}


def first_images(batches: Iterable[Tensor], count: int) -> Iterator[Tensor]:
    """The first `count` images in batches that a profile has room for."""
    for batch in batches:
        yield from batch[:count].split(AT_ONCE)
        count -= len(batch)
        if count <= 0:
            return


def _draw(
    data: str,
    record: RunRecord,
    metrics: dict[str, Any],
    rows: list[tuple[int, float, float]],
    reports: dict[str, CostReport],
) -> None:
    folder = record.folder / "figures"
    folder.mkdir(exist_ok=True)
    if rows and "test/accuracy" in metrics:
        figures.chips(folder / "chips.png", metrics["test/accuracy"], rows, f"{data}: accuracy on simulated chips")
    if reports:
        draw_costs(folder, reports, data)


def draw_costs(folder: Path, reports: dict[str, CostReport], data: str) -> None:
    """`energy.png`, by layer and component, and `comparison.png`."""
    cost_figures.layers(folder / "energy.png", against(reports)[0], data)
    cost_figures.comparison(folder / "comparison.png", reports, data)
