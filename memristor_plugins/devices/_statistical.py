"""What statistical cell models have in common: a write leaves the target plus an error of known deviation."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Generator, Tensor

from memristor_plugins.errors import ConfigError
from memristor_plugins.interfaces.device import Cells, CellState, Device, standard_normal


class StatisticalDevice(Device):
    """A cell told by published statistics of arrays: no constants of its own, Gaussian errors, ohmic reads.

    Subclasses call `_set_range` in `__init__` and give the deviations; `drifts_apart` draws normals of its own
    for ageing, otherwise the error of the write is the one normal that a cell keeps.
    """

    includes: ClassVar[Mapping[str, str]] = {"d2d": "programming", "write_verify": "programming"}
    drifts_apart: ClassVar[bool] = False

    def _set_range(self, g_min: float, g_max: float, read_voltage: float, read_time: float) -> None:
        if not g_min < g_max:
            raise ConfigError("device.g_min", f"must be below g_max = {g_max:g} S, got {g_min:g} S")
        self.g_min, self.g_max = g_min, g_max
        self.read_voltage, self.read_time = read_voltage, read_time

    @abstractmethod
    def programming_std(self, target: Tensor) -> Tensor:
        """Standard deviation in siemens of what a write of `target` (siemens) leaves, of its shape."""

    def fabricate(self, shape: torch.Size | tuple[int, ...], *, generator: Generator) -> Cells:
        """No constants, nothing drawn: the published errors contain what tells cells apart."""
        return Cells()

    def program(
        self, target: Tensor, *, generator: Generator, cells: Cells | None = None, temperature: float = 300.0
    ) -> CellState:
        """Write `target` (siemens, any shape): g = max(target + programming_std(target) z, 0), z standard normal.

        Draws errors, then normals for ageing where that has its own. `temperature` has no effect: the
        statistics were taken at room temperature.
        """
        error = standard_normal(target, generator)
        ageing = standard_normal(target, generator) if self.drifts_apart else error
        g = (target + self.programming_std(target) * error).clamp_min(0.0)
        return CellState(g, target, Cells() if cells is None else cells, ageing)

    def conductance(self, state: CellState, seconds: float) -> Tensor:
        """G(t) = G(0), siemens: no retention statistics were published."""
        return state.g

    def current(self, g: Tensor, v: Tensor, *, v_gate: Tensor | None = None, temperature: float = 300.0) -> Tensor:
        """I = G V in amperes; `g` (siemens) and `v` (volts) broadcast. No gate: `v_gate` has no effect."""
        return g * v
