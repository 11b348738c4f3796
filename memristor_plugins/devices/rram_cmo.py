"""Analog filamentary conductive-metal-oxide RRAM."""

from __future__ import annotations

from collections.abc import Mapping
from math import log
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from memristor_plugins.devices import statistics
from memristor_plugins.devices._statistical import StatisticalDevice
from memristor_plugins.errors import ConfigError
from memristor_plugins.interfaces.device import CellState
from memristor_plugins.interfaces.parameter import Param

FALCONE = "arXiv:2502.04524"
LOMBARDO = "10.1109/DRC61706.2024.10643760"

# Acceptance range of write-verify: deviation in S = a + b G.
PROGRAMMING = {0.002: (0.00081107e-6, 0.00106879), 0.02: (0.0112185391e-6, 0.01129027418)}
TEN_YEARS = 10 * 365.25 * statistics.DAY


class RRAMCMO(StatisticalDevice):
    """CMO/HfOx RRAM (conductive metal oxide), write-verified to 0.2 % or 2 % of the target.

    With z, z' standard normals of a cell and conductances in uS:

        G(0) = G_target + (a + b G_target) z,  a, b = 0.000811, 0.001069 (0.2 %) or 0.011219, 0.011290 (2 %)
        G(t) = G(0) - 0.0890 ln t + (0.0420 ln t + 0.4118) z',  t in seconds, 1 s to 10 years
        sigma_read = 0.02773 log10(G) sqrt(ln((t + t_r) / (2 t_r))),  t_r = 1 us, 8 to 90 uS

    All clipped at zero. seconds = 0 is what verification saw, before cells relax by 0.41 uS within the first
    second: nothing is published in between. Relaxation was measured at 50 uS and does not depend on the target.
    Below 8 uS the read noise is taken to be proportional to G (assumed). Read noise at t = 0 is that of 1 s.

    Source: Falcone et al., arXiv:2502.04524 (2025); read noise: Lombardo et al., DRC 2024,
    10.1109/DRC61706.2024.10643760. Coefficients as fitted in aihwkit.

    Raises:
        ConfigError: an `acceptance` that was not measured, or `g_min` not below `g_max`.
    """

    includes: ClassVar[Mapping[str, str]] = {
        **StatisticalDevice.includes,
        "retention": "drift",
        "relaxation": "drift",
        "flicker": "read_noise",
        "rtn": "read_noise",
    }
    drifts_apart = True

    def __init__(
        self,
        *,
        acceptance: Annotated[
            float, Param("acceptance range of write-verify over the target: 0.002 or 0.02", source=FALCONE, gt=0)
        ] = 0.02,
        g_min: Annotated[float, Param("lowest target conductance", unit="S", source=FALCONE, ge=0)] = 9e-6,
        g_max: Annotated[float, Param("highest target conductance", unit="S", source=FALCONE, gt=0, le=90e-6)] = 88e-6,
        read_voltage: Annotated[
            float, Param("read voltage of the largest input", unit="V", source="assumed", gt=0)
        ] = 0.2,
        t_read: Annotated[float, Param("duration of one read, t_r", unit="s", source=LOMBARDO, gt=0, lt=0.1)] = 1e-6,
    ) -> None:
        if acceptance not in PROGRAMMING:
            nearest = min(PROGRAMMING, key=lambda a: abs(log(a / acceptance)))
            raise ConfigError(
                "device.acceptance", f"must be 0.002 or 0.02, got {acceptance:g}; the nearest is {nearest:g}"
            )
        self._set_range(g_min, g_max, read_voltage, t_read)
        self.acceptance, self.t_read = acceptance, t_read

    def programming_std(self, target: Tensor) -> Tensor:
        return statistics.polynomial(target, PROGRAMMING[self.acceptance])

    def conductance(self, state: CellState, seconds: float) -> Tensor:
        """G(0), and from 1 s on max(G(0) - 0.0890 ln t + (0.0420 ln t + 0.4118) z', 0) uS, in siemens.

        Raises:
            SimulationError: neither 0 s nor 1 s to 10 years.
        """
        statistics.check_seconds(type(self).__name__, seconds, first=1.0, last=TEN_YEARS)
        if seconds == 0:
            return state.g
        mean, std = -0.08900206e-6 * log(seconds), 0.04201137e-6 * log(seconds) + 0.41183342e-6
        moved = state.g + mean
        if state.ageing is not None:
            moved = moved + std * state.ageing
        return moved.clamp_min(0.0)

    def read_std(self, g: Tensor, state: CellState, seconds: float) -> Tensor:
        """0.02773 log10(G / uS) sqrt(ln((t + t_r) / (2 t_r))) uS, in siemens; drawn anew at each multiply."""
        growth = statistics.accumulated_flicker(max(seconds, 1.0), t_read=self.t_read)
        low = 8e-6
        within = torch.log10(g.clamp_min(low) * 1e6) * (0.0277316483e-6 * growth)
        return within * (g / low).clamp(0.0, 1.0)
