"""A sweep of `memristor reproduce`: every line trained, counted and evaluated, one measurement after another."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from omegaconf import OmegaConf

from memristor_plugins.cli.headline_runs import Deadline, Subject, train
from memristor_plugins.compose import compose
from memristor_plugins.crossbar.compensation import Kind
from memristor_plugins.reproduce.results import Rows, replace_text
from memristor_plugins.reproduce.sweep import Point, Sweep
from memristor_plugins.reproduce.sweep_table import draw, table
from memristor_plugins.tracking.record import RunRecord

LINES = ("point", "seed", "width", "banks", "cells", "conversions", "joules", "epochs", "val_accuracy", "seconds")
CHIPS = ("point", "seed", "chip", "val_accuracy")


def run_sweep(sweep: Sweep, output: Path, work: Path, seconds: float | None, say: Callable[[str], None]) -> bool:
    """Go on until all lines are measured; False where the deadline came first. The table is written either way."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    if sweep.threads is not None:
        torch.set_num_threads(sweep.threads)
    deadline = Deadline(seconds)
    work.mkdir(parents=True, exist_ok=True)
    lines, chips = Rows(output / "lines.csv", LINES, 2), Rows(output / "chips.csv", CHIPS, 3)
    replace_text(output / "sweep.yaml", OmegaConf.to_yaml(OmegaConf.create(asdict(sweep))))
    data, done = "", True
    for seed in sweep.seeds:
        for point in sweep.lines():
            if not _measured(sweep, point, seed, work, lines, chips, deadline, say):
                done = False
                break
    data = _data(sweep)
    RunRecord(output).provenance({"data": data})
    replace_text(output / "table.md", table(sweep, data, lines.dicts(), chips.dicts()))
    draw(output / "sweep.png", sweep, data, lines.dicts(), chips.dicts())
    return done


def _measured(
    sweep: Sweep,
    point: Point,
    seed: int,
    work: Path,
    lines: Rows,
    chips: Rows,
    deadline: Deadline,
    say: Callable[[str], None],
) -> bool:
    """One line of one seed; False where the deadline came first."""
    by_name = {p.name: p for p in sweep.lines()}
    trained = by_name[point.of] if point.of is not None else point
    overrides = [*sweep.common, *trained.train, f"seed={seed}"]
    weights = work / f"{trained.name}-{seed}.pt"
    start = None if trained.start is None else work / f"{trained.start}-{seed}.pt"
    if point.of is None and (point.name, seed) not in lines:
        if deadline.over:
            return False
        say(f"{point.name}, seed {seed}: training")
        begun = time.monotonic()
        found = train(overrides, weights, start, deadline)
        if found is None:
            return False
        spent = round(time.monotonic() - begun, 1)
        cells, conversions, joules = Subject(overrides, weights).costs(sweep.profiled)
        model = compose("train", overrides)
        accuracy = f"{found['val_accuracy']:.6g}"
        lines.add(
            point.name,
            seed,
            f"{model.model.width:.6g}",
            model.kernel.get("banks", 1),
            cells,
            f"{conversions:.6g}",
            f"{joules:.6g}",
            found["epochs"],
            accuracy,
            spent,
        )
        say(f"{point.name}, seed {seed}: {accuracy} of the validation images, {spent:.0f} s")
    subject: Subject | None = None
    for chip in range(sweep.chips):
        if (point.name, seed, chip) in chips:
            continue
        if deadline.over:
            return False
        subject = subject or Subject(overrides, weights, validation=True)
        kind: Kind = point.compensation  # type: ignore[assignment]
        (accuracy_on,) = subject.on_chip(
            chip, [(point.seconds, kind)], exact=sweep.exact_wires, batchnorm_images=point.batchnorm_images
        )
        chips.add(point.name, seed, chip, f"{accuracy_on:.6g}")
        say(f"{point.name}, seed {seed}, chip {chip}: {accuracy_on:.2%}")
    return True


def _data(sweep: Sweep) -> str:
    from memristor_plugins.cli.headline_runs import built

    return built([*sweep.common, *sweep.lines()[0].train]).data.name
