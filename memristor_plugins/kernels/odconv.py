"""Omni-dimensional dynamic convolution (ODConv)."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor

from memristor_plugins.interfaces.kernel import ConvSpec, Kernel, KernelStrategy, Modulation
from memristor_plugins.interfaces.parameter import Param
from memristor_plugins.kernels._routing import AnnealedKernel, NormalisedSqueeze, kaiming_banks

SOURCE = "Li et al., ICLR 2022"


class ODConv(KernelStrategy):
    """ODConv: attention over kernel positions, input channels, output channels and K kernels.

    kernel(x) = sum_k a_w,k a_f a_c a_s W_k with h = ReLU(BN(pool(x) R)), a_s = sigmoid(z_s(h) / T) over positions,
    a_c = sigmoid(z_c(h) / T) over input channels, a_f = sigmoid(z_f(h) / T) over output channels and
    a_w = softmax(z_w(h) / T) over kernels, T falling linearly from `temperature` to 1 over `anneal_epochs`. One
    position, one kernel, and the outputs of a depthwise convolution have no attention of their own.
    Source: Li, Zhou and Yao, "Omni-Dimensional Dynamic Convolution", ICLR 2022, eq. 2 and section 3.2.
    """

    def __init__(
        self,
        banks: Annotated[int, Param("kernels K a layer", source=f"{SOURCE}: 1 or 4", ge=1)] = 4,
        reduction: Annotated[float, Param("hidden over input channels of the routing", source=SOURCE, gt=0)] = 0.0625,
        hidden_min: Annotated[int, Param("fewest hidden units of the routing", source=SOURCE, ge=1)] = 16,
        temperature: Annotated[float, Param("temperature at the start", source=SOURCE, ge=1)] = 30.0,
        anneal_epochs: Annotated[int, Param("epochs until the temperature is 1", source=SOURCE, ge=0)] = 10,
        gate: Annotated[
            bool, Param("a third terminal applies kernel attention as far as it reaches", source="assumed")
        ] = False,
    ) -> None:
        self.banks, self.reduction, self.hidden_min = banks, reduction, hidden_min
        self.temperature, self.anneal_epochs, self.gate = temperature, anneal_epochs, gate

    def build(self, spec: ConvSpec) -> Kernel:
        return ODConvKernel(spec, self)


class ODConvKernel(AnnealedKernel):
    """K banks under attention along four dimensions."""

    def __init__(self, spec: ConvSpec, strategy: ODConv) -> None:
        super().__init__(spec, strategy.banks, start=strategy.temperature, end=1.0, epochs=strategy.anneal_epochs)
        kaiming_banks(self.weight.data)
        height, width = spec.kernel_size
        scores = {"input": spec.in_channels}
        if not spec.groups == spec.in_channels == spec.out_channels:
            scores["output"] = spec.out_channels
        if height * width > 1:
            scores["position"] = height * width
        if strategy.banks > 1:
            scores["bank"] = strategy.banks
        self.factors = frozenset(scores)
        self.routing = NormalisedSqueeze(spec.in_channels, scores, strategy.reduction, strategy.hidden_min)
        self.gate = strategy.gate

    def modulate(self, x: Tensor) -> Modulation:
        scores = {name: score / self.temperature for name, score in self.routing(x).items()}
        position = scores.get("position")
        return Modulation(
            bank=scores["bank"].softmax(dim=-1) if "bank" in scores else None,
            output=scores["output"].sigmoid() if "output" in scores else None,
            input=scores["input"].sigmoid(),
            position=None if position is None else position.sigmoid().view(-1, *self.spec.kernel_size),
        )
