"""HP's linear ion drift."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from torch import Tensor

from memristor_plugins.devices.transient import _windows
from memristor_plugins.errors import ConfigError
from memristor_plugins.interfaces.parameter import Param
from memristor_plugins.interfaces.transient import Number, State, TransientModel

STRUKOV = "Strukov 2008, 10.1038/nature06932"


class LinearIonDrift(TransientModel):
    """Linear ion drift: a doped region of width x D grows with the charge that flows.

        R = R_on x + R_off (1 - x),   i = v / R,   dx/dt = mu R_on / D^2 * i * f(x)

    x in [0, 1], f a window (`_windows`). Positive voltage lowers the resistance. With f = 1 the resistance is a
    function of charge: R(q)^2 = R(0)^2 - 2 (R_off - R_on) mu R_on / D^2 * flux, flux the integral of v.

    Source: Strukov et al. 2008, 10.1038/nature06932. The initial state is assumed.

    Raises:
        ConfigError: R_on is not below R_off.
    """

    states = ("x",)

    def __init__(
        self,
        *,
        r_on: Annotated[float, Param("resistance fully doped", unit="ohm", source=STRUKOV, gt=0)] = 100.0,
        r_off: Annotated[float, Param("resistance undoped", unit="ohm", source=STRUKOV, gt=0)] = 16e3,
        mobility: Annotated[float, Param("of dopants", unit="m^2/(V s)", source=STRUKOV, gt=0)] = 1e-14,
        thickness: Annotated[float, Param("of the film, D", unit="m", source=STRUKOV, gt=0)] = 10e-9,
        window: Annotated[_windows.Window, Param("slows x at its ends", source="see the class")] = "none",
        window_p: Annotated[int, Param("exponent of the window", source="assumed", ge=1)] = 1,
        window_j: Annotated[float, Param("scale of Prodromakis' window", source="assumed", gt=0)] = 1.0,
        x0: Annotated[float, Param("initial state", source="assumed", ge=0, le=1)] = 0.1,
        read_voltage: Annotated[float, Param("of a read", unit="V", source="assumed", gt=0)] = 0.1,
    ) -> None:
        if not r_on < r_off:
            raise ConfigError("device.r_on", f"must be below r_off = {r_off:g} ohm, got {r_on:g} ohm")
        self.window: _windows.Window = window
        self.window_p = window_p
        self.volts_per_step, self.read_voltage = 0.05, read_voltage
        self.set_parameters(r_on=r_on, r_off=r_off, mobility=mobility, thickness=thickness, window_j=window_j, x0=x0)

    def prepare(self, p: Mapping[str, Number]) -> Mapping[str, Number]:
        """Adds drift = mu R_on / D^2, 1/(A s)."""
        return {**p, "drift": p["mobility"] * p["r_on"] / (p["thickness"] * p["thickness"])}

    def bounds(self, p: Mapping[str, Number]) -> tuple[tuple[Number, Number], ...]:
        """x in [0, 1]."""
        return ((0.0, 1.0),)

    def start(self, p: Mapping[str, Number]) -> tuple[Number, ...]:
        """x0."""
        return (p["x0"],)

    def drive(self, v: Number, v_gate: Number, p: Mapping[str, Number]) -> Mapping[str, Number]:
        """The voltage, and drift times it."""
        return {"v": v, "pull": p["drift"] * v}

    def coefficients(
        self, state: State, drive: Mapping[str, Number], p: Mapping[str, Number]
    ) -> tuple[tuple[Number, Number | None], ...]:
        """dx/dt = drift i f(x)."""
        (x,) = state
        rate = drive["pull"] / self._resistance(x, p)
        return (_windows.coefficients(x, rate, self.window, p=self.window_p, j=p["window_j"]),)

    def current_of(self, state: State, drive: Mapping[str, Number], p: Mapping[str, Number]) -> Tensor:
        """v / R."""
        return drive["v"] / self._resistance(state[0], p)

    def state_at(self, g: Tensor, v_read: Number | None = None, v_gate: Number = 0.0) -> State:
        """x = (R_off - 1/g) / (R_off - R_on); a conductance of 0 is as far off as x reaches."""
        p = self.parameters
        x = (p["r_off"] - 1 / g.clamp_min(torch.finfo(g.dtype).tiny)) / (p["r_off"] - p["r_on"])
        return (x.clamp(0.0, 1.0),)

    @staticmethod
    def _resistance(x: Tensor, p: Mapping[str, Number]) -> Tensor:
        return p["r_off"] + (p["r_on"] - p["r_off"]) * x
