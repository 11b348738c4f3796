"""Slow weights that fast ones are merged with every few steps."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor


class Lookahead(pl.Callback):
    """Every `every` steps slow <- d slow + (1 - d) fast, fast <- slow, with d = decay (step / steps)^3.

    At the end the network is left at the slow weights; statistics of batch norms are averaged likewise. M. Zhang et
    al., "Lookahead Optimizer", NeurIPS 2019, arXiv:1907.08610; the growing decay is K. Jordan's, arXiv:2404.00498
    (there 0.95^5 every 5 steps).

    Args:
        every: steps between merges, >= 1.
        decay: d at the last step, in [0, 1).
    """

    def __init__(self, every: int, decay: float) -> None:
        self.every, self.decay = every, decay
        self.slow: dict[str, Tensor] = {}

    @torch.no_grad()
    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        if not self.slow:
            self.slow = {name: value.clone() for name, value in _values(pl_module).items()}
        step, steps = trainer.global_step, int(trainer.estimated_stepping_batches)
        if step % self.every == 0 or step >= steps:
            decay = self.decay * (step / max(1, steps)) ** 3
            for name, value in _values(pl_module).items():
                value.copy_(self.slow[name].to(value).lerp_(value, 1 - decay))
                self.slow[name] = value.clone()

    def state_dict(self) -> dict[str, Any]:
        return {"slow": self.slow}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.slow = dict(state_dict["slow"])


def _values(module: pl.LightningModule) -> dict[str, Tensor]:
    """Trained weights and running statistics; converter ranges, which are calibrated, are none."""
    named = dict(module.named_parameters()) | {
        name: b for name, b in module.named_buffers() if name.endswith(("running_mean", "running_var"))
    }
    return {name: value for name, value in named.items() if value.dtype.is_floating_point}
