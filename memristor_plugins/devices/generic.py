"""Errors of any size and shape, for sensitivity studies."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from torch import Generator, Tensor

from memristor_plugins.devices import statistics
from memristor_plugins.devices._statistical import StatisticalDevice
from memristor_plugins.errors import ConfigError
from memristor_plugins.interfaces.device import Cells, CellState, standard_normal
from memristor_plugins.interfaces.parameter import Param


class Generic(StatisticalDevice):
    """Generic cell: programming error normal, uniform or lognormal, independent of G or (inversely) proportional.

    sigma is the standard deviation of what a write leaves, about a mean that is the target:

        independent    sigma = std g_max
        proportional   sigma = std G
        inverse        sigma = std g_max g_min / G,  which is std g_max at g_min

        normal         G = G_target + sigma z
        uniform        G = G_target + sigma u,  u uniform in [-sqrt(3), sqrt(3)]
        lognormal      G = G_target exp(s z - s^2 / 2),  s^2 = ln(1 + (sigma / G_target)^2)

    clipped at zero. Ageing by the power law G(t) = G(0) (1 + t / t0)^-nu with nu ~ N(drift, drift_std^2) once a
    cell; reads with Gaussian noise of the same three scalings. Every number is assumed: it is what a study varies.

    Raises:
        ConfigError: `inverse` with g_min = 0, or `g_min` not below `g_max`.
    """

    includes = {}  # noqa: RUF012  nothing is measured, so nothing is contained
    drifts_apart = True

    def __init__(
        self,
        *,
        distribution: Annotated[
            Literal["normal", "uniform", "lognormal"], Param("shape of the programming error", source="assumed")
        ] = "normal",
        scaling: Annotated[
            Literal["independent", "proportional", "inverse"],
            Param("how the programming error grows with the target", source="assumed"),
        ] = "independent",
        std: Annotated[float, Param("size of the programming error", source="assumed", ge=0, le=1)] = 0.05,
        read_scaling: Annotated[
            Literal["independent", "proportional", "inverse"],
            Param("how the read noise grows with the conductance", source="assumed"),
        ] = "proportional",
        read_std: Annotated[float, Param("size of the read noise", source="assumed", ge=0, le=1)] = 0.01,
        drift: Annotated[float, Param("mean drift exponent", source="assumed")] = 0.0,
        drift_std: Annotated[float, Param("deviation of drift exponents between cells", source="assumed", ge=0)] = 0.0,
        t0: Annotated[float, Param("time scale of the drift", unit="s", source="assumed", gt=0)] = 1.0,
        g_min: Annotated[float, Param("lowest target conductance", unit="S", source="assumed", ge=0)] = 0.2e-6,
        g_max: Annotated[float, Param("highest target conductance", unit="S", source="assumed", gt=0)] = 20e-6,
        read_voltage: Annotated[
            float, Param("read voltage of the largest input", unit="V", source="assumed", gt=0)
        ] = 0.1,
        read_time: Annotated[float, Param("duration of one read", unit="s", source="assumed", gt=0)] = 10e-9,
    ) -> None:
        self._set_range(g_min, g_max, read_voltage, read_time)
        for option, value in (("scaling", scaling), ("read_scaling", read_scaling)):
            if value == "inverse" and g_min == 0:
                raise ConfigError(f"device.{option}", "inverse needs g_min > 0, where the error is largest")
        self.distribution, self.scaling, self.std = distribution, scaling, std
        self.read_scaling, self.read_size = read_scaling, read_std
        self.drift, self.drift_std, self.t0 = drift, drift_std, t0

    def _scaled(self, g: Tensor, size: float, scaling: str) -> Tensor:
        if scaling == "independent":
            return torch.full_like(g, size * self.g_max)
        if scaling == "proportional":
            return size * g
        return size * self.g_max * self.g_min / g.clamp_min(self.g_min)

    def programming_std(self, target: Tensor) -> Tensor:
        return self._scaled(target, self.std, self.scaling)

    def program(
        self, target: Tensor, *, generator: Generator, cells: Cells | None = None, temperature: float = 300.0
    ) -> CellState:
        """Write `target` (siemens, any shape) with the chosen error; then draw normals for the drift."""
        sigma = self.programming_std(target)
        if self.distribution == "uniform":
            u = torch.rand(target.shape, generator=generator, device=generator.device, dtype=target.dtype)
            g = target + sigma * (u.to(target.device) * 2 - 1) * math.sqrt(3)
        else:
            z = standard_normal(target, generator)
            g = target + sigma * z if self.distribution == "normal" else _lognormal(target, sigma, z)
        return CellState(
            g.clamp_min(0.0), target, Cells() if cells is None else cells, standard_normal(target, generator)
        )

    def conductance(self, state: CellState, seconds: float) -> Tensor:
        """G(0) (1 + t / t0)^-nu in siemens.

        Raises:
            SimulationError: `seconds` is negative.
        """
        statistics.check_seconds(type(self).__name__, seconds)
        if seconds == 0 or (self.drift == 0 and self.drift_std == 0):
            return state.g
        nu = torch.full_like(state.g, self.drift)
        if state.ageing is not None:
            nu = nu + self.drift_std * state.ageing
        return statistics.power_law(state.g, seconds, nu=nu, t0=self.t0)

    def read_std(self, g: Tensor, state: CellState, seconds: float) -> Tensor:
        """Standard deviation of one read in siemens, new at each read; the same at all times."""
        return self._scaled(g, self.read_size, self.read_scaling)


def _lognormal(mean: Tensor, std: Tensor, z: Tensor) -> Tensor:
    """Lognormal of given mean and standard deviation; zero where the mean is."""
    safe = torch.where(mean > 0, mean, torch.ones_like(mean))
    variance = torch.log1p((std / safe).square())
    return torch.where(mean > 0, safe * torch.exp(variance.sqrt() * z - variance / 2), torch.zeros_like(mean))
