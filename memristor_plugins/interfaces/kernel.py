"""The kernel contract: how a convolution's kernel depends on its input.

A strategy owns banks of kernels and a routing network, and returns factors. It never touches conductances: the digital
engine and the crossbar engine each realise the same factors in their own way.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import ClassVar

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class ConvSpec:
    """The convolution that a kernel is built for.

    Args:
        in_channels, out_channels: channels of input and output.
        kernel_size: height and width of the kernel.
        groups: independent convolutions side by side.
    """

    in_channels: int
    out_channels: int
    kernel_size: tuple[int, int]
    groups: int = 1

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """Shape of one bank: [out, in / groups, kh, kw]."""
        return (self.out_channels, self.in_channels // self.groups, *self.kernel_size)


@dataclass(frozen=True)
class Modulation:
    """Factors on the banks of one layer for one batch; a factor that is None is one everywhere.

    The kernel of image b is sum_k bank[b,k] output[b,o] input[b,i] position[b,h,w] joint[b,k,o,i,h,w] W[k,o,i,h,w].

    Args:
        bank: [batch, banks].
        output: [batch, out].
        input: [batch, in].
        position: [batch, kh, kw].
        joint: broadcastable to [batch, banks, out, in, kh, kw], for what does not factorise.
    """

    bank: Tensor | None = None
    output: Tensor | None = None
    input: Tensor | None = None
    position: Tensor | None = None
    joint: Tensor | None = None

    @property
    def factors(self) -> list[str]:
        """Names of the factors that are not one."""
        return [f.name for f in fields(self) if getattr(self, f.name) is not None]


class Kernel(nn.Module, ABC):
    """The banks and the routing of one convolution.

    Attributes:
        banks: number K of kernels.
        gain_range: (lowest, highest) value that `bank` factors take, where the strategy is trained within a gate's
            range; None where they are free.
    """

    banks: int
    gain_range: tuple[float, float] | None = None

    def __init__(self, spec: ConvSpec, banks: int) -> None:
        super().__init__()
        self.spec = spec
        self.banks = banks
        self.weight = nn.Parameter(torch.empty(banks, *spec.weight_shape))

    @abstractmethod
    def modulate(self, x: Tensor) -> Modulation:
        """Factors for a batch of inputs x [batch, in, height, width]."""

    def set_epoch(self, epoch: int) -> None:
        """Told at the start of each training epoch (counted from 0), for strategies that anneal."""

    def routing_macs(self) -> int:
        """Multiply-accumulates of the routing network for one image, pooling not counted."""
        return sum(m.in_features * m.out_features for m in self.modules() if isinstance(m, nn.Linear))


class KernelStrategy(ABC):
    """Builds the kernel of each convolution of a network.

    Attributes:
        banks: number K of kernels a layer.
        requires_api: version of the contracts it was written for; a newer one than `PLUGIN_API` is refused in one line.
    """

    requires_api: ClassVar[int] = 1
    banks: int

    @abstractmethod
    def build(self, spec: ConvSpec) -> Kernel:
        """Banks and routing of one convolution, initialised."""
