"""The routing networks and initialisations that strategies share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from memristor_plugins.interfaces.kernel import ConvSpec, Kernel


class Squeeze(nn.Module):
    """Global average pool, Linear, ReLU, Linear: one score for each bank of each image.

    Source: squeeze-and-excitation as in Chen et al., CVPR 2020 (DyConv), eq. 4 and Fig. 3.
    """

    def __init__(self, channels: int, banks: int, reduction: float, floor: int) -> None:
        super().__init__()
        hidden = max(floor, round(channels * reduction))
        self.reduce = nn.Linear(channels, hidden)
        self.expand = nn.Linear(hidden, banks)

    def forward(self, x: Tensor) -> Tensor:
        """Scores [batch, banks] of x [batch, channels, height, width]."""
        pooled = x.mean(dim=(2, 3))
        scores: Tensor = self.expand(self.reduce(pooled).relu())
        return scores


class NormalisedSqueeze(nn.Module):
    """Global average pool, Linear, batch norm, ReLU, and one Linear for each of several kinds of scores.

    Linears start as the publications' own code has them: Kaiming normal over outgoing values, biases zero.
    Source: Li et al., ICLR 2022 (ODConv), Fig. 1; Li and Yao, ICML 2024 (KernelWarehouse), section 3.3.
    """

    def __init__(self, channels: int, scores: dict[str, int], reduction: float, floor: int) -> None:
        super().__init__()
        hidden = max(floor, int(channels * reduction))
        self.reduce = nn.Linear(channels, hidden, bias=False)
        self.norm = nn.BatchNorm1d(hidden)
        self.heads = nn.ModuleDict({name: nn.Linear(hidden, count) for name, count in scores.items()})
        for layer in (self.reduce, *self.heads.values()):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")  # type: ignore[arg-type]
        for head in self.heads.values():
            nn.init.zeros_(head.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Scores [batch, count] of each kind, float32, of x [batch, channels, height, width]."""
        hidden = self.norm(self.reduce(x.mean(dim=(2, 3)))).relu()
        return {name: head(hidden).float() for name, head in self.heads.items()}


class AnnealedKernel(Kernel):
    """A kernel whose `temperature` falls linearly over the first training epochs.

    The temperature is part of the checkpoint: a network stopped early must be evaluated at the one it was trained at.
    """

    temperature: Tensor

    def __init__(self, spec: ConvSpec, banks: int, *, start: float, end: float, epochs: int) -> None:
        super().__init__(spec, banks)
        self.start, self.end, self.anneal_epochs = float(start), float(end), epochs
        self.register_buffer("temperature", torch.tensor(self.start if epochs else self.end))

    def set_epoch(self, epoch: int) -> None:
        done = min(1.0, epoch / self.anneal_epochs) if self.anneal_epochs else 1.0
        self.temperature.fill_(self.start + (self.end - self.start) * done)


def kaiming_banks(weight: Tensor) -> None:
    """Initialise each bank of [K, out, in, kh, kw] on its own, as a convolution is: banks that start alike stay so."""
    for bank in weight:
        nn.init.kaiming_normal_(bank, mode="fan_out", nonlinearity="relu")
