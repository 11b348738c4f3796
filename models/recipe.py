"""How a network is optimised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging
from torch import Tensor, nn

from memristor_plugins.interfaces.kernel import Kernel
from memristor_plugins.interfaces.parameter import Param
from memristor_plugins.models.lookahead import Lookahead
from memristor_plugins.models.muon import Muon
from memristor_plugins.models.routing_terms import entropy, imbalance

SPEEDRUN = "Jordan 2024, arXiv:2404.00498"


class Recipe:
    """Optimiser, schedule and regularisation.

    The learning rate rises linearly from `first_lr` to 1 over the first `warmup` share of all steps and falls linearly
    to `last_lr`, all times `lr`. Routing networks, and biases with batch norm's parameters, have learning rates of
    their own; the latter no weight decay.
    """

    def __init__(
        self,
        optimizer: Annotated[
            Literal["sgd", "adamw", "muon"],
            Param("update rule", source="Nesterov SGD, AdamW, or Muon for convolutions and Nesterov SGD for the rest"),
        ] = "sgd",
        lr: Annotated[float, Param("peak learning rate", source="assumed", gt=0)] = 0.2,
        momentum: Annotated[float, Param("Nesterov momentum of sgd", source="assumed", ge=0, lt=1)] = 0.9,
        weight_decay: Annotated[float, Param("L2 of sgd, decoupled decay of adamw", source="assumed", ge=0)] = 5e-4,
        warmup: Annotated[float, Param("share of steps until the peak", source="assumed", ge=0, lt=1)] = 0.2,
        label_smoothing: Annotated[
            float, Param("probability spread over all classes", source="10.1109/CVPR.2016.308", ge=0, lt=1)
        ] = 0.1,
        bias_lr: Annotated[
            float, Param("learning rate of biases and batch norm, times lr", source="assumed", gt=0)
        ] = 1.0,
        routing_lr: Annotated[float, Param("learning rate of routing, times lr", source="assumed", gt=0)] = 1.0,
        routing_decay: Annotated[
            float | None, Param("weight decay of routing; null: the other weights'", source="assumed", ge=0)
        ] = None,
        routing_balance: Annotated[
            float,
            Param("weight in the loss of the layers' mean imbalance between banks", source="arXiv:1701.06538", ge=0),
        ] = 0.0,
        routing_entropy: Annotated[
            float,
            Param(
                "weight in the loss of the layers' mean entropy of an image's coefficients, 0 to 1: above 0 it makes "
                "routing decisive, below 0 even",
                source="assumed",
            ),
        ] = 0.0,
        first_lr: Annotated[float, Param("rate of the first step, times lr", source=SPEEDRUN, ge=0, le=1)] = 0.0,
        last_lr: Annotated[float, Param("rate of the last step, times lr", source=SPEEDRUN, ge=0, le=1)] = 0.0,
        muon_lr: Annotated[float, Param("peak rate of muon's own weights", source="Jordan 2024", gt=0)] = 0.24,
        lookahead: Annotated[
            int, Param("steps between two merges of slow and fast weights; 0: off", source=SPEEDRUN, ge=0)
        ] = 0,
        lookahead_decay: Annotated[
            float, Param("what slow weights keep in a merge at the end", source=SPEEDRUN, ge=0, lt=1)
        ] = 0.7738,
        ema: Annotated[
            float, Param("what averaged weights keep a step; 0: no average", source="10.1137/0330046", ge=0, lt=1)
        ] = 0.0,
    ) -> None:
        self.optimizer, self.lr, self.momentum, self.weight_decay = optimizer, lr, momentum, weight_decay
        self.warmup, self.label_smoothing = warmup, label_smoothing
        self.bias_lr, self.routing_lr, self.routing_decay = bias_lr, routing_lr, routing_decay
        self.routing_balance, self.routing_entropy = routing_balance, routing_entropy
        self.first_lr, self.last_lr, self.muon_lr = first_lr, last_lr, muon_lr
        self.lookahead, self.lookahead_decay, self.ema = lookahead, lookahead_decay, ema

    def configure(self, network: nn.Module, steps: int) -> dict[str, Any]:
        """What `LightningModule.configure_optimizers` returns, for `steps` updates in all."""
        groups = [
            {"params": params, "lr": self.lr * factor, "weight_decay": decay}
            for params, factor, decay in self._groups(network)
            if params
        ]
        optimizer: torch.optim.Optimizer
        if self.optimizer == "adamw":
            optimizer = torch.optim.AdamW(groups)
        elif self.optimizer == "muon":
            optimizer = Muon(groups, convolutions(network), lr=self.muon_lr, momentum=self.momentum)
        else:
            optimizer = torch.optim.SGD(groups, momentum=self.momentum, nesterov=self.momentum > 0)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self.factor(step, steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def callbacks(self) -> list[pl.Callback]:
        """Lightning callbacks that average weights."""
        chosen: list[pl.Callback] = []
        if self.lookahead:
            chosen.append(Lookahead(self.lookahead, self.lookahead_decay))
        if self.ema:
            chosen.append(EMAWeightAveraging(decay=self.ema))
        return chosen

    @property
    def shapes_routing(self) -> bool:
        """The loss holds terms of routing."""
        return self.routing_balance != 0 or self.routing_entropy != 0

    def routing_loss(self, coefficients: Sequence[Tensor]) -> Tensor | float:
        """What the loss holds of routing: means over layers, times their weights.

        Args:
            coefficients: of each layer, [batch, banks].
        """
        layers = [a.float() for a in coefficients] if self.shapes_routing else []
        if not layers:
            return 0.0
        uneven = sum(imbalance(a) for a in layers) / len(layers)
        even = sum(entropy(a).mean() for a in layers) / len(layers)
        return self.routing_balance * uneven + self.routing_entropy * even

    def factor(self, step: int, steps: int) -> float:
        """The learning rate of step 0, 1, ... of `steps`, over its peak."""
        peak = max(1, round(self.warmup * steps))
        if step < peak:
            return self.first_lr + (1 - self.first_lr) * (step + 1) / peak
        left = max(0.0, (steps - step) / max(1, steps - peak))
        return self.last_lr + (1 - self.last_lr) * min(1.0, left)

    def _groups(self, network: nn.Module) -> list[tuple[list[nn.Parameter], float, float]]:
        routing = {
            id(p)
            for kernel in network.modules()
            if isinstance(kernel, Kernel)
            for p in kernel.parameters()
            if p is not kernel.weight
        }
        named = [p for p in network.parameters() if p.requires_grad]
        routed = [p for p in named if id(p) in routing]
        others = [p for p in named if id(p) not in routing]
        routing_decay = self.weight_decay if self.routing_decay is None else self.routing_decay
        return [
            ([p for p in others if p.dim() > 1], 1.0, self.weight_decay),
            ([p for p in others if p.dim() <= 1], self.bias_lr, 0.0),
            ([p for p in routed if p.dim() > 1], self.routing_lr, routing_decay),
            ([p for p in routed if p.dim() <= 1], self.routing_lr, 0.0),
        ]


def convolutions(network: nn.Module) -> list[nn.Parameter]:
    """Trained kernels, whose banks Muon orthogonalises."""
    return [m.weight for m in network.modules() if isinstance(m, Kernel) and m.weight.requires_grad]
