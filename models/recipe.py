"""How a network is optimised."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from torch import nn

from memristor_plugins.interfaces.kernel import Kernel
from memristor_plugins.interfaces.parameter import Param


class Recipe:
    """Optimiser, schedule and regularisation.

    The learning rate rises linearly over the first `warmup` share of all steps and falls linearly to zero. Routing
    networks, and biases with batch norm's parameters, have learning rates of their own; the latter no weight decay.
    """

    def __init__(
        self,
        optimizer: Annotated[Literal["sgd", "adamw"], Param("update rule", source="Nesterov SGD or AdamW")] = "sgd",
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
    ) -> None:
        self.optimizer, self.lr, self.momentum, self.weight_decay = optimizer, lr, momentum, weight_decay
        self.warmup, self.label_smoothing = warmup, label_smoothing
        self.bias_lr, self.routing_lr = bias_lr, routing_lr

    def configure(self, network: nn.Module, steps: int) -> dict[str, Any]:
        """What `LightningModule.configure_optimizers` returns, for `steps` updates in all."""
        groups = [
            {"params": params, "lr": self.lr * factor, "weight_decay": decay}
            for params, factor, decay in self._groups(network)
            if params
        ]
        optimizer: torch.optim.Optimizer
        if self.optimizer == "sgd":
            optimizer = torch.optim.SGD(groups, momentum=self.momentum, nesterov=self.momentum > 0)
        else:
            optimizer = torch.optim.AdamW(groups)
        peak = max(1, round(self.warmup * steps))

        def factor(step: int) -> float:
            return min((step + 1) / peak, max(0.0, (steps - step) / max(1, steps - peak)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

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
        return [
            ([p for p in others if p.dim() > 1], 1.0, self.weight_decay),
            ([p for p in others if p.dim() <= 1], self.bias_lr, 0.0),
            ([p for p in routed if p.dim() > 1], self.routing_lr, self.weight_decay),
            ([p for p in routed if p.dim() <= 1], self.routing_lr, 0.0),
        ]
