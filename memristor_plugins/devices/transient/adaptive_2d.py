"""The headline device in time: filament and consolidation of the gated Ag / CrPS4 / graphene memristor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from torch import Tensor

from memristor_plugins.constants import BOLTZMANN_EV
from memristor_plugins.devices import adaptive_2d_physics as physics
from memristor_plugins.devices.transient._number import above, cosh, exp, log, sinh, sqrt, where
from memristor_plugins.errors import ConfigError
from memristor_plugins.interfaces.parameter import Param
from memristor_plugins.interfaces.transient import Number, State, TransientModel

MODEL = "behavioural model (assumed)"


class Adaptive2DTransient(TransientModel):
    """Adaptive 2D memristor in time: a silver filament that a gate makes easier or harder to grow.

        G = G_off^(1-x) G_on(V_g)^x,   I = v / (1/G + R_s)
        dx/dt = grow (1 - x) - shrink x - x / tau + noise
        dw/dt = k_w x (1 - w) [v > 0] - shrink w - w / tau_w
        grow = k0 exp(eta E_F / V0) sinh(v / V0), v > 0;   shrink = k0 sinh(-v / V0), v < 0
        tau = tau_s (tau_l / tau_s)^w exp(chi E_F / kT);   k0 = ramp / (V0 cosh(V_set0 / V0))

    States x, filament completion, and w, consolidation, both in [0, 1]; T = 300 K. The right-hand side is that
    of `adaptive_2d_physics.rates`. The noise, strength noise sqrt(x (1 - x)), leaves both ends alone; its form
    and strength are assumed.

    Source of the device: Hong et al., Adv. Funct. Mater. 35(17) 2422321, 10.1002/adfm.202422321 (abstract).
    Every number is assumed. Valid up to about 80 V0 in float32.

    Raises:
        ConfigError: tau_l < tau_s.
    """

    states = ("x", "w")
    gated = True

    def __init__(
        self,
        *,
        v0: Annotated[float, Param("voltage scale of silver migration", unit="V", source=MODEL, gt=0)] = 0.04,
        v_set0: Annotated[float, Param("set voltage at E_F = 0 in the ramp", unit="V", source=MODEL, gt=0)] = 0.4,
        ramp: Annotated[float, Param("ramp rate of which v_set0 is told", unit="V/s", source=MODEL, gt=0)] = 1.0,
        eta: Annotated[float, Param("gate sensitivity of the set voltage; either sign", source=MODEL)] = 0.6,
        beta: Annotated[float, Param("gate sensitivity of the conductance; either sign", source=MODEL)] = 0.3,
        chi: Annotated[float, Param("gate sensitivity of the filament's lifetime; either sign", source=MODEL)] = 0.15,
        k_w: Annotated[float, Param("consolidation rate", unit="1/s", source=MODEL, ge=0)] = 5.0,
        tau_s: Annotated[float, Param("lifetime of a fresh filament", unit="s", source=MODEL, gt=0)] = 0.05,
        tau_l: Annotated[float, Param("lifetime of a consolidated filament", unit="s", source=MODEL, gt=0)] = 1e4,
        tau_w: Annotated[float, Param("lifetime of the consolidation", unit="s", source=MODEL, gt=0)] = 1e4,
        g_off: Annotated[float, Param("conductance without a filament", unit="S", source=MODEL, gt=0)] = 1e-9,
        g_on0: Annotated[
            float, Param("conductance of a complete filament at E_F = 0", unit="S", source=MODEL, gt=0)
        ] = 20e-6,
        r_series: Annotated[float, Param("series resistance", unit="ohm", source=MODEL, ge=0)] = 0.0,
        oxide_thickness: Annotated[float, Param("gate oxide, SiO2 equivalent", unit="m", source=MODEL, gt=0)] = 10e-9,
        v_dirac: Annotated[float, Param("gate voltage of charge neutrality", unit="V", source=MODEL)] = 0.0,
        n0: Annotated[float, Param("residual carrier density of graphene", unit="m^-2", source=MODEL, gt=0)] = 2e15,
        noise: Annotated[float, Param("strength of the noise of x", unit="s^-1/2", source="assumed", ge=0)] = 0.0,
        x0: Annotated[float, Param("initial filament completion", source="assumed", ge=0, le=1)] = 0.0,
        w0: Annotated[float, Param("initial consolidation", source="assumed", ge=0, le=1)] = 0.0,
        read_voltage: Annotated[float, Param("of a read", unit="V", source=MODEL, gt=0)] = 0.1,
    ) -> None:
        if not tau_s <= tau_l:
            raise ConfigError("device.tau_l", f"must be at least tau_s = {tau_s:g} s, got {tau_l:g} s")
        self.volts_per_step, self.read_voltage = v0 / 2, read_voltage
        self.set_parameters(
            v0=v0, v_set0=v_set0, ramp=ramp, eta=eta, beta=beta, chi=chi, k_w=k_w, tau_s=tau_s, tau_l=tau_l,
            tau_w=tau_w, g_off=g_off, g_on0=g_on0, r_series=r_series, oxide_thickness=oxide_thickness,
            v_dirac=v_dirac, n0=n0, noise=noise, x0=x0, w0=w0,
        )  # fmt: skip

    def prepare(self, p: Mapping[str, Number]) -> Mapping[str, Number]:
        """Adds k0, ln(tau_l / tau_s), ln(G_on0 / G_off) and 1 / tau_w."""
        return {
            **p,
            "k0": p["ramp"] / (p["v0"] * cosh(p["v_set0"] / p["v0"])),
            "span": log(p["tau_l"] / p["tau_s"]),
            "depth": log(p["g_on0"] / p["g_off"]),
            "forget": 1 / p["tau_w"],
        }

    def bounds(self, p: Mapping[str, Number]) -> tuple[tuple[Number, Number], ...]:
        """x and w in [0, 1]."""
        return ((0.0, 1.0), (0.0, 1.0))

    def start(self, p: Mapping[str, Number]) -> tuple[Number, ...]:
        """x0 and w0."""
        return p["x0"], p["w0"]

    def drive(self, v: Number, v_gate: Number, p: Mapping[str, Number]) -> Mapping[str, Number]:
        """Growth, shrinkage, consolidation and decay (1/s), and ln(G_on(V_g) / G_off)."""
        fermi = _fermi_level(v_gate, p)
        kt = BOLTZMANN_EV * physics.ROOM_TEMPERATURE
        positive = not isinstance(v, Tensor) and v > 0
        negative = not isinstance(v, Tensor) and v < 0
        grow: Number = 0.0
        shrink: Number = 0.0
        if not negative:
            grow = p["k0"] * exp(p["eta"] * fermi / p["v0"]) * sinh(above(v) / p["v0"])
        if not positive:
            shrink = p["k0"] * sinh(above(-v) / p["v0"])
        return {
            "v": v,
            "grow": grow,
            "shrink": shrink,
            "lost": grow + shrink,
            "keep": where(v > 0, p["k_w"], 0.0),
            "fade": shrink + p["forget"],
            "decay": exp(-p["chi"] * fermi / kt) / p["tau_s"],
            "depth": p["depth"] + p["beta"] * fermi / (4 * kt),
        }

    def coefficients(
        self, state: State, drive: Mapping[str, Number], p: Mapping[str, Number]
    ) -> tuple[tuple[Number, Number | None], ...]:
        """Both equations, linear each in its own state."""
        x, w = state
        keep = drive["keep"] * x
        loss = drive["decay"] * exp(w * -p["span"]) + drive["lost"]
        return (drive["grow"], loss), (keep, keep + drive["fade"])

    def current_of(self, state: State, drive: Mapping[str, Number], p: Mapping[str, Number]) -> Tensor:
        """v / (1/G + R_s)."""
        g = p["g_off"] * (state[0] * drive["depth"]).exp()
        return g * drive["v"] / (1 + g * p["r_series"])

    def diffusion(
        self, state: State, drive: Mapping[str, Number], p: Mapping[str, Number]
    ) -> tuple[Tensor | None, ...] | None:
        """noise sqrt(x (1 - x)) on x."""
        if not isinstance(p["noise"], Tensor) and p["noise"] == 0:
            return None
        x = state[0]
        return p["noise"] * (x * (1 - x)).clamp_min(0).sqrt(), None

    def state_at(self, g: Tensor, v_read: Number | None = None, v_gate: Number = 0.0) -> State:
        """x = ln(G / G_off) / ln(G_on / G_off) with 1/G = 1/g - R_s; w as in a fresh device."""
        p = self.prepare(self.parameters)
        depth = self.drive(0.0, v_gate, p)["depth"]
        own = g / (1 - g * p["r_series"]).clamp_min(torch.finfo(g.dtype).tiny)
        x = ((own / p["g_off"]).clamp_min(1.0).log() / depth).clamp(0.0, 1.0)
        return x, torch.as_tensor(p["w0"], dtype=g.dtype, device=g.device).expand(g.shape)


def _fermi_level(v_gate: Number, p: Mapping[str, Number]) -> Number:
    """`physics.fermi_level`, a float where nothing in it differs between devices."""
    names = ("oxide_thickness", "v_dirac", "n0")
    if not isinstance(v_gate, Tensor) and not any(isinstance(p[name], Tensor) for name in names):
        gate = torch.tensor(v_gate, dtype=torch.float64)
        return float(physics.fermi_level(gate, **{name: float(p[name]) for name in names}))
    density = physics.gate_capacitance(1.0) / physics.ELEMENTARY_CHARGE / physics.DENSITY_UNIT
    n = density / p["oxide_thickness"] * (v_gate - p["v_dirac"])
    residual = p["n0"] / physics.DENSITY_UNIT
    return physics.FERMI_LEVEL_UNIT * n / sqrt(sqrt(n * n + residual * residual))
