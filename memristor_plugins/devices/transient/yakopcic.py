"""Yakopcic's generalised memristor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from torch import Tensor

from memristor_plugins.devices.transient._number import above, exp, sinh, where
from memristor_plugins.interfaces.parameter import Param
from memristor_plugins.interfaces.transient import Number, State, TransientModel

YAKOPCIC = "Yakopcic 2013, 10.1109/TCAD.2013.2252057"


class Yakopcic(TransientModel):
    """Yakopcic's model: hyperbolic-sine current, exponential motion beyond thresholds, slowed near the ends.

        I = a x sinh(b v)
        dx/dt = g(v) f(x),   g = A_p (e^v - e^V_p)  v > V_p;   -A_n (e^-v - e^V_n)  v < -V_n;   0 between
        rising:   f = exp(-alpha_p (x - x_p)) (1 - x) / (1 - x_p)        x >= x_p;        1 below
        falling:  f = exp( alpha_n (x + x_n - 1)) x / (1 - x_n)          x <= 1 - x_n;    1 above

    x in [0, 1]. Positive voltage raises x. The amplitude for v < 0 may differ: `a_negative`.

    Source: Yakopcic et al. 2013, 10.1109/TCAD.2013.2252057.
    """

    states = ("x",)

    def __init__(
        self,
        *,
        a: Annotated[float, Param("amplitude of the current, v >= 0", unit="A", source=YAKOPCIC, gt=0)] = 0.17,
        a_negative: Annotated[float, Param("the same, v < 0", unit="A", source=YAKOPCIC, gt=0)] = 0.17,
        b: Annotated[float, Param("curvature of the current", unit="1/V", source=YAKOPCIC, gt=0)] = 0.05,
        v_p: Annotated[float, Param("threshold of a set", unit="V", source=YAKOPCIC, ge=0)] = 0.16,
        v_n: Annotated[float, Param("threshold of a reset, its size", unit="V", source=YAKOPCIC, ge=0)] = 0.15,
        rate_p: Annotated[float, Param("A_p, speed of a set", unit="1/s", source=YAKOPCIC, gt=0)] = 4000.0,
        rate_n: Annotated[float, Param("A_n, speed of a reset", unit="1/s", source=YAKOPCIC, gt=0)] = 4000.0,
        x_p: Annotated[float, Param("where a set slows down", source=YAKOPCIC, ge=0, lt=1)] = 0.3,
        x_n: Annotated[float, Param("1 - x where a reset slows down", source=YAKOPCIC, ge=0, lt=1)] = 0.5,
        alpha_p: Annotated[float, Param("how much a set slows down", source=YAKOPCIC, ge=0)] = 1.0,
        alpha_n: Annotated[float, Param("how much a reset slows down", source=YAKOPCIC, ge=0)] = 5.0,
        x0: Annotated[float, Param("initial state", source=YAKOPCIC, ge=0, le=1)] = 0.11,
        read_voltage: Annotated[float, Param("of a read, below both thresholds", unit="V", source="assumed")] = 0.1,
    ) -> None:
        self.volts_per_step, self.read_voltage = 0.05, read_voltage
        self.set_parameters(
            a=a, a_negative=a_negative, b=b, v_p=v_p, v_n=v_n, rate_p=rate_p, rate_n=rate_n, x_p=x_p, x_n=x_n,
            alpha_p=alpha_p, alpha_n=alpha_n, x0=x0,
        )  # fmt: skip

    def prepare(self, p: Mapping[str, Number]) -> Mapping[str, Number]:
        """Adds the exponentials of the thresholds."""
        return {**p, "floor_p": exp(p["v_p"]), "floor_n": exp(p["v_n"])}

    def bounds(self, p: Mapping[str, Number]) -> tuple[tuple[Number, Number], ...]:
        """x in [0, 1]."""
        return ((0.0, 1.0),)

    def start(self, p: Mapping[str, Number]) -> tuple[Number, ...]:
        """x0."""
        return (p["x0"],)

    def drive(self, v: Number, v_gate: Number, p: Mapping[str, Number]) -> Mapping[str, Number]:
        """Speeds of set and reset, both >= 0, and the current at x = 1."""
        rise = p["rate_p"] * above(exp(v) - p["floor_p"])
        fall = p["rate_n"] * above(exp(-v) - p["floor_n"])
        return {"rise": rise, "fall": fall, "full": where(v >= 0, p["a"], p["a_negative"]) * sinh(p["b"] * v)}

    def coefficients(
        self, state: State, drive: Mapping[str, Number], p: Mapping[str, Number]
    ) -> tuple[tuple[Number, Number | None], ...]:
        """f over the distance to the end that x moves to has no pole: dx/dt = rise up (1 - x) - fall down x."""
        (x,) = state
        rise, fall = drive["rise"], drive["fall"]
        gain: Number = 0.0
        loss: Number = 0.0
        if isinstance(rise, Tensor) or rise > 0:
            gain = rise * exp(-p["alpha_p"] * above(x - p["x_p"])) / _at_least(1 - x, 1 - p["x_p"])
            loss = gain
        if isinstance(fall, Tensor) or fall > 0:
            loss = loss + fall * exp(-p["alpha_n"] * above(1 - p["x_n"] - x)) / _at_least(x, 1 - p["x_n"])
        return ((gain, loss),)

    def current_of(self, state: State, drive: Mapping[str, Number], p: Mapping[str, Number]) -> Tensor:
        """a x sinh(b v)."""
        return drive["full"] * state[0]

    def state_at(self, g: Tensor, v_read: Number | None = None, v_gate: Number = 0.0) -> State:
        """x = g / (a sinh(b v) / v)."""
        v = self.read_voltage if v_read is None else v_read
        full = where(v >= 0, self.parameters["a"], self.parameters["a_negative"]) * sinh(self.parameters["b"] * v) / v
        return ((g / full).clamp(0.0, 1.0),)


def _at_least(x: Tensor, low: Number) -> Tensor:
    return x.clamp_min(low)
