"""Conditionally parameterised convolution (CondConv)."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor, nn

from memristor_plugins.interfaces.kernel import ConvSpec, Kernel, KernelStrategy, Modulation
from memristor_plugins.interfaces.parameter import Param
from memristor_plugins.kernels._routing import kaiming_banks

SOURCE = "Yang et al., NeurIPS 2019"


class CondConv(KernelStrategy):
    """CondConv: kernels mixed for each image by K independent sigmoids of its pooled channels.

    a(x) = sigmoid(pool(x) R + r), pool the mean over pixels, R [in, K]; r, which the paper's equation leaves out and
    its code has, starts at zero. Each expert is initialised as a convolution is.
    Source: Yang et al., "CondConv: Conditionally Parameterized Convolutions for Efficient Inference", NeurIPS 2019,
    eq. 2 and section 3, arXiv 1904.04971.
    """

    def __init__(
        self,
        banks: Annotated[int, Param("experts K a layer", source=SOURCE, ge=1)] = 8,
        gate: Annotated[
            bool, Param("a third terminal applies the coefficients as far as it reaches", source="assumed")
        ] = False,
    ) -> None:
        self.banks, self.gate = banks, gate

    def build(self, spec: ConvSpec) -> Kernel:
        return CondConvKernel(spec, self)


class CondConvKernel(Kernel):
    """K experts under sigmoid routing."""

    factors = frozenset({"bank"})

    def __init__(self, spec: ConvSpec, strategy: CondConv) -> None:
        super().__init__(spec, strategy.banks)
        kaiming_banks(self.weight.data)
        self.routing = nn.Linear(spec.in_channels, strategy.banks)
        nn.init.xavier_uniform_(self.routing.weight)
        nn.init.zeros_(self.routing.bias)
        self.gate = strategy.gate

    def modulate(self, x: Tensor) -> Modulation:
        return Modulation(bank=self.routing(x.mean(dim=(2, 3))).float().sigmoid())
