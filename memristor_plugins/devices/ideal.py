"""The ideal cell."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Generator, Tensor

from memristor_plugins.errors import ConfigError
from memristor_plugins.interfaces.device import Cells, CellState, Device
from memristor_plugins.interfaces.parameter import Param


class Ideal(Device):
    """Ideal two-terminal cell: holds its target exactly, for ever, noiselessly and ohmically.

    The reference that every other device is compared with, so its range, read voltage and read time are those
    of the headline device; only its lowest conductance differs: a cell that is off carries no current. It
    draws nothing from a generator. Every number is assumed.

    Raises:
        ConfigError: `g_min` is not below `g_max`.
    """

    def __init__(
        self,
        *,
        g_min: Annotated[float, Param("lowest target conductance", unit="S", source="assumed", ge=0)] = 0.0,
        g_max: Annotated[
            float, Param("highest target conductance", unit="S", source="headline stack (assumed)", gt=0)
        ] = 20e-6,
        read_voltage: Annotated[
            float,
            Param("read voltage of the largest input", unit="V", source="headline stack (assumed)", gt=0),
        ] = 0.1,
        read_time: Annotated[
            float, Param("duration of one read", unit="s", source="headline stack (assumed)", gt=0)
        ] = 10e-9,
    ) -> None:
        if not g_min < g_max:
            raise ConfigError("device.g_min", f"must be below g_max = {g_max:g} S, got {g_min:g} S")
        self.g_min, self.g_max = g_min, g_max
        self.read_voltage, self.read_time = read_voltage, read_time

    def fabricate(self, shape: torch.Size | tuple[int, ...], *, generator: Generator) -> Cells:
        """Ideal cells are all alike: no constants."""
        return Cells()

    def program(
        self, target: Tensor, *, generator: Generator, cells: Cells | None = None, temperature: float = 300.0
    ) -> CellState:
        """Write `target` (siemens, any shape) exactly; no conductance is negative."""
        return CellState(target.clamp_min(0.0), target, Cells() if cells is None else cells)

    def hold(self, target: Tensor, *, generator: Generator) -> CellState:
        """The same as `program`: a write has no error."""
        return self.program(target, generator=generator)

    def conductance(self, state: CellState, seconds: float) -> Tensor:
        """G(t) = G(0), siemens."""
        return state.g

    def read_std(self, g: Tensor, state: CellState, seconds: float) -> Tensor:
        """Zero, of the shape of `g`."""
        return torch.zeros_like(g)

    def read(
        self,
        g: Tensor,
        state: CellState,
        *,
        generator: Generator,
        seconds: float = 0.0,
        temperature: float = 300.0,
    ) -> Tensor:
        """`g` itself."""
        return g

    def current(self, g: Tensor, v: Tensor, *, v_gate: Tensor | None = None, temperature: float = 300.0) -> Tensor:
        """I = G V, amperes; `g` (siemens) and `v` (volts) broadcast. No gate: `v_gate` has no effect."""
        return g * v
