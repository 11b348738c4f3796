"""What phase-change models have in common: drift by a power law, and 1/f noise that grows with time."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Generator, Tensor

from memristor_plugins.devices import statistics
from memristor_plugins.devices._statistical import StatisticalDevice
from memristor_plugins.interfaces.device import Cells, CellState


class PhaseChange(StatisticalDevice):
    """Phase-change cells: G(t) = G(0) ((t + t0) / t0)^-nu, and 1/f noise of relative size q(x) sqrt(ln ...).

    x is the conductance over that of the characterised range. Evaluation time counts from the first read, t0
    after the last pulse, so seconds = 0 is what programming left.
    """

    includes: ClassVar[Mapping[str, str]] = {
        "d2d": "programming",
        "write_verify": "programming",
        "retention": "drift",
        "relaxation": "drift",
        "flicker": "read_noise",
    }
    drifts_apart = True

    g_reference: float
    t0: float
    t_read: float

    @abstractmethod
    def drift_exponent(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of nu, for targets x in units of the characterised range."""

    @abstractmethod
    def relative_noise(self, x: Tensor) -> Tensor:
        """q(x), read noise over G for sqrt(ln ...) = 1, for programmed x in units of the characterised range."""

    def fraction(self, g: Tensor) -> Tensor:
        """x = g / g_reference, kept above zero, where the published logarithms and powers end."""
        return (g / self.g_reference).clamp_min(1e-7)

    def program(
        self, target: Tensor, *, generator: Generator, cells: Cells | None = None, temperature: float = 300.0
    ) -> CellState:
        """As any statistical device; the cells remember what was written, on which their read noise depends."""
        state = super().program(target, generator=generator, cells=cells, temperature=temperature)
        return CellState(state.g, target, Cells({**state.cells.constants, "written": state.g}), state.ageing)

    def conductance(self, state: CellState, seconds: float) -> Tensor:
        """G(t) = G(0) ((t + t0) / t0)^-nu in siemens, nu = max(mu(x) + sigma(x) z, 0) once a cell.

        x from the target and z = `state.ageing` (nominal where None).

        Raises:
            SimulationError: `seconds` is negative.
        """
        statistics.check_seconds(type(self).__name__, seconds)
        if seconds == 0:
            return state.g
        mean, std = self.drift_exponent(self.fraction(state.target))
        nu = mean if state.ageing is None else torch.addcmul(mean, std, state.ageing).clamp_min(0.0)
        return statistics.power_law(state.g, seconds, nu=nu, t0=self.t0)

    def read_std(self, g: Tensor, state: CellState, seconds: float) -> Tensor:
        """sigma = G(t) q(x) sqrt(ln((t + t0 + t_r) / (2 t_r))) in siemens, x what was written.

        x is the target where cells `hold` theirs. The noise is 1/f and most of it slower than a read; it is
        drawn anew at each multiply, which keeps the variance of each sum but lets it average over an image.
        """
        written = state.cells.constants.get("written", state.target)
        growth = statistics.accumulated_flicker(seconds + self.t0, t_read=self.t_read)
        return g * (self.relative_noise(self.fraction(written.to(g))) * growth)
