"""`memristor energy`: what an inference of a trained or untrained network costs, and what that depends on."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig
from rich.console import Console

from memristor_plugins.cli.evaluate import ADVICE, fits, recompose, same_stack
from memristor_plugins.cli.hydra_run import run
from memristor_plugins.cli.memory import keep_buffers
from memristor_plugins.errors import ConfigError, MemristorError

# Training images that an untrained network's norms and converters are set on.
SETTLED = 100


def main(arguments: list[str]) -> int:
    """Run `memristor energy` on Hydra arguments and overrides; returns the exit code."""
    try:
        if any(a.lstrip("+").startswith("checkpoint=") for a in arguments):
            arguments = recompose(arguments)
    except MemristorError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    keep_buffers()
    return run("energy", energy, arguments)


def energy(config: DictConfig) -> None:
    """One estimate, from a composed config. All is computed before anything is written."""
    from memristor_plugins.cli.assemble import assemble, prepared_test
    from memristor_plugins.cli.measure import costs, draw_costs, first_images
    from memristor_plugins.cli.resume import load_checkpoint
    from memristor_plugins.cli.sensitivity import HEADER, rows, vary
    from memristor_plugins.reporting import cost, cost_figures, cost_table
    from memristor_plugins.tracking.record import RunRecord
    from memristor_plugins.tracking.sweep import gather

    images, overrides = config.images, list(HydraConfig.get().overrides.task)
    if not isinstance(images, int) or isinstance(images, bool) or images < 1:
        raise ConfigError("images", f"must be a whole number >= 1, got {images}")
    if not isinstance(config.sensitivity, bool):
        raise ConfigError("sensitivity", f"must be true or false, got {config.sensitivity}")
    if not config.energies:
        raise ConfigError("energy", "names no estimator; choose energy=[crossbar,gpu_roofline,brain] or others")
    for noisy in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    checkpoint = None
    if config.checkpoint is not None:
        checkpoint = load_checkpoint(config.checkpoint, "checkpoint", ADVICE)
    built = assemble(config, overrides)
    network = built.module.network
    if checkpoint is None:
        _settle(built)
    else:
        fits(built.module, checkpoint["state_dict"])
        if not built.module.calibrated or not same_stack(checkpoint["memristor_overrides"], overrides):
            built.module.calibrate()
    network.eval()
    place = next(network.parameters()).device
    size = built.data.eval_batch_size
    test = [batch for batch, _ in prepared_test(built.data, place, -(-images // size))]
    workload, reports = costs(built, test, images)
    assert workload is not None, "there is an estimator"
    name = built.data.name + ("" if checkpoint is not None else ", untrained")
    varied = None
    if config.sensitivity and "crossbar" in reports:
        varied = vary(config, built, next(first_images(test, images)), workload)
    record = RunRecord(Path(HydraConfig.get().runtime.output_dir))
    record.config(config)
    record.provenance({"overrides": overrides, "data": name})
    record.cost(reports.values())
    record.json("cost.json", cost.document(workload, reports))
    record.metrics(cost.metrics(reports))
    folder = record.folder / "figures"
    folder.mkdir(exist_ok=True)
    draw_costs(folder, reports, name)
    cost_table.show(name, reports)
    console = Console()
    if varied is not None:
        variations, caption = varied
        record.table("sensitivity.csv", HEADER, rows(variations))
        cost_figures.sensitivity(folder / "sensitivity.png", variations, caption, name)
        cost_table.sensitivity(variations, caption)
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        gather(Path(HydraConfig.get().sweep.dir))
    console.print(f"run folder: {record.folder}", highlight=False, soft_wrap=True, markup=False)


def _settle(built: Any) -> None:
    """Bring an untrained network's norms and converters where its signals are, on training images."""
    from memristor_plugins.crossbar.batchnorm import recalibrate_batchnorm
    from memristor_plugins.crossbar.convert import calibrate, running
    from memristor_plugins.models.evaluation import calibration_batches

    network = built.module.network
    place = next(network.parameters()).device
    batches = [batch.to(place) for batch in calibration_batches(built.data, SETTLED)]
    with running(network, "digital"):
        recalibrate_batchnorm(network, batches)
    calibrate(network, batches)
