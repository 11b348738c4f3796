"""`memristor evaluate checkpoint=PATH`: a trained network on chips, at times, on any stack."""

from __future__ import annotations

import logging
import re
import sys
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console
from torch import nn

from memristor_plugins.cli.assemble import assemble
from memristor_plugins.cli.hydra_run import run
from memristor_plugins.cli.measure import measure
from memristor_plugins.cli.memory import keep_buffers
from memristor_plugins.cli.resume import load_checkpoint
from memristor_plugins.cli.training import QUIET
from memristor_plugins.crossbar.convert import explain
from memristor_plugins.errors import ConfigError, MemristorError, nearest
from memristor_plugins.models.routing import following_kernels, permuted
from memristor_plugins.reporting import table
from memristor_plugins.tracking.record import RunRecord

# Overrides of a training run that say nothing about the network. Of the trainer's the precision does.
NOT_THE_NETWORK = (
    "hydra",
    "ckpt_path",
    "weights",
    "logger",
    "explain",
    "compile",
    "trainer",
    "checkpoint",
    "objective",
)
PRECISION = ("trainer", "trainer.precision")
# Overrides that choose what converter ranges are calibrated on.
STACK = ("experiment", "stack", "device", "mapping", "nonideality", "nonidealities", "hardware")
# Of the routing, for `kernel_control`.
CONTROLS = ("none", "permuted")
ADVICE = "runs keep theirs in checkpoints/last.ckpt"


def main(arguments: list[str]) -> int:
    """Run `memristor evaluate` on Hydra arguments and overrides; returns the exit code."""
    try:
        arguments = recompose(arguments)
    except MemristorError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    keep_buffers()
    return run("evaluate", evaluate, arguments)


def evaluate(config: DictConfig) -> None:
    """One evaluation, from a composed config."""
    checkpoint = load_checkpoint(config.checkpoint, "checkpoint", ADVICE)
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    hydra = HydraConfig.get()
    built = assemble(config, list(hydra.overrides.task))
    fits(built.module, checkpoint["state_dict"])
    control = _controlled(built.module.network, config.kernel_control)
    if config.explain:
        table.plans(explain(built.module.network))
    record = RunRecord(Path(hydra.runtime.output_dir))
    record.config(config)
    record.provenance({"overrides": list(hydra.overrides.task), "data": built.data.name})
    trainer = pl.Trainer(
        accelerator=built.trainer_arguments.get("accelerator", "auto"),
        devices=1,
        precision=built.trainer_arguments.get("precision"),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    # Another stack's sums have another range. Ranges belong to the network, not to a control.
    if not built.module.calibrated or _stack(checkpoint["memristor_overrides"]) != _stack(hydra.overrides.task):
        built.module.calibrate()
    with warnings.catch_warnings(), control:
        for message in QUIET:
            warnings.filterwarnings("ignore", message)
        trainer.test(built.module, datamodule=built.data, verbose=False)
        metrics: dict[str, Any] = {k: float(v) for k, v in trainer.callback_metrics.items()}
        measure(built, record, metrics, trainer.strategy.root_device, quick=False)
    Console().print(f"run folder: {record.folder}", highlight=False, soft_wrap=True)


def _controlled(network: nn.Module, control: str) -> AbstractContextManager[None]:
    """The network as it is, or under a control of its routing.

    Raises:
        ConfigError: no such control, or the network has nothing that it would change.
    """
    if control not in CONTROLS:
        raise ConfigError("kernel_control", f"must be one of {', '.join(CONTROLS)}; {nearest(str(control), CONTROLS)}")
    if control == "none":
        return nullcontext()
    following_kernels(network)
    return permuted(network)


def fits(module: nn.Module, state: dict[str, Any]) -> None:
    """Load a checkpoint's weights.

    Raises:
        ConfigError: they are another network's.
    """
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        first = " ".join(str(error).split())[:200]
        raise ConfigError("checkpoint", f"does not fit the network that these overrides compose: {first}") from error


def same_stack(recorded: Sequence[str], given: Sequence[str]) -> bool:
    """Both compose the same stack, so that converter ranges of one hold for the other."""
    return _stack(recorded) == _stack(given)


def recompose(arguments: list[str]) -> list[str]:
    """Arguments with the checkpoint's own overrides before them; where both set a key, the argument wins.

    An option chosen anew takes the recorded settings of the one before it away; `stack=NAME` takes the whole stack's.

    Raises:
        ConfigError: `checkpoint` is missing or no checkpoint of this program.
    """
    paths = [a.partition("=")[2].strip("'\"") for a in arguments if a.lstrip("+").startswith("checkpoint=")]
    if not paths:
        if any(a in ("--help", "-h", "--hydra-help", "--shell-completion", "-sc") for a in arguments):
            return arguments
        raise ConfigError("checkpoint", "must be given: memristor evaluate checkpoint=PATH/TO/last.ckpt")
    recorded = load_checkpoint(paths[-1], "checkpoint", ADVICE)["memristor_overrides"]
    given = {_key(a): a.partition("=")[2] for a in arguments if a[:1] != "-"}
    kept = [o for o in recorded if not _superseded(_key(o), given)]
    return [*kept, *arguments]


def _superseded(key: str, given: dict[str, str]) -> bool:
    """Whether a recorded setting says nothing any more beside the given ones."""
    root, _, rest = key.partition(".")
    if key in given or (root in NOT_THE_NETWORK and key not in PRECISION):
        return True
    if "stack" in given and root in STACK[2:-1]:
        return True
    many = {"nonidealities": "nonideality", "energies": "energy"}
    if root in many and many[root] in given:
        return rest.split(".")[0] not in re.findall(r"\w+", given[many[root]])
    return bool(rest) and root in given


def _stack(overrides: Sequence[str]) -> set[str]:
    return {o for o in overrides if _key(o).split(".")[0] in STACK}


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~").partition("@")[0]
