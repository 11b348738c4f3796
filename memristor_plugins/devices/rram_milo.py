"""Multilevel RRAM programmed by IGVVA-100."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor

from memristor_plugins.devices import statistics
from memristor_plugins.devices._statistical import StatisticalDevice
from memristor_plugins.interfaces.device import CellState
from memristor_plugins.interfaces.parameter import Param

MILO = "10.1109/IRPS46558.2021.9405119"


class RRAMMilo(StatisticalDevice):
    """HfO2 1T1R RRAM of 50 to 225 uS, written by incremental gate voltage with verification (IGVVA-100).

        sigma = 4.782321 - 0.009107 G,  conductances in uS
        I = G V + n2(G) V^2 + n3(G) V^3,  |V| <= 0.5 V

    n2 and n3 are polynomials in log10 G, fitted to I-V curves of 62.5 to 110 uS and zero at 225 uS; outside 50
    to 225 uS they keep their value at the end, in proportion to G below. Retention is not published; read
    noise, 1 % of G, is assumed.

    Source: Milo et al., IRPS 2021, 10.1109/IRPS46558.2021.9405119, Figs. 1 and 4 (fits of CrossSim 3.2).

    Raises:
        ConfigError: `g_min` is not below `g_max`.
    """

    def __init__(
        self,
        *,
        g_min: Annotated[float, Param("lowest target conductance", unit="S", source=MILO, ge=50e-6)] = 50e-6,
        g_max: Annotated[float, Param("highest target conductance", unit="S", source=MILO, le=225e-6)] = 225e-6,
        read_noise: Annotated[float, Param("std of a read over G", source="assumed", ge=0, le=1)] = 0.01,
        read_voltage: Annotated[
            float, Param("read voltage of the largest input", unit="V", source=f"{MILO}, at most", gt=0, le=0.5)
        ] = 0.2,
        read_time: Annotated[float, Param("duration of one read", unit="s", source="assumed", gt=0)] = 100e-9,
    ) -> None:
        self._set_range(g_min, g_max, read_voltage, read_time)
        self.read_noise = read_noise

    def programming_std(self, target: Tensor) -> Tensor:
        return statistics.polynomial(target, (4.782321e-6, -0.009107)).clamp_min(0.0)

    def read_std(self, g: Tensor, state: CellState, seconds: float) -> Tensor:
        """read_noise G in siemens (assumed)."""
        return self.read_noise * g

    def current(self, g: Tensor, v: Tensor, *, v_gate: Tensor | None = None, temperature: float = 300.0) -> Tensor:
        """I = G V + n2 V^2 + n3 V^3 in amperes; `g` (siemens, low-field) and `v` (volts) broadcast."""
        decades = g.clamp(50e-6, 225e-6).log10()
        share = (g / 50e-6).clamp(0.0, 1.0)
        square = statistics.polynomial(decades, (0.007063, 0.005711, 0.001541, 0.0001388)) * share
        cube = statistics.polynomial(decades, (1.2968e-03, 6.7919e-04, 8.8710e-05)) * share
        return v * (g + v * (square + v * cube))
