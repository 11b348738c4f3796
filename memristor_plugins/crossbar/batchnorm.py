"""Batch norms re-estimated on a chip: its own sums have other means and variances than those of the trained network."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from memristor_plugins.errors import SimulationError


@torch.no_grad()
def recalibrate_batchnorm(module: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace the running mean and variance of every batch norm by those of `batches`, as the module now computes.

    Each is the mean over the batches of the batch's own; while they are estimated, every norm normalises by the
    batch's. Weights, converter ranges and the chip stay as they are. The digital circuit does this once on a chip, with
    no labels (Joshi et al. 2020, 10.1038/s41467-020-16108-9, adapts them so against drift).

    Args:
        module: converted and programmed.
        batches: input tensors [batch, channels, height, width], training images. At least one; each of two or more.

    Raises:
        SimulationError: there are no batches.
    """
    norms = batch_norms(module)
    if not norms:
        warnings.warn("batch norms cannot be re-estimated: the network has none (are they folded?)", stacklevel=2)
        return
    was = [(norm, norm.momentum, norm.training) for norm in norms]
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the mean of all batches
            norm.train()
        seen = False
        for batch in batches:
            module(batch)
            seen = True
    finally:
        for norm, momentum, training in was:
            norm.momentum = momentum
            norm.train(training)
    if not seen:
        raise SimulationError("batch norms cannot be re-estimated without images; give at least one batch")


@contextmanager
def kept_batchnorm(module: nn.Module) -> Iterator[None]:
    """Statistics of all batch norms are as they were after the block."""
    kept = [(b, b.clone()) for norm in batch_norms(module) for b in norm.buffers()]
    try:
        yield
    finally:
        for buffer, value in kept:
            buffer.copy_(value)


def batch_norms(module: nn.Module) -> list[_BatchNorm]:
    """Batch norms of a network that have running statistics."""
    return [m for m in module.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
