"""Random telegraph noise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import torch
from torch import Generator, Size, Tensor

from memristor_plugins.interfaces.nonideality import Context, NonIdeality, Site
from memristor_plugins.interfaces.normals import normals
from memristor_plugins.interfaces.parameter import Param


class RTN(NonIdeality):
    """Random telegraph noise: traps that capture and release an electron switch a cell between two conductances.

        g' = g (1 - a (s - occupancy)),   clipped at zero

    A share `p_trap` of the cells has a trap, with a = amplitude exp(sigma z) of its own for the life of the chip; s is
    1 while the trap is occupied, with probability `occupancy`, and stays for an evaluation. The conductance that was
    verified is the average over time, so the mean is g and the variance a^2 occupancy (1 - occupancy) g^2.
    Zero amplitude, or no traps, changes nothing. Two-level fluctuations of filamentary cells: Puglisi et al. 2015,
    10.1109/TED.2015.2439812 (that they exist; all numbers here are assumed).
    """

    site = Site.FLUCTUATION
    neutral: ClassVar[Mapping[str, Any]] = {"amplitude": 0.0}

    def __init__(
        self,
        p_trap: Annotated[float, Param("share of cells with a trap", source="assumed", ge=0, le=1)] = 0.1,
        amplitude: Annotated[
            float, Param("median of the step over the conductance", source="assumed", ge=0, le=1)
        ] = 0.05,
        sigma: Annotated[float, Param("lognormal sigma of the step", source="assumed", ge=0, le=5)] = 0.5,
        occupancy: Annotated[float, Param("share of time that a trap is occupied", source="assumed", ge=0, le=1)] = 0.5,
    ) -> None:
        self.p_trap, self.amplitude, self.sigma, self.occupancy = p_trap, amplitude, sigma, occupancy

    def sample(self, shape: Size | tuple[int, ...], *, generator: Generator) -> Tensor | None:
        """Relative step of each cell's trap, 0 where there is none."""
        if self.amplitude == 0 or self.p_trap == 0:
            return None
        trapped = torch.rand(tuple(shape), generator=generator) < self.p_trap
        return normals(tuple(shape), generator).mul_(self.sigma).exp_().mul_(self.amplitude).mul_(trapped)

    def moments(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        """Mean g and deviation g sqrt(p_trap E[a^2] occupancy (1 - occupancy)), siemens, over traps and their states.

        E[a^2] = amplitude^2 exp(2 sigma^2); the clip at zero is left out, which needs steps well below one.
        """
        square = self.amplitude**2 * math.exp(2 * self.sigma**2)
        return x, math.sqrt(self.p_trap * square * self.occupancy * (1 - self.occupancy)) * x

    def apply(self, x: Tensor, state: Tensor | None, context: Context) -> Tensor:
        if state is None:
            return x
        assert context.generator is not None, "a fluctuation is drawn for each evaluation"
        where = context.generator.device
        drawn = torch.rand(x.shape, generator=context.generator, device=where) < self.occupancy
        change = drawn.to(x).sub_(self.occupancy).mul_(state.to(x))
        return change.neg_().add_(1).clamp_min_(0).mul_(x)
