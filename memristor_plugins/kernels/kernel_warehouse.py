"""Kernels mixed from cells that layers share (KernelWarehouse)."""

from __future__ import annotations

import copy
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from memristor_plugins.errors import ConfigError
from memristor_plugins.interfaces.kernel import ConvSpec, Kernel, KernelStrategy, Modulation
from memristor_plugins.interfaces.parameter import Param
from memristor_plugins.kernels._routing import AnnealedKernel, NormalisedSqueeze

SOURCE = "Li and Yao, ICML 2024"


class KernelWarehouse(KernelStrategy):
    """KernelWarehouse: every kernel position is mixed from cells that layers share.

    A kernel [out, in, kh, kw] is cut into m cells of [out, in / chunks, 1, 1], one for each position and chunk of input
    channels, each a linear mixture w_i = sum_j a_ij(x) e_j of the n cells e_j of a warehouse, with
    a_ij = tau b_ij + (1 - tau) z_ij / (sum_p |z_ip| + 1e-3), z = head(ReLU(BN(pool(x) R))), b_ij one where cell j is
    mixture i's own and else zero, and tau falling linearly from 1 to 0 over `anneal_epochs`: training starts from the
    static convolution and its own cells. Each layer brings `budget` m cells; layers of the same outputs and kernel size
    share theirs, cut to the input channels of the first, whose multiples the others' must be. On arrays each layer
    holds copies of all n cells, whose word lines carry the image's mixtures of inputs.
    Source: Li and Yao, "KernelWarehouse: Rethinking the Design of Dynamic Convolution", ICML 2024, eq. 2 to 4; 1e-3 is
    the authors' code's. Fractional budgets (b < 1) are left out.
    """

    def __init__(
        self,
        budget: Annotated[int, Param("cells of the warehouse over cells of its kernels", source=SOURCE, ge=1)] = 1,
        share: Annotated[Literal["stage", "layer"], Param("which kernels share cells", source=SOURCE)] = "stage",
        reduction: Annotated[float, Param("hidden over input channels of the routing", source=SOURCE, gt=0)] = 0.0625,
        hidden_min: Annotated[int, Param("fewest hidden units of the routing", source=SOURCE, ge=1)] = 16,
        anneal_epochs: Annotated[
            int, Param("epochs until mixtures are free", source="assumed; 20 in the authors' code", ge=0)
        ] = 10,
    ) -> None:
        self.banks = budget  # a layer alone: `budget` cells for each of its own
        self.budget, self.share, self.anneal_epochs = budget, share, anneal_epochs
        self.reduction, self.hidden_min = reduction, hidden_min
        self.shared: dict[tuple[int, tuple[int, int]], list[WarehouseKernel]] | None = None

    def for_network(self) -> KernelStrategy:
        own = copy.copy(self)
        own.shared = {}
        return own

    def build(self, spec: ConvSpec) -> Kernel:
        if spec.groups > 1:
            raise ConfigError(
                "kernel",
                f"kernel_warehouse mixes kernels of ungrouped convolutions, and this one has {spec.groups} groups; "
                "condconv, dynamic and odconv take any",
            )
        stage = (spec.out_channels, spec.kernel_size)
        members = self.shared.setdefault(stage, []) if self.shared is not None and self.share == "stage" else []
        if members and spec.in_channels % members[0].spec.in_channels:
            members = []
        kernel = WarehouseKernel(spec, self, members[0].spec.in_channels if members else spec.in_channels)
        members.append(kernel)
        _pool(members)
        return kernel


class WarehouseKernel(AnnealedKernel):
    """Cells [n, out, in / chunks, 1, 1] under mixtures of each kernel position and chunk.

    Attributes:
        own, first: number of the layer's own cells, and the index of the first of them.
    """

    factors = frozenset({"drive"})
    own_cells: Tensor

    def __init__(self, spec: ConvSpec, strategy: KernelWarehouse, cell_channels: int) -> None:
        positions = spec.kernel_size[0] * spec.kernel_size[1]
        self.chunks = spec.in_channels // cell_channels
        self.mixtures = self.chunks * positions
        cells = strategy.budget * self.mixtures
        super().__init__(spec, cells, start=1.0, end=0.0, epochs=strategy.anneal_epochs)
        self.budget, self.own, self.first = strategy.budget, cells, 0
        self.sizes = (strategy.reduction, strategy.hidden_min)
        # As the convolution that the cells make up: variance 2 / (out kh kw).
        std = (2.0 / (spec.out_channels * positions)) ** 0.5
        self.weight = nn.Parameter(torch.randn(cells, spec.out_channels, cell_channels, 1, 1) * std)

    def join(self, weight: nn.Parameter, first: int) -> None:
        """Mix from all cells of a warehouse; the layer's own start at `first`."""
        self.weight, self.banks, self.first = weight, len(weight), first
        self.routing = NormalisedSqueeze(self.spec.in_channels, {"cell": self.mixtures * self.banks}, *self.sizes)
        start = torch.zeros(self.mixtures, self.banks)
        for mixture in range(self.mixtures):
            start[mixture, first + mixture * self.budget] = 1.0
        self.register_buffer("own_cells", start, persistent=False)

    def modulate(self, x: Tensor) -> Modulation:
        scores = self.routing(x)["cell"].unflatten(1, (self.mixtures, self.banks))
        free = scores / (scores.abs().sum(dim=-1, keepdim=True) + 1e-3)
        mixed = self.temperature * self.own_cells + (1.0 - self.temperature) * free
        return Modulation(drive=mixed.transpose(1, 2).unflatten(2, (self.chunks, *self.spec.kernel_size)))


def _pool(members: list[WarehouseKernel]) -> None:
    """Give all kernels of a warehouse the cells of all."""
    newest = members[-1].weight
    known = [] if len(members) == 1 else [members[0].weight]
    weight = nn.Parameter(torch.cat([w.detach() for w in (*known, newest)]))
    first = 0
    for kernel in members:
        kernel.join(weight, first)
        first += kernel.own
