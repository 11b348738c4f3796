"""The digital convolution with modulated banks: what networks are built from and trained with."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from memristor_plugins.crossbar.geometry import Geometry
from memristor_plugins.crossbar.realisation import Route, banks, cheapest, mixed
from memristor_plugins.interfaces.kernel import ConvSpec, KernelStrategy, Modulation


class ModulatedConv2d(nn.Module):
    """A 2-D convolution whose kernel is a modulated sum of banks.

    Args:
        strategy: builds the banks and the routing.
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias: as `torch.nn.Conv2d`.
    """

    def __init__(
        self,
        strategy: KernelStrategy,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = False,
    ) -> None:
        super().__init__()
        size = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
        self.spec = ConvSpec(in_channels, out_channels, size, groups)
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        self.kernel = strategy.build(self.spec)
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """[batch, in, height, width] -> [batch, out, height', width']."""
        y = modulated_conv2d(
            x,
            self.kernel.weight,
            self.kernel(x),
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )
        return y if self.bias is None else y + self.bias.view(1, -1, 1, 1).to(y.dtype)


def modulated_conv2d(
    x: Tensor,
    weight: Tensor,
    modulation: Modulation,
    *,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
    route: Route | None = None,
) -> Tensor:
    """Convolution of x [batch, in, h, w] with banks [K, out, in / groups, kh, kw] under a modulation.

    Factors of input and output channels scale the input and the output; the others are realised by the route that
    costs least (`realisation.cheapest`). All routes are exact.

    Args:
        route: takes this one instead.
    """
    size = (int(weight.shape[-2]), int(weight.shape[-1]))
    if modulation.drive is not None:
        size = (int(modulation.drive.shape[-2]), int(modulation.drive.shape[-1]))
    geometry = Geometry(x.shape[1], weight.shape[1], size, _pair(stride), _pair(padding), _pair(dilation), groups)
    if modulation.input is not None:
        x = x * modulation.input[:, :, None, None].to(x.dtype)
    chosen = route or cheapest(x, weight, modulation, geometry)
    y = (banks if chosen == "banks" else mixed)(x, weight, modulation, geometry)
    return y if modulation.output is None else y * modulation.output[:, :, None, None].to(y.dtype)


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value
