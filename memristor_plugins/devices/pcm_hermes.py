"""Phase-change memory of the HERMES chips."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor

from memristor_plugins.devices import statistics
from memristor_plugins.devices._pcm import PhaseChange
from memristor_plugins.errors import ConfigError
from memristor_plugins.interfaces.parameter import Param

HERMES = "10.1038/s41928-023-01010-1 (fit of aihwkit)"

# Conductances in uS, of one device and of two in parallel. Programming error: polynomial in x.
PROGRAMMING = {
    1: (0.15781817, 2.32443916, -2.16310839, 0.68841818),
    2: (0.16603222, 4.71806468, -8.48101252, 4.68961419),
}
HIGHEST = {1: 10.35, 2: 20.7}
FIRST_READ = {1: 200.0, 2: 300.0}


class PCMHermes(PhaseChange):
    """Phase-change memory of the IBM HERMES chips, one device or two in parallel in a cell.

    With x = G / 10.35 uS for one device, G / 20.7 uS for two (conductances in uS), and z standard normal:

        sigma_prog = 0.15782 + 2.32444 x - 2.16311 x^2 + 0.68842 x^3     one device
                     0.16603 + 4.71806 x - 8.48101 x^2 + 4.68961 x^3     two devices
        G(t) = G(0) ((t + t0) / t0)^-nu,  nu = max(mu(x) + sigma(x) z, 0), once a cell; t0 = 200 s, 300 s
        sigma_read = G(t) q(x) sqrt(ln((t + t0 + t_r) / (2 t_r))),  t_r = 512 ns

    mu, sigma and q are fitted piecewise: clipped -a ln x + b below x about 0.1-0.3, polynomials above
    (`drift_exponent`, `relative_noise`). Two devices drift as if both held half the conductance.

    Source: Le Gallo et al., Nat. Electron. 6, 680 (2023), 10.1038/s41928-023-01010-1, and Khaddam-Aljameh et
    al., IEEE JSSC (2022), ieeexplore 9696185; two devices: Vasilopoulos et al., IEEE TED
    (2023), ieeexplore 10281389. Coefficients as fitted in aihwkit.

    Raises:
        ConfigError: `g_max` above the characterised range, or `g_min` not below `g_max`.
    """

    def __init__(
        self,
        *,
        devices_per_cell: Annotated[
            Literal[1, 2], Param("phase-change devices of one cell, in parallel", source=HERMES)
        ] = 2,
        g_min: Annotated[float, Param("lowest target conductance", unit="S", source=HERMES, ge=0)] = 0.0,
        g_max: Annotated[
            float | None,
            Param("highest target conductance; null: 10.35 uS a device", unit="S", source=HERMES, gt=0),
        ] = None,
        read_voltage: Annotated[
            float, Param("read voltage of the largest input", unit="V", source="assumed", gt=0)
        ] = 0.2,
        t_read: Annotated[float, Param("duration of one read, t_r", unit="s", source=HERMES, gt=0)] = 512e-9,
        t0: Annotated[
            float | None,
            Param(
                "first read after the last pulse; null: 200 s, with two devices 300 s", unit="s", source=HERMES, gt=0
            ),
        ] = None,
    ) -> None:
        self.devices_per_cell = devices_per_cell
        self.g_reference = HIGHEST[devices_per_cell] * 1e-6
        highest = self.g_reference if g_max is None else g_max
        if highest > self.g_reference * 1.0001:
            raise ConfigError(
                "device.g_max",
                f"must be at most {self.g_reference:.4g} S with devices_per_cell={devices_per_cell}, got {highest:g} S",
            )
        self._set_range(g_min, highest, read_voltage, t_read)
        self.t_read = t_read
        self.t0 = FIRST_READ[devices_per_cell] if t0 is None else t0

    def programming_std(self, target: Tensor) -> Tensor:
        coefficients = [c * 1e-6 for c in PROGRAMMING[self.devices_per_cell]]
        return statistics.polynomial(target / self.g_reference, coefficients).clamp_min(0.0)

    def drift_exponent(self, x: Tensor) -> tuple[Tensor, Tensor]:
        log = x.log()
        low = (-0.0387 * log - 0.0182).clamp(0.0720, 0.13)
        mean = torch.where(x < 0.0945, low, statistics.polynomial(x, (0.0736, -0.0126, -0.0436)))
        if self.devices_per_cell == 1:
            low = (-0.0120 * log - 0.0023).clamp(0.0124, 0.04)
            std = torch.where(x < 0.3039, low, statistics.polynomial(x, (0.0104, 0.0116, -0.0165)))
        else:
            low = (-0.0117 * log - 0.0057).clamp(0.0091, 0.04)
            std = torch.where(x < 0.3055, low, statistics.polynomial(x, (0.0073, 0.0093, -0.0118)))
        return mean, std

    def relative_noise(self, x: Tensor) -> Tensor:
        x = x.clamp_max(1.0)  # a cell written beyond the characterised range: the polynomials end there
        log = x.log()
        if self.devices_per_cell == 1:
            low = (-0.0078 * log + 0.0038).clamp(0.0179, 0.04)
            return torch.where(x < 0.1591, low, statistics.polynomial(x, (0.0088, 0.0768, -0.1352, 0.0664)))
        low = (-0.0117 * log - 0.0069).clamp(0.015, 0.04)
        return torch.where(x < 0.16, low, statistics.polynomial(x, (0.0123, 0.0211, -0.0280, 0.0069)))
