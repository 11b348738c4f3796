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

    The kernel of image b is

        sum_k bank[b,k] output[b,o] input[b,i] position[b,h,w] column[b,k,p(i),o] joint[b,k,o,i,h,w] W[k,o,i,h,w]

    with p(i) the part of the input channels that i lies in. With `drive`, banks are cells W[k,o,j] of one pixel and a
    part of the input channels, and the kernel at input channel i = (c, j) is

        sum_k output[b,o] drive[b,k,c,h,w] W[k,o,j].

    Args:
        bank: [batch, banks].
        output: [batch, out].
        input: [batch, in].
        position: [batch, kh, kw].
        column: [batch, banks, parts, out]: factors of each bank's outputs, for equal parts of the input channels.
        drive: [batch, banks, chunks, kh, kw]: what each bank's inputs are mixed with, weight [banks, out, in / chunks,
            1, 1]; together with nothing but `output`.
        joint: broadcastable to [batch, banks, out, in, kh, kw], for what does not factorise: the digital engine
            realises it, arrays of stationary cells cannot.
    """

    bank: Tensor | None = None
    output: Tensor | None = None
    input: Tensor | None = None
    position: Tensor | None = None
    column: Tensor | None = None
    drive: Tensor | None = None
    joint: Tensor | None = None

    @property
    def factors(self) -> list[str]:
        """Names of the factors that are not one."""
        return [f.name for f in fields(self) if getattr(self, f.name) is not None]


class Kernel(nn.Module, ABC):
    """The banks and the routing of one convolution.

    Called as a module it is `modulate`, so that forward hooks see, and may replace, every modulation.

    Attributes:
        banks: number K of kernels.
        factors: names of the factors that `modulate` gives; tells the crossbar engine how the layer stands on arrays.
        parts: equal parts of the input channels that `column` factors tell apart.
        gain_range: (lowest, highest) value that `bank` factors take, where the strategy is trained within a gate's
            range; None where they are free.
        shared_lines: the bit lines of all banks of an output end in one converter, which sees their sum.
        gate: `bank` factors of any value are applied by the cells' third terminal as far as it reaches: each is a gain
            in [gain_min, 1] times a digital factor, one an image where all banks' gains reach, else one a bank.
        constant: factors are the same for every image.
    """

    banks: int
    factors: frozenset[str] = frozenset({"bank", "output", "input"})
    parts: int = 1
    gain_range: tuple[float, float] | None = None
    shared_lines: bool = False
    gate: bool = False
    constant: bool = False

    def __init__(self, spec: ConvSpec, banks: int) -> None:
        super().__init__()
        self.spec = spec
        self.banks = banks
        self.weight = nn.Parameter(torch.empty(banks, *spec.weight_shape))

    def forward(self, x: Tensor) -> Modulation:
        """`modulate`."""
        return self.modulate(x)

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

    def for_network(self) -> KernelStrategy:
        """The strategy for the layers of one network, asked for once before they are built.

        Itself, unless layers share banks: a strategy then returns a copy that remembers what it has built.
        """
        return self

    @abstractmethod
    def build(self, spec: ConvSpec) -> Kernel:
        """Banks and routing of one convolution, initialised."""
