"""Phase-change memory of the 1-million-device chip."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor

from memristor_plugins.devices import statistics
from memristor_plugins.devices._pcm import PhaseChange
from memristor_plugins.interfaces.parameter import Param

JOSHI = "10.1038/s41467-020-16108-9"
NANDAKUMAR = "10.1109/ICECS46596.2019.8964852"


class PCMJoshi(PhaseChange):
    """Doped Ge2Sb2Te5 phase-change memory, statistics of 10^4 mushroom cells of a 90 nm chip.

    With x = G / 25 uS (conductances in uS):

        sigma_prog = 0.26348 + 1.9650 x - 1.1731 x^2
        G(t) = G(0) ((t + t0) / t0)^-nu,  nu ~ N(clip(-0.0155 ln x + 0.0244, 0.049, 0.1),
                                                 clip(-0.0125 ln x - 0.0059, 0.008, 0.045)), once a cell, >= 0
        sigma_read = G(t) min(0.0088 / x^0.65, 0.2) sqrt(ln((t + t0 + t_r) / (2 t_r)))

    x of nu is the target's, x of the read noise what was written. Valid for targets of 0 to 25 uS.

    Source: Joshi et al., Nat. Commun. 11, 2473 (2020), 10.1038/s41467-020-16108-9; noise and drift laws of
    Nandakumar et al., ICECS 2019, 10.1109/ICECS46596.2019.8964852.

    Raises:
        ConfigError: `g_min` is not below `g_max`.
    """

    def __init__(
        self,
        *,
        g_min: Annotated[float, Param("lowest target conductance", unit="S", source=JOSHI, ge=0)] = 0.0,
        g_max: Annotated[float, Param("highest target conductance", unit="S", source=JOSHI, gt=0, le=25e-6)] = 25e-6,
        read_voltage: Annotated[
            float, Param("read voltage of the largest input", unit="V", source="assumed", gt=0)
        ] = 0.2,
        t_read: Annotated[float, Param("duration of one read, t_r", unit="s", source=NANDAKUMAR, gt=0)] = 250e-9,
        t0: Annotated[float, Param("first read after the last pulse", unit="s", source=NANDAKUMAR, gt=0)] = 20.0,
    ) -> None:
        self._set_range(g_min, g_max, read_voltage, t_read)
        self.g_reference, self.t_read, self.t0 = 25e-6, t_read, t0

    def programming_std(self, target: Tensor) -> Tensor:
        return statistics.polynomial(target / self.g_reference, (0.26348e-6, 1.9650e-6, -1.1731e-6)).clamp_min(0.0)

    def drift_exponent(self, x: Tensor) -> tuple[Tensor, Tensor]:
        log = x.log()
        return (-0.0155 * log + 0.0244).clamp(0.049, 0.1), (-0.0125 * log - 0.0059).clamp(0.008, 0.045)

    def relative_noise(self, x: Tensor) -> Tensor:
        return (0.0088 * x**-0.65).clamp_max(0.2)
