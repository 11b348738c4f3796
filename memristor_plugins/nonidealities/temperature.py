"""Another temperature than room's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar

from torch import Tensor

from memristor_plugins.constants import BOLTZMANN_EV
from memristor_plugins.errors import ConfigError
from memristor_plugins.interfaces.nonideality import Context, NonIdeality, Site
from memristor_plugins.interfaces.parameter import Param

UNKNOWN = "assumed: no change; depends on the device"


class Temperature(NonIdeality):
    """Temperature: all cells are written, stored and read at `kelvin`; devices and effects then see it.

        conductance   G(T) = G exp(-E_c / k (1/T - 1/T_0)) / (1 + tcr (T - T_0))
        ageing        t -> t exp(E_a / k (1/T_0 - 1/T))

    T_0 = `reference` is where the device's numbers hold. The first factor is that of activated conduction, the second
    that of a metallic filament (resistance rises linearly). They act on what a cell holds at the time of the read, a
    stuck cell included. Ageing runs faster by one Arrhenius factor for everything that a time has an effect on: drift,
    retention, relaxation. Both activation energies and tcr are 0 unless given, which leaves what devices themselves
    make of the temperature; a device whose `current` knows the temperature needs no E_c here.

    At kelvin = reference nothing is changed.

    Raises:
        ConfigError: 1 + tcr (T - T_0) is not positive: no linear law holds there.
    """

    site = Site.FLUCTUATION
    neutral: ClassVar[Mapping[str, Any]] = {"kelvin": 300.0}

    def __init__(
        self,
        kelvin: Annotated[float, Param("temperature", unit="K", source="headline stack (assumed)", gt=0)] = 300.0,
        e_conduction: Annotated[float, Param("activation energy of conduction", unit="eV", source=UNKNOWN)] = 0.0,
        tcr: Annotated[float, Param("growth of resistance over itself", unit="1/K", source=UNKNOWN)] = 0.0,
        e_ageing: Annotated[float, Param("activation energy of ageing", unit="eV", source=UNKNOWN, ge=0)] = 0.0,
        reference: Annotated[
            float, Param("temperature of the device's own numbers", unit="K", source="physics: T = 300 K", gt=0)
        ] = 300.0,
    ) -> None:
        rise = kelvin - reference
        if 1 + tcr * rise <= 0:
            raise ConfigError(
                "nonidealities.temperature.tcr",
                f"{tcr:g} 1/K over {rise:g} K makes resistance negative; it must be {'>' if rise > 0 else '<'} "
                f"{-1 / rise:.3g}",
            )
        self.kelvin, self.reference = kelvin, reference
        colder = (1 / reference - 1 / kelvin) / BOLTZMANN_EV
        self.factor = math.exp(e_conduction * colder) / (1 + tcr * rise)
        self.acceleration = math.exp(e_ageing * colder)

    def surroundings(self, context: Context) -> Context:
        return replace(context, temperature=self.kelvin, seconds=context.seconds * self.acceleration)

    def apply(self, x: Tensor, state: Any, context: Context) -> Tensor:
        return x * self.factor
