"""The RRAM of NeuRRAM."""

from __future__ import annotations

from collections.abc import Mapping
from math import log
from typing import Annotated, ClassVar

from torch import Tensor

from memristor_plugins.devices import statistics
from memristor_plugins.devices._statistical import StatisticalDevice
from memristor_plugins.errors import SimulationError
from memristor_plugins.interfaces.device import CellState
from memristor_plugins.interfaces.parameter import Param

WAN = "10.1038/s41586-022-04992-8"

# Seconds after programming: deviation from the target in uS, polynomial in x = G / 40 uS, ascending.
DEVIATION: Mapping[float, tuple[float, ...]] = {
    1.0: (0.348, 16.030, -43.853, 45.393, -16.815),
    statistics.DAY: (0.701, 22.086, -50.773, 47.095, -16.458),
    2 * statistics.DAY: (0.782, 20.274, -43.507, 37.062, -11.934),
}


class RRAMWan(StatisticalDevice):
    """HfOx RRAM of the NeuRRAM chip, statistics of its write-verified cells from 1 s to 2 days.

        G(t) = max(G_target + sigma(x, t) z, 0),  x = G_target / 40 uS,  one standard normal z a cell

    sigma is a polynomial of fourth order in x at 1 s, 1 day and 2 days, linear in ln t between; at 1 s and
    x = 0.5 it is 2.023 uS. seconds = 0 stands for the first measurement, 1 s after the last pulse. One z says
    that a cell keeps its rank: relaxation spreads the distribution, and cells do not change places.

    Valid for targets of 0 to 40 uS. Read noise is not published: 1 % of G, new at each read, is assumed.

    Source: Wan et al., Nature 608, 504 (2022), 10.1038/s41586-022-04992-8, Extended Data Fig. 3 (fit of aihwkit).

    Raises:
        ConfigError: `g_min` is not below `g_max`.
    """

    includes: ClassVar[Mapping[str, str]] = {
        **StatisticalDevice.includes,
        "retention": "drift",
        "relaxation": "drift",
    }

    def __init__(
        self,
        *,
        g_min: Annotated[float, Param("lowest target conductance", unit="S", source=WAN, ge=0)] = 1e-6,
        g_max: Annotated[float, Param("highest target conductance", unit="S", source=WAN, gt=0, le=40e-6)] = 40e-6,
        read_noise: Annotated[float, Param("std of a read over G", source="assumed", ge=0, le=1)] = 0.01,
        read_voltage: Annotated[
            float, Param("read voltage of the largest input", unit="V", source="assumed", gt=0)
        ] = 0.5,
        read_time: Annotated[float, Param("duration of one read", unit="s", source="assumed", gt=0)] = 100e-9,
    ) -> None:
        self._set_range(g_min, g_max, read_voltage, read_time)
        self.read_noise = read_noise

    def deviation(self, target: Tensor, seconds: float) -> Tensor:
        """sigma(x, t) in siemens, of the shape of `target` (siemens).

        Raises:
            SimulationError: neither 0 s nor 1 s to 2 days.
        """
        times = list(DEVIATION)
        statistics.check_seconds(type(self).__name__, seconds, first=times[0], last=times[-1])
        i, share = statistics.between(log(max(seconds, times[0])), [log(t) for t in times])
        early, late = DEVIATION[times[i]], DEVIATION[times[i + 1]]
        mixed = [((1 - share) * a + share * b) * 1e-6 for a, b in zip(early, late, strict=True)]
        return statistics.polynomial(target / 40e-6, mixed).clamp_min(0.0)

    def programming_std(self, target: Tensor) -> Tensor:
        """sigma(x, 1 s), siemens."""
        return self.deviation(target, 0.0)

    def conductance(self, state: CellState, seconds: float) -> Tensor:
        """G(t) of each cell, siemens; a held cell starts on its target and moves by sigma(t) - sigma(1 s).

        Raises:
            SimulationError: neither 0 s nor 1 s to 2 days.
        """
        now = self.deviation(state.target, seconds)
        if seconds == 0:
            return state.g
        if state.ageing is None:
            raise SimulationError("RRAMWan ages by the normals drawn at a write, and these cells have none")
        z = state.ageing
        return statistics.carried(state.g, state.target, self.programming_std(state.target) * z, now * z)

    def read_std(self, g: Tensor, state: CellState, seconds: float) -> Tensor:
        """read_noise G in siemens, the same at all times (assumed)."""
        return self.read_noise * g
