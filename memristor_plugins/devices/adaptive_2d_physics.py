"""The physics of the Ag / CrPS4 / graphene cell, as pure functions of tensors (parameters: `adaptive_2d`).

A silver filament of completion x in [0, 1] and consolidation w in [0, 1] bridges CrPS4 between silver and
graphene. The gate moves graphene's Fermi level E_F, and with it the filament's conductance, its growth and
its lifetime. Tensors broadcast together; results keep their dtype and device. Energies in electronvolts,
everything else in SI units.

The behavioural model and all its parameters are assumed: of the device of Hong et al.
(10.1002/adfm.202422321) only the abstract is public. Graphene's dispersion, E_F = hbar v_F sqrt(pi n), is
physics.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from memristor_plugins.constants import BOLTZMANN_EV

ELEMENTARY_CHARGE = 1.602176634e-19  # C
VACUUM_PERMITTIVITY = 8.8541878128e-12  # F/m
SIO2_PERMITTIVITY = 3.9  # relative; oxide thicknesses are SiO2 equivalents
FERMI_LEVEL_UNIT = 0.1166  # eV at DENSITY_UNIT: hbar v_F sqrt(pi n) with v_F = 1e6 m/s
DENSITY_UNIT = 1e16  # m^-2 = 1e12 cm^-2; densities are scaled by it so that n^4 fits float32
ROOM_TEMPERATURE = 300.0  # K


def gate_capacitance(oxide_thickness: float) -> float:
    """C_g = eps_0 * 3.9 / d in F/m^2 of a gate oxide of `oxide_thickness` metres (> 0)."""
    return VACUUM_PERMITTIVITY * SIO2_PERMITTIVITY / oxide_thickness


def fermi_level(v_gate: Tensor, *, oxide_thickness: float, v_dirac: float, n0: float) -> Tensor:
    """Graphene's Fermi level in eV, odd and strictly increasing in `v_gate - v_dirac`.

    E_F = 0.1166 eV * n / (n^2 + n0^2)^(1/4) with n, n0 in 1e12 cm^-2, n = (C_g / e) (V_g - V_D).

    Args:
        v_gate: gate voltage, volts, any shape.
        oxide_thickness: SiO2-equivalent thickness of the gate oxide, metres.
        v_dirac: gate voltage of charge neutrality, volts.
        n0: residual density that rounds the Dirac point, m^-2, > 0.
    """
    density = gate_capacitance(oxide_thickness) / ELEMENTARY_CHARGE / DENSITY_UNIT * (v_gate - v_dirac)
    return FERMI_LEVEL_UNIT * density / (density.square() + (n0 / DENSITY_UNIT) ** 2).sqrt().sqrt()


def gate_voltage(fermi: Tensor, *, oxide_thickness: float, v_dirac: float, n0: float) -> Tensor:
    """Gate voltage in volts at which graphene has the Fermi level `fermi` (eV): inverse of `fermi_level`.

    With u = (E_F / 0.1166 eV)^2, u^2 (n^2 + n0^2) = n^4 is quadratic in n^2:
    n^2 = u (u + sqrt(u^2 + 4 n0^2)) / 2.
    """
    u = (fermi / FERMI_LEVEL_UNIT).square()
    density = torch.sign(fermi) * (u * (u + (u.square() + 4 * (n0 / DENSITY_UNIT) ** 2).sqrt()) / 2).sqrt()
    return v_dirac + density * DENSITY_UNIT * ELEMENTARY_CHARGE / gate_capacitance(oxide_thickness)


def gate_exponent(fermi: Tensor, *, temperature: float = ROOM_TEMPERATURE) -> Tensor:
    """E_F / 4kT, a pure number: the gate multiplies a complete filament's conductance by exp(beta E_F / 4kT).

    Args:
        fermi: Fermi level, eV.
        temperature: kelvin, > 0.
    """
    return fermi / (4 * BOLTZMANN_EV * temperature)


def fermi_level_of_exponent(exponent: Tensor, *, temperature: float = ROOM_TEMPERATURE) -> Tensor:
    """E_F in eV of E_F / 4kT: the inverse of `gate_exponent`."""
    return exponent * (4 * BOLTZMANN_EV * temperature)


def conductance(x: Tensor, g_on: Tensor, *, g_off: float) -> Tensor:
    """G = G_off^(1-x) G_on^x in siemens, of a filament of completion `x` in [0, 1]."""
    return g_off * torch.exp(x * torch.log(g_on / g_off))


def completion(g: Tensor, g_on: Tensor, *, g_off: float) -> Tensor:
    """x = ln(G / G_off) / ln(G_on / G_off), the inverse of `conductance`, kept within [0, 1].

    A cell below G_off (zero included) has no filament: x = 0. Gradients stay finite there, and are zero.
    """
    return ((g / g_off).clamp_min(1.0).log() / torch.log(g_on / g_off)).clamp_max(1.0)


def current(g: Tensor, v: Tensor, *, r_series: float) -> Tensor:
    """I = V / (1/G + R_s) in amperes, written G V / (1 + G R_s) so that G = 0 is no exception."""
    return g * v / (1 + g * r_series)


def rates(
    x: Tensor,
    w: Tensor,
    v: Tensor,
    fermi: Tensor,
    *,
    v0: float,
    v_set0: float,
    ramp: float,
    eta: float,
    chi: float,
    k_w: float,
    tau_s: float,
    tau_l: float,
    tau_w: float,
    temperature: float = ROOM_TEMPERATURE,
) -> tuple[Tensor, Tensor]:
    """How fast filament and consolidation change, (dx/dt, dw/dt) in 1/s.

        V > 0:  r = k0 exp(eta E_F / V0) sinh(V / V0);  dx/dt = r (1 - x);  dw/dt = kw x (1 - w)
        V < 0:  r = k0 sinh(V / V0);                    dx/dt = r x;        dw/dt = r w
        always: dx/dt -= x / tau;  dw/dt -= w / tau_w;  tau = tau_s (tau_l / tau_s)^w exp(chi E_F / kT)
        k0 = ramp / (V0 cosh(V_set0 / V0))

    The deterministic part: the model's noise term on dx/dt has no published strength and is the caller's
    to add.

    Args:
        x, w: filament completion and its consolidation, in [0, 1].
        v: voltage across the cell, volts; beyond about 80 V0 the rates overflow float32.
        fermi: Fermi level, eV.
        v0: voltage scale of silver migration, volts, > 0.
        v_set0: set voltage at E_F = 0 in a ramp of `ramp` volts a second, volts.
        eta: gate sensitivity of the set voltage.
        chi: gate sensitivity of the filament's lifetime.
        k_w: consolidation rate, 1/s.
        tau_s, tau_l: lifetime of a fresh and of a consolidated filament, seconds.
        tau_w: lifetime of the consolidation, seconds.
        temperature: kelvin.
    """
    migration = ramp / (v0 * math.cosh(v_set0 / v0)) * torch.sinh(v / v0)
    lifetime = tau_s * (tau_l / tau_s) ** w * torch.exp(chi * fermi / (BOLTZMANN_EV * temperature))
    grow = torch.exp(eta * fermi / v0) * migration
    dx = torch.where(v > 0, grow * (1 - x), migration * x) - x / lifetime
    dw = torch.where(v > 0, k_w * x * (1 - w), migration * w) - w / tau_w
    return dx, dw


def retained(g: Tensor, seconds: float, lifetime: Tensor | float, *, g_off: float) -> Tensor:
    """Conductance in siemens left of `g` after `seconds`, of a filament x(t) = x(0) exp(-t / lifetime).

    G(t) = G_off (G / G_off)^exp(-t / lifetime) = G (G / G_off)^(exp(-t / lifetime) - 1). A cell at or below
    G_off has no filament to lose and keeps its conductance.

    Args:
        g: conductance at time 0, siemens, any shape.
        seconds: time since programming, >= 0.
        lifetime: retention time of each cell, seconds, broadcastable to `g`.
        g_off: conductance without a filament, siemens.
    """
    lost = torch.expm1(torch.as_tensor(-seconds / lifetime, dtype=g.dtype, device=g.device))
    return g * torch.exp((g / g_off).clamp_min(1.0).log() * lost)


def relative_read_noise(g: Tensor, *, g_min: float, g_max: float, at_min: float, at_max: float) -> Tensor:
    """Standard deviation of a read over its conductance, a pure number.

    `at_max` at g_max and `at_min` at g_min, linear in ln G between, constant outside.
    """
    depth = (g.clamp(g_min, g_max) / g_max).log() / math.log(g_min / g_max)
    return at_max + (at_min - at_max) * depth
