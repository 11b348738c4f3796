"""Stationary banks under gate gains: the strategy that the third terminal realises."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn

from memristor_plugins.errors import ConfigError
from memristor_plugins.interfaces.kernel import ConvSpec, Kernel, KernelStrategy, Modulation
from memristor_plugins.interfaces.parameter import Param
from memristor_plugins.kernels._routing import Squeeze, kaiming_banks


class Heterosynaptic(KernelStrategy):
    """K stationary banks, each scaled by a third-terminal gain within the gate's reach.

    y = sum_k s_k(x) W_k * x with s_k = gain_min + (gain_max - gain_min) sigmoid(z_k(x) / temperature): trained inside
    the range that a gate can set, so that the same coefficients are realised on a gated crossbar without rewriting a
    cell. With `constant` the z_k are trained numbers of each bank, the same for every image: the control that has the
    banks, the gate and its errors, and no routing.
    Source: heterosynaptic modulation of kernels, Hong et al. 2024, 10.1002/adfm.202422321; the form is ours (assumed).
    """

    def __init__(
        self,
        banks: Annotated[int, Param("stationary kernels K a layer", source="assumed", ge=1)] = 4,
        reduction: Annotated[float, Param("hidden over input channels of the routing", source="assumed", gt=0)] = 0.25,
        hidden_min: Annotated[int, Param("fewest hidden units of the routing", source="assumed", ge=1)] = 8,
        gain_min: Annotated[
            float, Param("smallest gain; the default device reaches 0.25", source="assumed", gt=0, le=1)
        ] = 0.26,
        gain_max: Annotated[float, Param("largest gain", source="assumed", gt=0, le=1)] = 1.0,
        temperature: Annotated[
            float, Param("divides the scores; below 1 small differences of scores decide", source="assumed", gt=0)
        ] = 1.0,
        shared_lines: Annotated[
            bool, Param("banks' bit lines meet at one converter, after each its own termination", source="assumed")
        ] = False,
        constant: Annotated[
            bool, Param("gains are the same for every image: a control", source="false: they follow the image")
        ] = False,
    ) -> None:
        if gain_min >= gain_max:
            raise ConfigError("kernel.gain_min", f"must be below kernel.gain_max = {gain_max:g}, got {gain_min:g}")
        self.banks, self.reduction, self.hidden_min = banks, reduction, hidden_min
        self.gain_min, self.gain_max, self.constant = gain_min, gain_max, constant
        self.shared_lines, self.temperature = shared_lines, temperature

    def build(self, spec: ConvSpec) -> Kernel:
        return HeterosynapticKernel(spec, self)


class HeterosynapticKernel(Kernel):
    """K banks under gains in [gain_min, gain_max]."""

    factors = frozenset({"bank"})

    def __init__(self, spec: ConvSpec, strategy: Heterosynaptic) -> None:
        super().__init__(spec, strategy.banks)
        kaiming_banks(self.weight.data)
        self.gain_range = (strategy.gain_min, strategy.gain_max)
        self.shared_lines = strategy.shared_lines
        self.constant, self.temperature = strategy.constant, strategy.temperature
        self.scores: nn.Parameter | None = None
        if strategy.constant:
            # Apart from the start, as those of a routed network are.
            self.scores = nn.Parameter(torch.randn(strategy.banks))
            return
        self.routing = Squeeze(spec.in_channels, strategy.banks, strategy.reduction, strategy.hidden_min)
        # Larger last weights than a Linear's default, so that gains differ between images from the first step.
        nn.init.normal_(self.routing.expand.weight, std=1.0 / self.routing.expand.in_features**0.5)

    def modulate(self, x: Tensor) -> Modulation:
        low, high = self.gain_range  # type: ignore[misc]
        scores = self.routing(x) if self.scores is None else self.scores.expand(len(x), -1)
        return Modulation(bank=low + (high - low) * (scores.float() / self.temperature).sigmoid())
