"""The headline device: the gated Ag / CrPS4 / graphene memristor as an array cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, ClassVar

import torch
from torch import Generator, Tensor

from memristor_plugins.devices import adaptive_2d_physics as physics
from memristor_plugins.errors import ConfigError, SimulationError
from memristor_plugins.interfaces.device import Cells, CellState, Device, standard_normal
from memristor_plugins.interfaces.normals import normals
from memristor_plugins.interfaces.parameter import Param

HEADLINE = "headline stack (assumed)"
MODEL = "behavioural model (assumed)"


class Adaptive2D(Device):
    """Adaptive 2D memristor Ag / CrPS4 / graphene, three terminals: a gate scales what the cell stores.

    Stored conductances, g_min and g_max are those at the gate voltage of the largest gain (+2 V). A cell's
    filament completion follows from what it holds, x = ln(g / G_off) / ln(G_on(+V) / G_off), and the gate
    scales it by

        gain(V_g) = [G_on(V_g) / G_on(+V)]^x,   G_on(V_g) = G_on0 exp(beta E_F(V_g) / 4kT)

    at 300 K: 0.27 / 0.33 / 0.45 at -2 V for cells at 20 / 4 / 0.4 uS. `nominal_gain` is that of x = 1.

    Two constants a cell, lognormal: `beta` (its sign is kept, so no gain exceeds 1 within the gate range) and
    `reach`, the highest conductance that it can be written to. A write leaves min(target, reach) plus
    Gaussian error, clipped at zero. The lower end of the range has no spread: g_min lies far above G_off,
    which every cell reaches. Write-verify hides every other variation between cells.

    Programming error and read noise do not depend on temperature: no publication says how they would.

    Source of the device: Hong et al., Adv. Funct. Mater. 35(17) 2422321, 10.1002/adfm.202422321 (abstract).
    No voltage, range or noise of it is public: every default is assumed, the signs of beta, eta and chi too.

    Raises:
        ConfigError: not G_off < g_min < g_max <= G_on at the gate voltage of the largest gain; or beta = 0,
            a gate without effect; or tau_l < tau_s.
    """

    gated = True
    includes: ClassVar[Mapping[str, str]] = {"write_verify": "programming", "d2d": "programming", "retention": "drift"}
    read_correlation = "multiply"

    def __init__(
        self,
        *,
        g_min: Annotated[float, Param("lowest target conductance", unit="S", source=HEADLINE, gt=0)] = 0.1e-6,
        g_max: Annotated[float, Param("highest target conductance", unit="S", source=HEADLINE, gt=0)] = 20e-6,
        read_voltage: Annotated[
            float, Param("read voltage of the largest input", unit="V", source=HEADLINE, gt=0)
        ] = 0.1,
        read_time: Annotated[float, Param("duration of one read", unit="s", source=HEADLINE, gt=0)] = 10e-9,
        gate_limit: Annotated[float, Param("the gate reaches +- this", unit="V", source=HEADLINE, gt=0)] = 2.0,
        programming_std: Annotated[
            float, Param("std of the error after write-verify, over g_max", source=HEADLINE, ge=0, le=1)
        ] = 0.02,
        d2d_range: Annotated[
            float, Param("lognormal sigma of the highest reachable conductance", source=HEADLINE, ge=0, le=1)
        ] = 0.1,
        d2d_beta: Annotated[float, Param("lognormal sigma of beta", source=HEADLINE, ge=0, le=1)] = 0.05,
        read_noise_on: Annotated[float, Param("std of a read at g_max, over G", source=HEADLINE, ge=0, le=1)] = 0.01,
        read_noise_off: Annotated[float, Param("std of a read at g_min, over G", source=HEADLINE, ge=0, le=1)] = 0.05,
        retention_tau: Annotated[
            float, Param("median retention time of a verified cell", unit="s", source=HEADLINE, gt=0)
        ] = 1e7,
        retention_sigma: Annotated[float, Param("lognormal sigma of the retention time", source=HEADLINE, ge=0)] = 0.5,
        g_off: Annotated[float, Param("conductance without a filament", unit="S", source=MODEL, gt=0)] = 1e-9,
        g_on0: Annotated[
            float, Param("conductance of a complete filament at E_F = 0", unit="S", source=MODEL, gt=0)
        ] = 20e-6,
        beta: Annotated[float, Param("gate sensitivity of the conductance; either sign", source=MODEL)] = 0.3,
        oxide_thickness: Annotated[float, Param("gate oxide, SiO2 equivalent", unit="m", source=MODEL, gt=0)] = 10e-9,
        v_dirac: Annotated[float, Param("gate voltage of charge neutrality", unit="V", source=MODEL)] = 0.0,
        n0: Annotated[float, Param("residual carrier density of graphene", unit="m^-2", source=MODEL, gt=0)] = 2e15,
        r_series: Annotated[
            float, Param("series resistance, the same at all gate voltages", unit="ohm", source=MODEL, ge=0)
        ] = 0.0,
        v0: Annotated[float, Param("voltage scale of silver migration", unit="V", source=MODEL, gt=0)] = 0.04,
        v_set0: Annotated[float, Param("set voltage at E_F = 0 in the ramp", unit="V", source=MODEL, gt=0)] = 0.4,
        ramp: Annotated[float, Param("ramp rate of which v_set0 is told", unit="V/s", source=MODEL, gt=0)] = 1.0,
        eta: Annotated[float, Param("gate sensitivity of the set voltage; either sign", source=MODEL)] = 0.6,
        chi: Annotated[float, Param("gate sensitivity of the filament's lifetime; either sign", source=MODEL)] = 0.15,
        k_w: Annotated[float, Param("consolidation rate", unit="1/s", source=MODEL, ge=0)] = 5.0,
        tau_s: Annotated[float, Param("lifetime of a fresh filament", unit="s", source=MODEL, gt=0)] = 0.05,
        tau_l: Annotated[float, Param("lifetime of a consolidated filament", unit="s", source=MODEL, gt=0)] = 1e4,
        tau_w: Annotated[float, Param("lifetime of the consolidation", unit="s", source=MODEL, gt=0)] = 1e4,
    ) -> None:
        if beta == 0:
            raise ConfigError(
                "device.beta", "must not be 0, where the gate has no effect; choose a device without a gate"
            )
        if not g_off < g_min:
            raise ConfigError("device.g_min", f"must be above g_off = {g_off:g} S, got {g_min:g} S")
        if not g_min < g_max:
            raise ConfigError("device.g_min", f"must be below g_max = {g_max:g} S, got {g_min:g} S")
        if not tau_s <= tau_l:
            raise ConfigError("device.tau_l", f"must be at least tau_s = {tau_s:g} s, got {tau_l:g} s")
        self.g_min, self.g_max, self.g_off, self.g_on0 = g_min, g_max, g_off, g_on0
        self.read_voltage, self.read_time, self.r_series = read_voltage, read_time, r_series
        self.gate_limit, self.programming_std = gate_limit, programming_std
        self.d2d_range, self.d2d_beta = d2d_range, d2d_beta
        self.read_noise_on, self.read_noise_off = read_noise_on, read_noise_off
        self.retention_tau, self.retention_sigma = retention_tau, retention_sigma
        self.beta, self.oxide_thickness, self.v_dirac, self.n0 = beta, oxide_thickness, v_dirac, n0
        self.v0, self.v_set0, self.ramp, self.eta, self.chi = v0, v_set0, ramp, eta, chi
        self.k_w, self.tau_s, self.tau_l, self.tau_w = k_w, tau_s, tau_l, tau_w

        self.gate_range = (-gate_limit, gate_limit) if beta > 0 else (gate_limit, -gate_limit)
        g_on_top = float(self.on_conductance(torch.tensor(self.gate_range[1], dtype=torch.float64)))
        if g_max > g_on_top:
            raise ConfigError(
                "device.g_max",
                f"must be at most {g_on_top:.3g} S, a complete filament's at {self.gate_range[1]:+g} V, "
                f"got {g_max:g} S",
            )

    # --- the array cell -------------------------------------------------------------------------------------

    def fabricate(self, shape: torch.Size | tuple[int, ...], *, generator: Generator) -> Cells:
        """Per-cell constants of `shape` cells, float32 on the generator's device, about the nominal cell's.

        `reach` = g_max exp(d2d_range z), siemens; `beta` = beta exp(d2d_beta z'), z and z' standard normal.
        Without spread a constant is one number for all cells and nothing is drawn for it.
        """
        return Cells(
            {
                "reach": _lognormal(self.g_max, self.d2d_range, shape, generator),
                "beta": _lognormal(self.beta, self.d2d_beta, shape, generator),
            }
        )

    def program(
        self, target: Tensor, *, generator: Generator, cells: Cells | None = None, temperature: float = 300.0
    ) -> CellState:
        """Write and verify `target` (siemens at the largest-gain voltage, any shape).

        g = max(min(target, reach) + programming_std g_max z, 0), z standard normal. The gradient towards
        `target` is 1 where neither bound holds and 0 where one does. `temperature` has no effect.

        Draws, in this order: cells where None, programming errors, ageing normals where retention has a
        spread. Pass `cells` to write the same cells again: then nothing is fabricated.
        """
        if cells is None:
            cells = _beside(self.fabricate(target.shape, generator=generator), target)
        reach = cells["reach"].to(target)
        # The gradient of `minimum` is one half where a target equals the reach, as it does at g_max without spread;
        # where nobody asks for it, it is the faster one. In place for the same reason: training writes every cell at
        # every step.
        tracked = target.requires_grad and torch.is_grad_enabled()
        g = torch.where(target > reach, reach, target) if tracked else torch.minimum(target, reach)
        if self.programming_std > 0:
            g = g.add_(standard_normal(target, generator), alpha=self.programming_std * self.g_max)
        ageing = standard_normal(target, generator) if self.retention_sigma > 0 else None
        return CellState(g.clamp_min_(0.0), target, cells, ageing)

    def hold(self, target: Tensor, *, generator: Generator) -> CellState:
        """Cells that hold `target` exactly, beyond their reach too: no programming error is simulated."""
        cells = _beside(self.fabricate(target.shape, generator=generator), target)
        ageing = standard_normal(target, generator) if self.retention_sigma > 0 else None
        return CellState(target, target, cells, ageing)

    def settled(self, state: CellState, *, gated: bool) -> CellState:
        """Reach and beta are for the write and for the gate."""
        return state if gated else replace(state, cells=Cells())

    def conductance(self, state: CellState, seconds: float) -> Tensor:
        """G(t) = G_off (G / G_off)^exp(-t / tau) in siemens: the filament decays, G falls towards G_off.

        tau = retention_tau exp(retention_sigma z) of each cell, z = `state.ageing` (nominal where None).
        After a day the median cell falls from 20 to 18.4 uS and the mean over cells to 18.2 uS.

        Raises:
            SimulationError: `seconds` is negative.
        """
        if not seconds >= 0:
            raise SimulationError(f"a cell has no conductance {seconds:g} s after programming; seconds must be >= 0")
        if seconds == 0:
            return state.g
        lifetime: Tensor | float = self.retention_tau
        if state.ageing is not None:
            lifetime = self.retention_tau * torch.exp(self.retention_sigma * state.ageing)
        return physics.retained(state.g, seconds, lifetime, g_off=self.g_off)

    def read_std(self, g: Tensor, state: CellState, seconds: float) -> Tensor:
        """Standard deviation in siemens of one read: read_noise_on G at g_max, read_noise_off G at g_min.

        The ratio to G is linear in ln G between the two and constant outside. The same at all times.
        """
        return g * physics.relative_read_noise(
            g, g_min=self.g_min, g_max=self.g_max, at_min=self.read_noise_off, at_max=self.read_noise_on
        )

    def current(self, g: Tensor, v: Tensor, *, v_gate: Tensor | None = None, temperature: float = 300.0) -> Tensor:
        """I = V / (1/G + R_s) in amperes; `g` is the conductance under the gate voltage, `gain` included.

        R_s is the same at all gate voltages and temperatures, so neither has an effect of its own. Valid
        below the set and reset voltages, where a read leaves the filament as it is.
        """
        return physics.current(g, v, r_series=self.r_series)

    # --- the gate -------------------------------------------------------------------------------------------

    def gain(self, state: CellState, v_gate: Tensor) -> Tensor:
        """[G_on(V_g) / G_on(+V)]^x of each cell, with its own x (from `state.g`), beta and reach.

        In (0, 1] within the gate range. `v_gate` (volts) broadcasts against the cells. A cell that reaches
        higher than g_max has a filament of that much higher G_on.
        """
        g = state.g
        beta, reach = state.cells["beta"].to(g), state.cells["reach"].to(g)
        g_on = self.g_on0 / self.g_max * reach * torch.exp(beta * self._exponent_top(g))
        sensitivity = beta * physics.completion(g, g_on, g_off=self.g_off)
        return torch.exp(sensitivity * self._exponent_change(v_gate.to(g)))

    def nominal_gain(self, v_gate: Tensor) -> Tensor:
        """G_on(V_g) / G_on(+V) of a nominal cell, x = 1; `v_gate` in volts, any shape."""
        return torch.exp(self.beta * self._exponent_change(v_gate))

    def gate_voltage(self, gain: Tensor) -> Tensor:
        """Gate voltage in volts at which `nominal_gain` is `gain` (> 0, any shape), in closed form.

        E_F = E_F(+V) + 4kT ln(gain) / beta, then graphene's dispersion backwards. Gains outside [gain_min, 1]
        give voltages outside the gate range.
        """
        fermi = physics.fermi_level_of_exponent(self._exponent_top(gain) + gain.log() / self.beta)
        return physics.gate_voltage(fermi, oxide_thickness=self.oxide_thickness, v_dirac=self.v_dirac, n0=self.n0)

    def _exponent_change(self, v_gate: Tensor) -> Tensor:
        """E_F / 4kT under `v_gate` volts, less that at the largest-gain voltage: exactly 0 there."""
        return physics.gate_exponent(self.fermi_level(v_gate)) - self._exponent_top(v_gate)

    def _exponent_top(self, like: Tensor) -> Tensor:
        """E_F / 4kT at the largest-gain voltage, rounded as a tensor `like` is."""
        top = torch.full((), self.gate_range[1], dtype=like.dtype, device=like.device)
        return physics.gate_exponent(self.fermi_level(top))

    # --- the filament ---------------------------------------------------------------------------------------

    def fermi_level(self, v_gate: Tensor) -> Tensor:
        """Graphene's Fermi level in eV under `v_gate` volts."""
        return physics.fermi_level(v_gate, oxide_thickness=self.oxide_thickness, v_dirac=self.v_dirac, n0=self.n0)

    def on_conductance(self, v_gate: Tensor) -> Tensor:
        """Conductance in siemens of a nominal cell's complete filament (x = 1) under `v_gate` volts."""
        return self.g_on0 * torch.exp(self.beta * physics.gate_exponent(self.fermi_level(v_gate)))

    def rates(self, x: Tensor, w: Tensor, v: Tensor, v_gate: Tensor) -> tuple[Tensor, Tensor]:
        """(dx/dt, dw/dt) in 1/s of a nominal cell at `v` and `v_gate` volts: `adaptive_2d_physics.rates`.

        Set, reset and volatile decay: what happens during a write, and to a filament that was never
        consolidated.
        """
        return physics.rates(
            x,
            w,
            v,
            self.fermi_level(v_gate),
            v0=self.v0,
            v_set0=self.v_set0,
            ramp=self.ramp,
            eta=self.eta,
            chi=self.chi,
            k_w=self.k_w,
            tau_s=self.tau_s,
            tau_l=self.tau_l,
            tau_w=self.tau_w,
        )


def _lognormal(median: float, sigma: float, shape: torch.Size | tuple[int, ...], generator: Generator) -> Tensor:
    """median * exp(sigma z) of `shape`, float32; without spread a view of one number, nothing drawn."""
    if sigma == 0:
        return torch.tensor(median, device=generator.device).expand(shape)
    return normals(shape, generator).mul_(sigma).exp_().mul_(median)


def _beside(cells: Cells, like: Tensor) -> Cells:
    """The cells on the device of `like`: a chip's generator may live on the CPU and its conductances not."""
    return cells.map(lambda constant: constant.to(like.device))
