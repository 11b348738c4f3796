"""Muon: momentum whose matrices are made orthogonal before they are applied."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalise(matrices: Tensor, steps: int = 3) -> Tensor:
    """Approximate U V^T of each matrix [..., rows, columns] = U S V^T by Newton-Schulz iterations, in bfloat16.

    X <- a X + (b X X^T + c (X X^T)^2) X from X / |X|, (a, b, c) = (3.4445, -4.7750, 2.0315): singular values land
    between about 0.7 and 1.2. K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024).
    """
    a, b, c = COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.bfloat16()
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    found: Tensor = (x.mT if tall else x).to(matrices.dtype)
    return found


class Muon(torch.optim.SGD):
    """Muon for convolution banks [K, out, in, kh, kw], Nesterov SGD for everything else.

    Each step of a bank is -lr * orthogonalise(momentum), after its weights are scaled to the norm sqrt(out) they have
    as an orthogonal matrix, as in Jordan's CIFAR-10 recipe (github.com/KellerJordan/cifar10-airbench, airbench94_muon).

    Args:
        groups: of SGD, which may hold the banks too.
        banks: the weights that Muon updates.
        lr: of the banks.
        momentum: of both.
    """

    def __init__(self, groups: list[dict[str, Any]], banks: list[nn.Parameter], lr: float, momentum: float) -> None:
        own = {id(p) for p in banks}
        rest = [{**g, "params": [p for p in g["params"] if id(p) not in own], "muon": False} for g in groups]
        rest = [g for g in rest if g["params"]]
        if banks:
            rest.append({"params": banks, "lr": lr, "weight_decay": 0.0, "muon": True})
        super().__init__(rest, momentum=momentum, nesterov=momentum > 0)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update; banks by Muon, then what is left by SGD."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        kept: list[tuple[nn.Parameter, Tensor]] = []
        for group in self.param_groups:
            if not group["muon"]:
                continue
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                self._update(weight, weight.grad, group["lr"], group["momentum"])
                kept.append((weight, weight.grad))
                weight.grad = None  # SGD leaves it alone
        super().step()
        for weight, gradient in kept:
            weight.grad = gradient
        return loss

    def _update(self, weight: nn.Parameter, gradient: Tensor, lr: float, momentum: float) -> None:
        state = self.state[weight]
        buffer = state.setdefault("momentum_buffer", torch.zeros_like(gradient))
        buffer.mul_(momentum).add_(gradient)
        step = gradient.add(buffer, alpha=momentum).flatten(2)
        target = weight.shape[1] ** 0.5
        weight.mul_(target / weight.flatten(2).norm(dim=(1, 2)).view(-1, 1, 1, 1, 1).clamp_min(1e-7))
        weight.sub_(orthogonalise(step).view_as(weight), alpha=lr)
