"""The routing network that attention-like strategies share."""

from __future__ import annotations

from torch import Tensor, nn


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


def kaiming_banks(weight: Tensor) -> None:
    """Initialise each bank of [K, out, in, kh, kw] on its own, as a convolution is: banks that start alike stay so."""
    for bank in weight:
        nn.init.kaiming_normal_(bank, mode="fan_out", nonlinearity="relu")
