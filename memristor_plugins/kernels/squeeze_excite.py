"""Squeeze-and-excitation (SENet)."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor

from memristor_plugins.interfaces.kernel import ConvSpec, Kernel, KernelStrategy, Modulation
from memristor_plugins.interfaces.parameter import Param
from memristor_plugins.kernels._routing import Squeeze, kaiming_banks

SOURCE = "Hu et al., CVPR 2018"


class SqueezeExcite(KernelStrategy):
    """SENet: the channels that enter a layer are scaled for each image; one bank.

    s(x) = sigmoid(W_2 ReLU(W_1 pool(x))), y = W * (s x): the block of the paper on the features that a convolution
    reads, which are those that the layer before it wrote.
    Source: Hu, Shen and Sun, "Squeeze-and-Excitation Networks", CVPR 2018, eq. 2 to 4, 10.1109/CVPR.2018.00745.
    """

    banks = 1

    def __init__(
        self,
        reduction: Annotated[float, Param("hidden over input channels of the routing", source=SOURCE, gt=0)] = 0.0625,
        hidden_min: Annotated[int, Param("fewest hidden units of the routing", source="assumed", ge=1)] = 8,
    ) -> None:
        self.reduction, self.hidden_min = reduction, hidden_min

    def build(self, spec: ConvSpec) -> Kernel:
        return SqueezeExciteKernel(spec, self)


class SqueezeExciteKernel(Kernel):
    """One bank under input-channel factors."""

    factors = frozenset({"input"})

    def __init__(self, spec: ConvSpec, strategy: SqueezeExcite) -> None:
        super().__init__(spec, banks=1)
        kaiming_banks(self.weight.data)
        self.routing = Squeeze(spec.in_channels, spec.in_channels, strategy.reduction, strategy.hidden_min)

    def modulate(self, x: Tensor) -> Modulation:
        return Modulation(input=self.routing(x).float().sigmoid())
