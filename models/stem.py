"""A first layer set from the data, and an initialisation that passes inputs through."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from memristor_plugins.crossbar.modulated import ModulatedConv2d
from memristor_plugins.errors import ConfigError
from memristor_plugins.kernels.static import Static

KERNEL = 2
EPSILON = 5e-4  # added to the patches' variances


class Whitening(nn.Module):
    """A frozen 2x2 convolution after which image patches are uncorrelated with variance one, and its negative.

        z = E * x,  y = relu([z, -z] / sqrt(lambda + 5e-4) + b)

    rows E the leading unit eigenvectors and lambda the eigenvalues of the patches' covariance, b trained. K. Jordan,
    "94% on CIFAR-10 in 3.29 seconds on a single GPU", arXiv:2404.00498, sec. 3.1, after D. Page (2019); there with
    GELU, all components, and both signs and the scale in the convolution's weights. Here arrays hold E alone: scaled
    rows differ by two orders, so that one conductance range for all would drown the leading ones in programming errors;
    and the negative of a converted sum costs no conversion. Trailing components are as small as the errors of a row
    that large ones leak through: `components` leaves them out. Until `fit` is called the convolution is a random one.

    Args:
        channels: of an image.
        components: eigenvectors that are kept, largest variance first; None: all 4 channels.

    Raises:
        ConfigError: there are not so many.
    """

    scale: Tensor

    def __init__(self, channels: int, components: int | None = None) -> None:
        super().__init__()
        whole = channels * KERNEL**2
        count = whole if components is None else components
        if count > whole:
            raise ConfigError("model.stem_components", f"patches have {whole} components, got {count}; take {whole}")
        self.channels = 2 * count
        self.conv = ModulatedConv2d(Static(), channels, count, KERNEL)
        self.conv.kernel.weight.requires_grad_(False)
        self.register_buffer("scale", torch.ones(count))
        self.bias = nn.Parameter(torch.zeros(self.channels))
        self.scaled, self.relu = Scaled(), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, channels, height, width] -> [batch, 2 components, height - 1, width - 1]."""
        z = self.scaled(self.conv(x), self.scale)
        out: Tensor = self.relu(torch.cat((z, -z), dim=1) + self.bias.view(1, -1, 1, 1).to(z.dtype))
        return out

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Set convolution and scale from images [count, channels, height, width]; `principal_patches`."""
        directions, variances = principal_patches(images)
        weight = self.conv.kernel.weight
        weight.copy_(directions[: weight.shape[1]].to(weight).unsqueeze(0))
        self.scale.copy_((variances + EPSILON).rsqrt()[: weight.shape[1]].to(self.scale))


class Scaled(nn.Module):
    """y = x * scale, channel by channel: a module of its own, so that the cost model counts it."""

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        """x [batch, channels, height, width], scale [channels]."""
        return x * scale.view(1, -1, 1, 1).to(x.dtype)


def principal_patches(images: Tensor) -> tuple[Tensor, Tensor]:
    """Unit eigenvectors of the patches' covariance as kernels [4 channels, channels, 2, 2], and its eigenvalues.

    Largest first, float64.

    Args:
        images: [count, channels, height, width].
    """
    channels = images.shape[1]
    patches = F.unfold(images.float().contiguous(), KERNEL).transpose(1, 2).flatten(0, 1).double()
    patches = patches - patches.mean(dim=0)
    variances, directions = torch.linalg.eigh(patches.T @ patches / len(patches))
    # An eigenvector's sign is the solver's choice: the largest entry is made positive, for the same bytes anywhere.
    largest = directions.gather(0, directions.abs().argmax(dim=0, keepdim=True))
    kernels = (directions * largest.sign()).T.flip(0)
    return kernels.reshape(-1, channels, KERNEL, KERNEL), variances.flip(0)


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
