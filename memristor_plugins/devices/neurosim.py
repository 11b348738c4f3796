"""NeuroSim's analog synapse."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor

from memristor_plugins.devices import pulse_laws
from memristor_plugins.devices._pulsed import (
    BoundSpread,
    CycleSpread,
    PulsedDevice,
    ReadNoise,
    Rounds,
    StepSpread,
    Tolerance,
    VerifyNoise,
)
from memristor_plugins.interfaces.parameter import Param

CHEN = "10.1109/TCAD.2018.2789723, Ag:a-Si of 10.1021/nl904092h"


class NeuroSim(PulsedDevice):
    """NeuroSim's pulsed device: exponential potentiation and depression with nonlinearity labels; write-verified.

        up:    G = G_low  + B (1 - exp(-P / A)),  B = (G_high - G_low) / (1 - exp(-P_max / A))
        down:  G = G_high - B (1 - exp(-P / A)),  P pulses from the upper bound; A and P_max each direction's own

    A follows from the label NL = 10.10 max |f(p) - p| on normalised axes (NL = 1: A = 1.2517 P_max), 0 for a
    straight line. n pulses add a cycle-to-cycle deviation of c2c (G_high - G_low) sqrt(n). Both directions move
    fastest at their start; NeuroSim writes labels of depression with a minus sign.

    Source: Chen, Peng and Yu, IEEE TCAD 37, 3067 (2018), 10.1109/TCAD.2018.2789723. Defaults: the Ag:a-Si
    synapse of Jo et al., Nano Lett. 10, 1297 (2010), 10.1021/nl904092h, as in MLP+NeuroSim 3.0.

    Raises:
        ConfigError: bounds or targets out of order.
    """

    def __init__(
        self,
        *,
        lowest: Annotated[float, Param("lowest conductance", unit="S", source=CHEN, gt=0)] = 3.0769e-9,
        highest: Annotated[float, Param("highest conductance", unit="S", source=CHEN, gt=0)] = 38.462e-9,
        pulses_up: Annotated[float, Param("pulses that cross the range upwards", source=CHEN, ge=1)] = 97,
        pulses_down: Annotated[float, Param("pulses that cross it downwards", source=CHEN, ge=1)] = 100,
        nonlinearity_up: Annotated[float, Param("label NL of potentiation", source=CHEN, ge=0, le=9)] = 2.4,
        nonlinearity_down: Annotated[float, Param("label NL of depression, its size", source=CHEN, ge=0, le=9)] = 4.88,
        c2c: CycleSpread = 0.035,
        d2d_step: StepSpread = 0.0,
        d2d_bounds: BoundSpread = 0.0,
        voltage_up: Annotated[float, Param("amplitude of a pulse up", unit="V", source=CHEN)] = 3.2,
        voltage_down: Annotated[float, Param("amplitude of a pulse down", unit="V", source=CHEN)] = -2.8,
        width_up: Annotated[float, Param("length of a pulse up", unit="s", source=CHEN, gt=0)] = 300e-6,
        width_down: Annotated[float, Param("length of a pulse down", unit="s", source=CHEN, gt=0)] = 300e-6,
        g_min: Annotated[
            float | None, Param("lowest target; null: the lowest conductance", unit="S", source="assumed", gt=0)
        ] = None,
        g_max: Annotated[
            float | None, Param("highest target; null: the highest conductance", unit="S", source="assumed", gt=0)
        ] = None,
        tolerance: Tolerance = 0.02,
        rounds: Rounds = 20,
        verify_noise: VerifyNoise = 0.0,
        read_noise: ReadNoise = 0.0,
        read_voltage: Annotated[float, Param("read voltage of the largest input", unit="V", source=CHEN, gt=0)] = 0.5,
        read_time: Annotated[float, Param("duration of one read", unit="s", source=CHEN, gt=0)] = 5e-9,
    ) -> None:
        self.bounds = (lowest, highest)
        self.pulses = {True: float(pulses_up), False: float(pulses_down)}
        self.curvatures = {
            True: pulse_laws.curvature(nonlinearity_up),
            False: pulse_laws.curvature(nonlinearity_down),
        }
        self.c2c, self.d2d_step, self.d2d_bounds = c2c, d2d_step, d2d_bounds
        self.pulse_voltage, self.pulse_width = (voltage_up, voltage_down), (width_up, width_down)
        self.read_voltage, self.read_time = read_voltage, read_time
        self._set_writing(
            g_min=lowest if g_min is None else g_min,
            g_max=highest if g_max is None else g_max,
            tolerance=tolerance,
            rounds=rounds,
            verify_noise=verify_noise,
            read_noise=read_noise,
        )

    def progress(self, pulses: Tensor, *, up: bool) -> Tensor:
        return pulse_laws.exponential(pulses / self.pulses[up], self.curvatures[up])

    def pulses_at(self, share: Tensor, *, up: bool) -> Tensor:
        return pulse_laws.exponential_inverse(share, self.curvatures[up]) * self.pulses[up]
