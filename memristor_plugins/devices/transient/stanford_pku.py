"""The Stanford-PKU model of filamentary RRAM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from torch import Tensor

from memristor_plugins.constants import BOLTZMANN_EV
from memristor_plugins.devices.transient._number import log, sinh
from memristor_plugins.errors import ConfigError
from memristor_plugins.interfaces.parameter import Param
from memristor_plugins.interfaces.transient import Number, State, TransientModel

JIANG = "Jiang 2014, 10.1109/SISPAD.2014.6931558"
G1 = 1e-9  # m, the unit of the gap in the field enhancement


class StanfordPKU(TransientModel):
    """Stanford-PKU RRAM: a tunnelling gap that a field and Joule heat close, and an opposite field opens.

        I = I_0 exp(-gap / g_0) sinh(v / V_0),   T = T_0 + R_th |v I|
        d gap/dt = -v_0 exp(-E_a / kT) sinh(gamma a_0 / t_ox * q v / kT),   gamma = gamma_0 - beta (gap / 1 nm)^3

    gap in [gap_min, gap_max]. Positive voltage sets. Without the model's noise; no compliance current.

    Source: Jiang et al. 2014, 10.1109/SISPAD.2014.6931558; gap_min, gap_max and T_0 are assumed (the model's
    published code has 0.2 nm as the initial gap and 298 K).

    Raises:
        ConfigError: gap_min <= gap0 <= gap_max does not hold, or gap_min = gap_max.
    """

    states = ("gap",)

    def __init__(
        self,
        *,
        i_0: Annotated[float, Param("amplitude of the current", unit="A", source=JIANG, gt=0)] = 1e-3,
        g_0: Annotated[float, Param("decay length of the current", unit="m", source=JIANG, gt=0)] = 0.25e-9,
        v_0: Annotated[float, Param("curvature of the current", unit="V", source=JIANG, gt=0)] = 0.25,
        e_a: Annotated[float, Param("activation energy", unit="eV", source=JIANG, gt=0)] = 0.6,
        speed: Annotated[float, Param("attempt velocity v_0", unit="m/s", source=JIANG, gt=0)] = 10.0,
        gamma_0: Annotated[float, Param("field enhancement without a gap", source=JIANG, gt=0)] = 16.0,
        beta: Annotated[float, Param("how the gap lowers the enhancement", source=JIANG, ge=0)] = 0.8,
        t_ox: Annotated[float, Param("oxide thickness", unit="m", source=JIANG, gt=0)] = 12e-9,
        r_th: Annotated[float, Param("thermal resistance", unit="K/W", source=JIANG, ge=0)] = 2.1e3,
        a_0: Annotated[float, Param("hopping distance", unit="m", source=JIANG, gt=0)] = 0.25e-9,
        temperature: Annotated[float, Param("ambient temperature", unit="K", source="assumed", gt=0)] = 298.0,
        gap_min: Annotated[float, Param("smallest gap", unit="m", source="assumed", ge=0)] = 0.2e-9,
        gap_max: Annotated[float, Param("largest gap", unit="m", source="assumed", gt=0)] = 1.7e-9,
        gap0: Annotated[float, Param("initial gap", unit="m", source="assumed", ge=0)] = 1.7e-9,
        read_voltage: Annotated[float, Param("of a read", unit="V", source="assumed", gt=0)] = 0.1,
    ) -> None:
        if not gap_min <= gap0 <= gap_max or gap_min == gap_max:
            raise ConfigError(
                "device.gap0", f"must lie within gap_min = {gap_min:g} and gap_max = {gap_max:g} m, got {gap0:g} m"
            )
        self.volts_per_step, self.read_voltage = 0.05, read_voltage
        self.set_parameters(
            i_0=i_0, g_0=g_0, v_0=v_0, e_a=e_a, speed=speed, gamma_0=gamma_0, beta=beta, t_ox=t_ox, r_th=r_th,
            a_0=a_0, temperature=temperature, gap_min=gap_min, gap_max=gap_max, gap0=gap0,
        )  # fmt: skip

    def prepare(self, p: Mapping[str, Number]) -> Mapping[str, Number]:
        """Adds a_0 / (k t_ox) in K/V and E_a / k in K."""
        return {**p, "lever": p["a_0"] / p["t_ox"] / BOLTZMANN_EV, "hot": p["e_a"] / BOLTZMANN_EV}

    def bounds(self, p: Mapping[str, Number]) -> tuple[tuple[Number, Number], ...]:
        """gap in [gap_min, gap_max]."""
        return ((p["gap_min"], p["gap_max"]),)

    def start(self, p: Mapping[str, Number]) -> tuple[Number, ...]:
        """gap0."""
        return (p["gap0"],)

    def drive(self, v: Number, v_gate: Number, p: Mapping[str, Number]) -> Mapping[str, Number]:
        """Current and heating (K) without a gap, and the field's part of the exponent (K)."""
        full = p["i_0"] * sinh(v / p["v_0"])
        return {"full": full, "heat": p["r_th"] * v * full, "field": p["lever"] * v}

    def coefficients(
        self, state: State, drive: Mapping[str, Number], p: Mapping[str, Number]
    ) -> tuple[tuple[Number, Number | None], ...]:
        """d gap/dt, whole: the ends are hard."""
        (gap,) = state
        coldness = 1 / (p["temperature"] + drive["heat"] * (gap / -p["g_0"]).exp())
        gamma = p["gamma_0"] - p["beta"] * (gap / G1) ** 3
        exponent = gamma * drive["field"] * coldness
        # exp(-E_a / kT) sinh(u) as one difference: neither factor overflows where their product does not.
        barrier = p["hot"] * coldness
        return ((((exponent.neg() - barrier).exp() - (exponent - barrier).exp()) * (0.5 * p["speed"]), None),)

    def current_of(self, state: State, drive: Mapping[str, Number], p: Mapping[str, Number]) -> Tensor:
        """I_0 exp(-gap / g_0) sinh(v / V_0)."""
        return drive["full"] * (state[0] / -p["g_0"]).exp()

    def state_at(self, g: Tensor, v_read: Number | None = None, v_gate: Number = 0.0) -> State:
        """gap = g_0 ln(I_0 sinh(v / V_0) / (v g))."""
        p, v = self.parameters, self.read_voltage if v_read is None else v_read
        gap = p["g_0"] * (log(p["i_0"] * sinh(v / p["v_0"]) / v) - g.log())
        return (gap.clamp_min(p["gap_min"]).clamp_max(p["gap_max"]),)
