"""Coupling of neighbouring gate lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from memristor_plugins.interfaces.nonideality import Context, NonIdeality, Site
from memristor_plugins.interfaces.parameter import Param


class GateCrosstalk(NonIdeality):
    """Gate crosstalk: a share of each gate line's voltage comes from the lines of the neighbouring banks.

    V'_k = V_k + fraction (V_(k-1) - V_k) + fraction (V_(k+1) - V_k), with the neighbours that there are: equal voltages
    stay equal, and the mean over banks stays. One bank has no neighbours, and nothing changes.
    """

    site = Site.GATE_COUPLING
    neutral: ClassVar[Mapping[str, Any]] = {"fraction": 0.0}

    def __init__(
        self,
        fraction: Annotated[float, Param("share of each neighbour", source="assumed", ge=0, le=0.5)] = 0.01,
    ) -> None:
        self.fraction = fraction

    def apply(self, x: Tensor, state: Any, context: Context) -> Tensor:
        if self.fraction == 0 or x.shape[-1] == 1:
            return x
        flow = self.fraction * x.diff(dim=-1)
        return x + torch.nn.functional.pad(flow, (0, 1)) - torch.nn.functional.pad(flow, (1, 0))
