"""Charge-trap analog memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from memristor_plugins.devices import statistics
from memristor_plugins.devices._statistical import StatisticalDevice
from memristor_plugins.errors import ConfigError, SimulationError
from memristor_plugins.interfaces.device import CellState
from memristor_plugins.interfaces.parameter import Param

AGRAWAL = "10.1109/IEDM45625.2022.10019564"
HIGHEST = 1800.0  # nA: the characterised range, where the polynomials of the drift end

# One tuple a day after programming, 0 to 5. Currents in nA.
SPREAD = (  # (A, B): standard deviation A (1 - exp(-I / B))
    (19.88665, 176.3115),
    (25.59102, 186.85544),
    (28.72753, 193.56834),
    (31.04318, 198.90332),
    (33.76214, 204.77023),
    (34.57909, 207.34309),
)
# Change of the mean current, polynomial in I, ascending.
# fmt: off
SHIFT = (
    (0.0,) * 11,
    (1.72684e-01, 5.72552e-02, -6.85715e-04, 3.50271e-06, -9.37682e-09, 1.40575e-11, -1.19803e-14, 5.41293e-18,
     -8.85448e-22, -1.66869e-25, 5.95180e-29),
    (2.50712e-01, 6.62195e-02, -6.83218e-04, 2.99442e-06, -6.78255e-09, 7.70482e-12, -3.04983e-15, -2.15919e-18,
     2.94617e-21, -1.23359e-24, 1.85329e-28),
    (-1.75300e-02, 9.76883e-02, -9.63791e-04, 4.55551e-06, -1.22391e-08, 1.93786e-11, -1.85899e-14, 1.07659e-17,
     -3.58211e-21, 5.96785e-25, -3.30410e-29),
    (4.03338e-02, 1.03111e-01, -1.04740e-03, 4.83961e-06, -1.28132e-08, 1.99484e-11, -1.85139e-14, 1.00008e-17,
     -2.84944e-21, 3.01008e-25, 1.18747e-29),
    (3.19927e-01, 1.06596e-01, -1.04054e-03, 4.50290e-06, -1.10352e-08, 1.56477e-11, -1.27592e-14, 5.45513e-18,
     -7.26841e-22, -2.43893e-25, 7.14608e-29),
)
# fmt: on
NOISE = (12.58037, 215.36557)  # (A, B) of the read noise


class SONOS(StatisticalDevice):
    """40 nm SONOS charge-trap memory in subthreshold operation, statistics of 128 K cells over five days.

    With I = G V_read the cell's current in nA and z one standard normal a cell:

        I(t) = max(m + sigma(m, t) z, 0),  m = I_target + p(I_target, t),  sigma = A(t) (1 - exp(-m / B(t)))
        sigma_read = 12.58 (1 - exp(-I / 215.4)),  new at each read

    p is a polynomial of tenth order at 1, 2, ... 5 days; p, A and B are linear in t between days; p = 0 at 0 s.
    Valid for currents of 0 to 1800 nA: the cell is read at one voltage, so current stands for conductance.

    Source: Agrawal et al., IEDM 2022, 10.1109/IEDM45625.2022.10019564, Figs. 10 and 11 (fits of CrossSim 3.2).

    Raises:
        ConfigError: more than 1800 nA at `g_max`, or `g_min` not below `g_max`.
    """

    includes: ClassVar[Mapping[str, str]] = {
        **StatisticalDevice.includes,
        "retention": "drift",
        "relaxation": "drift",
    }

    def __init__(
        self,
        *,
        g_min: Annotated[float, Param("lowest target conductance", unit="S", source=AGRAWAL, ge=0)] = 0.0,
        g_max: Annotated[float, Param("highest target conductance", unit="S", source=AGRAWAL, gt=0)] = 16e-6,
        read_voltage: Annotated[
            float, Param("drain voltage of a read", unit="V", source="assumed: 1600 nA at 16 uS", gt=0)
        ] = 0.1,
        read_time: Annotated[float, Param("duration of one read", unit="s", source="assumed", gt=0)] = 100e-9,
    ) -> None:
        self._set_range(g_min, g_max, read_voltage, read_time)
        if g_max * read_voltage * 1e9 > HIGHEST * 1.0001:
            raise ConfigError(
                "device.g_max",
                f"must be at most {HIGHEST * 1e-9 / read_voltage:.4g} S, 1800 nA at {read_voltage:g} V; got {g_max:g}",
            )

    def _moments(self, target: Tensor, seconds: float) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation in siemens of cells of `target` siemens, after `seconds`."""
        statistics.check_seconds(type(self).__name__, seconds, last=5 * statistics.DAY)
        i, share = statistics.between(seconds / statistics.DAY, (0.0, 1.0, 2.0, 3.0, 4.0, 5.0))
        early, late = SHIFT[i], SHIFT[i + 1]
        amps = 1e-9 / self.read_voltage
        current = target / amps
        mean = current
        if seconds > 0:
            mixed = [(1 - share) * a + share * b for a, b in zip(early, late, strict=True)]
            mean = (current + statistics.polynomial(current, mixed)).clamp_min(0.0)
        a, b = ((1 - share) * x + share * y for x, y in zip(SPREAD[i], SPREAD[i + 1], strict=True))
        return mean * amps, torch.expm1(-mean / b) * (-a * amps)

    def programming_std(self, target: Tensor) -> Tensor:
        """A(0) (1 - exp(-I / B(0))) over the read voltage, siemens."""
        return self._moments(target, 0.0)[1]

    def conductance(self, state: CellState, seconds: float) -> Tensor:
        """G(t) in siemens; a held cell starts on its target and moves by the changes of mean and deviation.

        Raises:
            SimulationError: beyond five days.
        """
        mean, std = self._moments(state.target, seconds)
        if seconds == 0:
            return state.g
        if state.ageing is None:
            raise SimulationError("SONOS ages by the normals drawn at a write, and these cells have none")
        before = self.programming_std(state.target) * state.ageing
        return statistics.carried(state.g, state.target, before, mean - state.target + std * state.ageing)

    def read_std(self, g: Tensor, state: CellState, seconds: float) -> Tensor:
        """12.58 (1 - exp(-I / 215.4)) nA over the read voltage, siemens; the same at all times."""
        amps = 1e-9 / self.read_voltage
        a, b = NOISE
        return torch.expm1(-g / (amps * b)) * (-a * amps)
