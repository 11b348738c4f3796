"""Short-term relaxation after a verified write."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import torch
from torch import Generator, Size, Tensor

from memristor_plugins.interfaces.device import CellState
from memristor_plugins.interfaces.nonideality import Context, NonIdeality, Site
from memristor_plugins.interfaces.normals import normals
from memristor_plugins.interfaces.parameter import Param

FALCONE = "arXiv:2502.04524: 0.0420 uS at 50 uS, over its 88 uS"
ONSET = "arXiv:2502.04524: the spread is 0.4118 uS at 1 s"


class Relaxation(NonIdeality):
    """Relaxation after a write: verified cells move apart again, fast at first and then with the logarithm of time.

        G(t) = max(G(0) + sigma g_max ln(1 + t / t0) z, 0)

    One standard normal z a cell, drawn once a chip: a cell keeps its rank while the distribution spreads, so that all
    times lie on one trajectory. The mean stays, but for the clip at zero. The deviation does not depend on the
    conductance.

    Defaults: CMO/HfOx cells (Falcone et al., arXiv:2502.04524), whose spread at 50 uS is 0.0420 ln(t / 1 s) + 0.4118 uS
    from 1 s to 10 years, which the law meets within 2e-5 of it; before 1 s it is interpolated (assumed). HfOx cells of
    NeuRRAM relax more (Wan et al., 10.1038/s41586-022-04992-8): `device=rram_wan` has them. Devices whose `drift`
    contains relaxation refuse both together. sigma=0: nothing moves.
    """

    site = Site.AGE
    neutral: ClassVar[Mapping[str, Any]] = {"sigma": 0.0}

    def __init__(
        self,
        sigma: Annotated[
            float, Param("growth of the deviation with ln t, over g_max", source=FALCONE, ge=0, le=1)
        ] = 4.774e-4,
        t0: Annotated[float, Param("time at which relaxation sets in", unit="s", source=ONSET, gt=0)] = 5.53e-5,
    ) -> None:
        self.sigma, self.t0 = sigma, t0

    def std(self, seconds: float, g_max: float) -> float:
        """Deviation in siemens that cells have gathered `seconds` after their write."""
        return self.sigma * g_max * math.log1p(seconds / self.t0)

    def sample(self, shape: Size | tuple[int, ...], *, generator: Generator) -> Tensor | None:
        """One standard normal a cell; None where nothing moves."""
        return normals(tuple(shape), generator) if self.sigma else None

    def moments(self, x: CellState, context: Context) -> tuple[Tensor, Tensor]:
        """Mean G(0) and deviation `std`, siemens; the clip at zero left out, which needs G(0) well above it."""
        return x.g, torch.full_like(x.g, self.std(context.seconds, context.device.g_max))

    def apply(self, x: CellState, state: Tensor | None, context: Context) -> Tensor:
        if state is None or context.seconds == 0:
            return x.g
        return (x.g + self.std(context.seconds, context.device.g_max) * state.to(x.g)).clamp_min(0)
