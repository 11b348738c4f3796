"""The static convolution."""

from __future__ import annotations

from torch import Tensor

from memristor_plugins.interfaces.kernel import ConvSpec, Kernel, KernelStrategy, Modulation
from memristor_plugins.kernels._routing import kaiming_banks


class Static(KernelStrategy):
    """Static kernels: one bank, the same for every input. The baseline."""

    banks = 1

    def build(self, spec: ConvSpec) -> Kernel:
        return StaticKernel(spec)


class StaticKernel(Kernel):
    """One bank and no routing."""

    factors = frozenset()

    def __init__(self, spec: ConvSpec) -> None:
        super().__init__(spec, banks=1)
        kaiming_banks(self.weight.data)

    def modulate(self, x: Tensor) -> Modulation:
        return Modulation()
