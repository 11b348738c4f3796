"""Dynamic convolution (DyConv)."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from memristor_plugins.interfaces.kernel import ConvSpec, Kernel, KernelStrategy, Modulation
from memristor_plugins.interfaces.parameter import Param
from memristor_plugins.kernels._routing import Squeeze, kaiming_banks

SOURCE = "Chen et al., CVPR 2020"


class Dynamic(KernelStrategy):
    """DyConv: kernels mixed for each image by a softmax over K banks, softened while training starts.

    a_k(x) = softmax_k(z(x) / T), T falling linearly from `temperature` to 1 over `anneal_epochs`.
    Source: Chen et al., "Dynamic Convolution: Attention over Convolution Kernels", CVPR 2020.
    """

    def __init__(
        self,
        banks: Annotated[int, Param("kernels K a layer", source=SOURCE, ge=1)] = 4,
        reduction: Annotated[float, Param("hidden over input channels of the routing", source=SOURCE, gt=0)] = 0.25,
        hidden_min: Annotated[int, Param("fewest hidden units of the routing", source="assumed", ge=1)] = 8,
        temperature: Annotated[float, Param("softmax temperature at the start", source=SOURCE, ge=1)] = 30.0,
        anneal_epochs: Annotated[int, Param("epochs until the temperature is 1", source=SOURCE, ge=0)] = 10,
    ) -> None:
        self.banks, self.reduction, self.hidden_min = banks, reduction, hidden_min
        self.temperature, self.anneal_epochs = temperature, anneal_epochs

    def build(self, spec: ConvSpec) -> Kernel:
        return DynamicKernel(spec, self)


class DynamicKernel(Kernel):
    """K banks under softmax attention."""

    temperature: Tensor

    def __init__(self, spec: ConvSpec, strategy: Dynamic) -> None:
        super().__init__(spec, strategy.banks)
        kaiming_banks(self.weight.data)
        self.routing = Squeeze(spec.in_channels, strategy.banks, strategy.reduction, strategy.hidden_min)
        self.start, self.anneal_epochs = float(strategy.temperature), strategy.anneal_epochs
        # Part of the checkpoint: a network stopped early must be evaluated at the temperature it was trained at.
        self.register_buffer("temperature", torch.tensor(self.start if self.anneal_epochs else 1.0))

    def set_epoch(self, epoch: int) -> None:
        done = min(1.0, epoch / self.anneal_epochs) if self.anneal_epochs else 1.0
        self.temperature.fill_(self.start + (1.0 - self.start) * done)

    def modulate(self, x: Tensor) -> Modulation:
        return Modulation(bank=(self.routing(x).float() / self.temperature).softmax(dim=-1))
