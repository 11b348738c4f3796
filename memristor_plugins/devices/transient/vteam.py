"""VTEAM, the voltage threshold adaptive memristor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from torch import Tensor

from memristor_plugins.devices.transient import _windows
from memristor_plugins.devices.transient._number import above, power
from memristor_plugins.errors import ConfigError
from memristor_plugins.interfaces.parameter import Param
from memristor_plugins.interfaces.transient import Number, State, TransientModel

KVATINSKY = "Kvatinsky 2015, 10.1109/TCSII.2015.2433536"


class VTEAM(TransientModel):
    """VTEAM: nothing moves between two threshold voltages, a power law of the overdrive beyond them.

        D dx/dt = k_off (v / v_off - 1)^a_off f(x)    v > v_off > 0    towards R_off
        D dx/dt = k_on  (v / v_on  - 1)^a_on  f(x)    v < v_on < 0     towards R_on (k_on < 0)
        R = R_on + (R_off - R_on) x,   i = v / R

    x in [0, 1], f a window (`_windows`). Positive voltage resets.

    Source: Kvatinsky et al. 2015, 10.1109/TCSII.2015.2433536. The initial state is assumed.

    Raises:
        ConfigError: R_on is not below R_off.
    """

    states = ("x",)

    def __init__(
        self,
        *,
        k_off: Annotated[float, Param("speed of a reset", unit="m/s", source=KVATINSKY, gt=0)] = 5e-4,
        k_on: Annotated[float, Param("speed of a set", unit="m/s", source=KVATINSKY, lt=0)] = -10.0,
        a_off: Annotated[float, Param("exponent of a reset", source=KVATINSKY, ge=1)] = 1.0,
        a_on: Annotated[float, Param("exponent of a set", source=KVATINSKY, ge=1)] = 3.0,
        v_off: Annotated[float, Param("threshold of a reset", unit="V", source=KVATINSKY, gt=0)] = 0.02,
        v_on: Annotated[float, Param("threshold of a set", unit="V", source=KVATINSKY, lt=0)] = -0.2,
        r_on: Annotated[float, Param("lowest resistance", unit="ohm", source=KVATINSKY, gt=0)] = 50.0,
        r_off: Annotated[float, Param("highest resistance", unit="ohm", source=KVATINSKY, gt=0)] = 1000.0,
        thickness: Annotated[float, Param("range of the state, D", unit="m", source=KVATINSKY, gt=0)] = 3e-9,
        window: Annotated[_windows.Window, Param("slows x at its ends", source="see the class")] = "none",
        window_p: Annotated[int, Param("exponent of the window", source="assumed", ge=1)] = 1,
        window_j: Annotated[float, Param("scale of Prodromakis' window", source="assumed", gt=0)] = 1.0,
        x0: Annotated[float, Param("initial state", source="assumed", ge=0, le=1)] = 0.5,
        read_voltage: Annotated[float, Param("of a read, below both thresholds", unit="V", source="assumed")] = 0.01,
    ) -> None:
        if not r_on < r_off:
            raise ConfigError("device.r_on", f"must be below r_off = {r_off:g} ohm, got {r_on:g} ohm")
        if not v_on < read_voltage < v_off or read_voltage == 0:
            raise ConfigError(
                "device.read_voltage",
                f"must lie between the thresholds {v_on:g} and {v_off:g} V, got {read_voltage:g} V",
            )
        self.window: _windows.Window = window
        self.window_p = window_p
        self.volts_per_step, self.read_voltage = 0.05, read_voltage
        self.set_parameters(
            k_off=k_off, k_on=k_on, a_off=a_off, a_on=a_on, v_off=v_off, v_on=v_on, r_on=r_on, r_off=r_off,
            thickness=thickness, window_j=window_j, x0=x0,
        )  # fmt: skip

    def bounds(self, p: Mapping[str, Number]) -> tuple[tuple[Number, Number], ...]:
        """x in [0, 1]."""
        return ((0.0, 1.0),)

    def start(self, p: Mapping[str, Number]) -> tuple[Number, ...]:
        """x0."""
        return (p["x0"],)

    def drive(self, v: Number, v_gate: Number, p: Mapping[str, Number]) -> Mapping[str, Number]:
        """The voltage, and dx/dt without its window."""
        # One voltage for all devices has one sign, and half the work.
        shared = not isinstance(v, Tensor)
        rate: Number = 0.0
        if not shared or v > 0:
            rate = p["k_off"] / p["thickness"] * power(above(v / p["v_off"] - 1), p["a_off"])
        if not shared or v < 0:
            rate = rate + p["k_on"] / p["thickness"] * power(above(v / p["v_on"] - 1), p["a_on"])
        return {"v": v, "rate": rate}

    def coefficients(
        self, state: State, drive: Mapping[str, Number], p: Mapping[str, Number]
    ) -> tuple[tuple[Number, Number | None], ...]:
        """dx/dt = rate f(x)."""
        return (_windows.coefficients(state[0], drive["rate"], self.window, p=self.window_p, j=p["window_j"]),)

    def current_of(self, state: State, drive: Mapping[str, Number], p: Mapping[str, Number]) -> Tensor:
        """v / R."""
        return drive["v"] / (p["r_on"] + (p["r_off"] - p["r_on"]) * state[0])

    def state_at(self, g: Tensor, v_read: Number | None = None, v_gate: Number = 0.0) -> State:
        """x = (1/g - R_on) / (R_off - R_on); a conductance of 0 is as far off as x reaches."""
        p = self.parameters
        x = (1 / g.clamp_min(torch.finfo(g.dtype).tiny) - p["r_on"]) / (p["r_off"] - p["r_on"])
        return (x.clamp(0.0, 1.0),)
