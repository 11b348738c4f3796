"""Dynamic convolution (DyConv)."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor

from memristor_plugins.interfaces.kernel import ConvSpec, Kernel, KernelStrategy, Modulation
from memristor_plugins.interfaces.parameter import Param
from memristor_plugins.kernels._routing import AnnealedKernel, Squeeze, kaiming_banks

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
        gate: Annotated[
            bool, Param("a third terminal applies the coefficients as far as it reaches", source="assumed")
        ] = False,
    ) -> None:
        self.banks, self.reduction, self.hidden_min = banks, reduction, hidden_min
        self.temperature, self.anneal_epochs, self.gate = temperature, anneal_epochs, gate

    def build(self, spec: ConvSpec) -> Kernel:
        return DynamicKernel(spec, self)


class DynamicKernel(AnnealedKernel):
    """K banks under softmax attention."""

    factors = frozenset({"bank"})

    def __init__(self, spec: ConvSpec, strategy: Dynamic) -> None:
        super().__init__(spec, strategy.banks, start=strategy.temperature, end=1.0, epochs=strategy.anneal_epochs)
        kaiming_banks(self.weight.data)
        self.routing = Squeeze(spec.in_channels, strategy.banks, strategy.reduction, strategy.hidden_min)
        self.gate = strategy.gate

    def modulate(self, x: Tensor) -> Modulation:
        return Modulation(bank=(self.routing(x).float() / self.temperature).softmax(dim=-1))
