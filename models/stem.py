"""A first layer set from the data, and an initialisation that passes inputs through."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from memristor_plugins.crossbar.modulated import ModulatedConv2d
from memristor_plugins.kernels.static import Static

KERNEL = 2
EPSILON = 5e-4  # added to the patches' variances


class Whitening(nn.Module):
    """A frozen 2x2 convolution, positive and negative, after which image patches are uncorrelated with variance one.

    W = +-E / sqrt(lambda + 5e-4), rows E the eigenvectors and lambda the eigenvalues of the patches' covariance; then a
    trained bias and ReLU. K. Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", arXiv:2404.00498, sec. 3.1,
    after D. Page (2019); there with GELU. Until `fit` is called the convolution is a random one.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = 2 * channels * KERNEL**2
        self.conv = ModulatedConv2d(Static(), channels, self.channels, KERNEL, bias=True)
        self.conv.kernel.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, channels, height, width] -> [batch, 8 channels, height - 1, width - 1]."""
        out: Tensor = self.conv(x)
        return out.relu()

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Set the convolution from images [count, channels, height, width]; `whitening_kernels`."""
        weight = self.conv.kernel.weight
        weight.copy_(whitening_kernels(images).to(weight).unsqueeze(0))


def whitening_kernels(images: Tensor) -> Tensor:
    """[8 channels, channels, 2, 2] from images [count, channels, height, width]; see `Whitening`."""
    channels = images.shape[1]
    patches = F.unfold(images.float().contiguous(), KERNEL).transpose(1, 2).flatten(0, 1).double()
    patches = patches - patches.mean(dim=0)
    variances, directions = torch.linalg.eigh(patches.T @ patches / len(patches))
    # An eigenvector's sign is the solver's choice: the largest entry is made positive, for the same bytes anywhere.
    largest = directions.gather(0, directions.abs().argmax(dim=0, keepdim=True))
    kernels = (directions * largest.sign() / (variances + EPSILON).sqrt()).T.flip(0)
    kernels = kernels.reshape(-1, channels, KERNEL, KERNEL)
    return torch.cat((kernels, -kernels))


@torch.no_grad()
def dirac(weight: Tensor) -> None:
    """Let each bank of [K, out, in, kh, kw] pass its first inputs on, in place; further outputs stay as they are.

    Several banks keep half of what they were initialised with: banks that start alike stay so.
    """
    for bank in weight:
        passed = min(bank.shape[:2])
        kept = bank[:passed] * (0.5 if len(weight) > 1 else 0.0)
        nn.init.dirac_(bank[:passed])
        bank[:passed] += kept
