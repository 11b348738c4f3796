"""Cells that are not ohmic."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Annotated, Literal

import torch
from torch import Tensor

from memristor_plugins.errors import ConfigError
from memristor_plugins.interfaces.nonideality import Context, NonIdeality, Site
from memristor_plugins.interfaces.parameter import Param


class IV(NonIdeality):
    """I-V nonlinearity: the current of a cell is not proportional to its voltage.

        sinh           I = G V_r sinh(V / v0) / sinh(V_r / v0)
        polynomial     I = G V (1 + c3 V^2 + c5 V^4) / (1 + c3 V_r^2 + c5 V_r^4)
        poole_frenkel  I = G V exp(field (sqrt|V| - sqrt V_r))
        device         I = sum_j L_j(V) I(G, v_j), the device's own law at `terms` voltages

    V_r is the device's read voltage, at which a cell is verified: there I = G V_r in the first three, which are exact.
    L_j is the odd Lagrange polynomial through the Chebyshev points v_j = V_r cos((2j + 1) pi / (4 terms)), so `device`
    follows the odd part of the law: exact for an odd polynomial of degree 2 terms - 1; with 3 terms within 1e-4 of the
    full-scale current for sinh laws up to V_r = 2 v0 (tested). A word line's largest input is driven with V_r, which
    needs the range of a DAC.

    With `ir_drop` a layer adds up I = sum_r h(v_r) G_eff[r, c]: each term passes the wires as an ohmic current would.
    Measured against the circuit (`memristor_plugins.crossbar.solve_nonlinear` with `law`) on 128 x 128 cells uniform in
    0.1 to 20 uS at 1 ohm a segment and 100 ohm at source and sink, V_r = 0.1 V, half of the inputs zero, where wires
    take a quarter of the current: the mean error over the mean current is 0.12 % with the defaults, 0.63 % at V_r = v0,
    1.5 % at V_r = 2 v0, 0.05 % for the polynomial and 0.9 % for poole_frenkel; the largest over the largest 0.16, 0.86,
    2.4, 0.06 and 1.1 %.

    Raises:
        ConfigError: a polynomial that is not positive at the read voltage.
    """

    site = Site.CURRENT
    linear = False

    def __init__(
        self,
        model: Annotated[
            Literal["sinh", "polynomial", "poole_frenkel", "device"],
            Param("law of the current", source="see the class"),
        ] = "sinh",
        v0: Annotated[float, Param("voltage scale of sinh", unit="V", source="Stanford-PKU RRAM: 0.25 V", gt=0)] = 0.25,
        c3: Annotated[float, Param("cubic share", unit="V^-2", source="assumed")] = 1.0,
        c5: Annotated[float, Param("quintic share", unit="V^-4", source="assumed")] = 0.0,
        field: Annotated[float, Param("lowering of the barrier", unit="V^-1/2", source="assumed", ge=0)] = 1.0,
        terms: Annotated[int, Param("voltages at which the device's law is exact", source="numerics", ge=1, le=8)] = 3,
    ) -> None:
        own = {"sinh": ("v0",), "polynomial": ("c3", "c5"), "poole_frenkel": ("field",), "device": ("terms",)}
        given = {"v0": v0 != 0.25, "c3": c3 != 1.0, "c5": c5 != 0.0, "field": field != 1.0, "terms": terms != 3}
        for option in (name for name, changed in given.items() if changed and name not in own[model]):
            warnings.warn(f"nonidealities.iv.{option} has no effect with nonidealities.iv.model={model}", stacklevel=2)
        self.model, self.v0, self.c3, self.c5, self.field = model, v0, c3, c5, field
        self.terms = terms if model == "device" else 1

    def voltages(self, read_voltage: float) -> list[float]:
        """v_j, volts."""
        return [read_voltage * math.cos((2 * j + 1) * math.pi / (4 * self.terms)) for j in range(self.terms)]

    def law(self, context: Context) -> Callable[[Tensor, Tensor], Tensor]:
        """I(G, u) in amperes of cells `G` (siemens) at `u` volts, the law itself, for `solve_nonlinear`."""
        if self.model == "device":
            device, temperature = context.device, context.temperature
            return lambda g, u: device.current(g, u, temperature=temperature)
        return lambda g, u: g * self.inputs(u, context)[0]

    def apply(self, x: Tensor, state: None, context: Context) -> Tensor:
        """Conductances [terms, *x.shape] that the `inputs` multiply."""
        if self.model != "device":
            return x.unsqueeze(0)
        device = context.device
        currents = [
            device.current(x, x.new_tensor(v), temperature=context.temperature) / v
            for v in self.voltages(device.read_voltage)
        ]
        return torch.stack(currents)

    def inputs(self, v: Tensor, context: Context) -> Tensor:
        top = context.device.read_voltage
        if self.model == "sinh":
            return (v / self.v0).sinh().mul_(top / math.sinh(top / self.v0)).unsqueeze(0)
        if self.model == "polynomial":
            full = 1 + self.c3 * top**2 + self.c5 * top**4
            if full <= 0:
                raise ConfigError("nonidealities.iv.c3", f"makes the current at {top:g} V negative, got {self.c3:g}")
            square = v.square()
            return (v * (1 + square * (self.c3 + self.c5 * square)) / full).unsqueeze(0)
        if self.model == "poole_frenkel":
            return (v * (self.field * (v.abs().sqrt() - math.sqrt(top))).exp()).unsqueeze(0)
        points, square = self.voltages(top), v.square()
        found = []
        for one in points:
            basis = v.clone()
            for other in points:
                if other != one:
                    basis = basis * (square - other**2) / (one**2 - other**2)
            found.append(basis)
        return torch.stack(found)
