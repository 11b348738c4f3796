"""The data-driven ReRAM model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from torch import Tensor

from memristor_plugins.devices.transient._number import above, exp, sinh, where
from memristor_plugins.errors import ConfigError
from memristor_plugins.interfaces.parameter import Param
from memristor_plugins.interfaces.transient import Number, State, TransientModel

# The constants stand in the model's published implementation.
MESSARIS = "Messaris 2021 (arXiv:2012.02267), MemTorch Data_Driven2021"


class DataDriven(TransientModel):
    """Data-driven ReRAM: resistance relaxes to a boundary that the voltage sets, with the square of the distance.

        v > 0:  dR/dt = s (r - R)^2   R > r;   s = A_p (exp(|v| / t_p) - 1),  r = a0_p + a1_p v
        v < 0:  dR/dt = s (r - R)^2   R < r;   s = A_n (exp(|v| / t_n) - 1),  r = a0_n + a1_n v
        i = a / R sinh(b v)

    R in [r_on, r_off] is the state; nothing moves beyond the boundary. Positive voltage lowers R. The sign of s
    is that of the motion, whatever the signs of A and t.

    Source: Messaris 2021, arXiv:2012.02267; the constants are those of MemTorch's implementation of it. The
    initial state is assumed.

    Raises:
        ConfigError: r_on <= r0 <= r_off does not hold, or r_on = r_off; or t_p or t_n is 0.
    """

    states = ("resistance",)

    def __init__(
        self,
        *,
        a_p: Annotated[float, Param("A_p, speed at v > 0", unit="1/(ohm s)", source=MESSARIS)] = 600.10075,
        a_n: Annotated[float, Param("A_n, speed at v < 0", unit="1/(ohm s)", source=MESSARIS)] = -34.5988399,
        t_p: Annotated[float, Param("voltage scale at v > 0", unit="V", source=MESSARIS)] = -0.0212028,
        t_n: Annotated[float, Param("voltage scale at v < 0", unit="V", source=MESSARIS)] = -0.05343997,
        a0_p: Annotated[float, Param("boundary at v > 0, 0 V", unit="ohm", source=MESSARIS)] = 2699.2336,
        a1_p: Annotated[float, Param("its slope", unit="ohm/V", source=MESSARIS)] = -672.930205,
        a0_n: Annotated[float, Param("boundary at v < 0, 0 V", unit="ohm", source=MESSARIS)] = 649.413746,
        a1_n: Annotated[float, Param("its slope", unit="ohm/V", source=MESSARIS)] = -1474.32358,
        i_p: Annotated[float, Param("amplitude of the current, v >= 0", unit="V", source=MESSARIS, gt=0)] = 0.32046175,
        i_n: Annotated[float, Param("the same, v < 0", unit="V", source=MESSARIS, gt=0)] = 0.32046175,
        b_p: Annotated[
            float, Param("curvature of the current, v >= 0", unit="1/V", source=MESSARIS, gt=0)
        ] = 2.71689828,
        b_n: Annotated[float, Param("the same, v < 0", unit="1/V", source=MESSARIS, gt=0)] = 2.71689828,
        r_on: Annotated[float, Param("lowest resistance", unit="ohm", source=MESSARIS, gt=0)] = 1600.0,
        r_off: Annotated[float, Param("highest resistance", unit="ohm", source=MESSARIS, gt=0)] = 3000.0,
        r0: Annotated[float, Param("initial resistance", unit="ohm", source="assumed", gt=0)] = 3000.0,
        read_voltage: Annotated[float, Param("of a read", unit="V", source="assumed", gt=0)] = 0.1,
    ) -> None:
        if not r_on <= r0 <= r_off or r_on == r_off:
            raise ConfigError("device.r0", f"must lie within r_on = {r_on:g} and r_off = {r_off:g} ohm, got {r0:g} ohm")
        for name, value in (("t_p", t_p), ("t_n", t_n)):
            if value == 0:
                raise ConfigError(f"device.{name}", "must not be 0 V")
        self.volts_per_step, self.read_voltage = 0.05, read_voltage
        self.set_parameters(
            a_p=a_p, a_n=a_n, t_p=t_p, t_n=t_n, a0_p=a0_p, a1_p=a1_p, a0_n=a0_n, a1_n=a1_n, i_p=i_p, i_n=i_n,
            b_p=b_p, b_n=b_n, r_on=r_on, r_off=r_off, r0=r0,
        )  # fmt: skip

    def bounds(self, p: Mapping[str, Number]) -> tuple[tuple[Number, Number], ...]:
        """R in [r_on, r_off]."""
        return ((p["r_on"], p["r_off"]),)

    def start(self, p: Mapping[str, Number]) -> tuple[Number, ...]:
        """r0."""
        return (p["r0"],)

    def drive(self, v: Number, v_gate: Number, p: Mapping[str, Number]) -> Mapping[str, Number]:
        """|s|, the boundary and on which side of it R moves, and the current at 1 ohm."""
        positive = v > 0
        a: Number = where(positive, p["a_p"], p["a_n"])
        t: Number = where(positive, p["t_p"], p["t_n"])
        growth: Number = a * (exp(where(positive, v, -v) / t) - 1)
        speed: Number = where(growth > 0, growth, -growth)
        boundary = where(positive, p["a0_p"], p["a0_n"]) + where(positive, p["a1_p"], p["a1_n"]) * v
        return {
            "speed": speed,
            "boundary": boundary,
            "side": where(positive, 1.0, -1.0),
            "full": where(positive, p["i_p"], p["i_n"]) * sinh(where(positive, p["b_p"], p["b_n"]) * v),
        }

    def coefficients(
        self, state: State, drive: Mapping[str, Number], p: Mapping[str, Number]
    ) -> tuple[tuple[Number, Number | None], ...]:
        """dR/dt = rate (r - R) with rate = |s| times the distance to the boundary, 0 beyond it."""
        (resistance,) = state
        rate = drive["speed"] * above(drive["side"] * (resistance - drive["boundary"]))
        return ((rate * drive["boundary"], rate),)

    def current_of(self, state: State, drive: Mapping[str, Number], p: Mapping[str, Number]) -> Tensor:
        """a / R sinh(b v)."""
        return drive["full"] / state[0]

    def state_at(self, g: Tensor, v_read: Number | None = None, v_gate: Number = 0.0) -> State:
        """R = a sinh(b v) / (v g); a conductance of 0 is as far off as R reaches."""
        p, v = self.parameters, self.read_voltage if v_read is None else v_read
        full = where(v > 0, p["i_p"], p["i_n"]) * sinh(where(v > 0, p["b_p"], p["b_n"]) * v) / v
        resistance = full / g.clamp_min(torch.finfo(g.dtype).tiny)
        return (resistance.clamp_min(p["r_on"]).clamp_max(p["r_off"]),)
