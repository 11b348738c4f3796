"""The power-step synapse."""

from __future__ import annotations

from typing import Annotated

from memristor_plugins.devices import pulse_laws
from memristor_plugins.devices._pulsed import (
    BoundSpread,
    CycleSpread,
    ReadNoise,
    ReadTime,
    ReadVoltage,
    Rounds,
    StepSpread,
    Tolerance,
    VerifyNoise,
)
from memristor_plugins.devices._tabulated_law import TabulatedLaw
from memristor_plugins.interfaces.parameter import Param


class PowStep(TabulatedLaw):
    """Power-step pulsed device: steps fall as a power of the distance from the bound; write-verified.

        up:    u += step_up (1 - u)^gamma_up;    down:  u -= step_down u^gamma_down

    with u = (G - lowest) / (highest - lowest); gamma = 1 is soft bounds. The curves are the exact recurrence of a
    nominal cell, linear between whole pulses. n pulses add a cycle-to-cycle deviation of c2c sqrt(n) of the range.

    Source of the law: Fusi and Abbott, 10.1038/nn1859; Frascaroli et al., Sci. Rep. 8, 7178 (2018),
    10.1038/s41598-018-25376-x. Every number is assumed.

    Raises:
        ConfigError: bounds or targets out of order.
    """

    def __init__(
        self,
        *,
        lowest: Annotated[float, Param("lower bound", unit="S", source="assumed", ge=0)] = 1e-6,
        highest: Annotated[float, Param("upper bound", unit="S", source="assumed", gt=0)] = 21e-6,
        step_up: Annotated[
            float, Param("pulse up at the lower bound, over the range", source="assumed", gt=0, lt=1)
        ] = 0.02,
        step_down: Annotated[
            float, Param("pulse down at the upper bound, over the range", source="assumed", gt=0, lt=1)
        ] = 0.02,
        gamma_up: Annotated[float, Param("power of a pulse up", source="assumed", ge=0, le=5)] = 1.5,
        gamma_down: Annotated[float, Param("power of a pulse down", source="assumed", ge=0, le=5)] = 1.5,
        c2c: CycleSpread = 0.003,
        d2d_step: StepSpread = 0.1,
        d2d_bounds: BoundSpread = 0.05,
        voltage_up: Annotated[float, Param("amplitude of a pulse up", unit="V", source="assumed")] = 1.5,
        voltage_down: Annotated[float, Param("amplitude of a pulse down", unit="V", source="assumed")] = -1.5,
        width_up: Annotated[float, Param("length of a pulse up", unit="s", source="assumed", gt=0)] = 100e-9,
        width_down: Annotated[float, Param("length of a pulse down", unit="s", source="assumed", gt=0)] = 100e-9,
        g_min: Annotated[float, Param("lowest target conductance", unit="S", source="assumed", ge=0)] = 3e-6,
        g_max: Annotated[float, Param("highest target conductance", unit="S", source="assumed", gt=0)] = 18e-6,
        tolerance: Tolerance = 0.02,
        rounds: Rounds = 20,
        verify_noise: VerifyNoise = 0.0,
        read_noise: ReadNoise = 0.01,
        read_voltage: ReadVoltage = 0.1,
        read_time: ReadTime = 10e-9,
    ) -> None:
        self.bounds = (lowest, highest)
        self._set_laws(
            lambda u: pulse_laws.pow_step(u, step=step_up, exponent=gamma_up),
            lambda u: pulse_laws.pow_step(u, step=step_down, exponent=gamma_down),
        )
        self.c2c, self.d2d_step, self.d2d_bounds = c2c, d2d_step, d2d_bounds
        self.pulse_voltage, self.pulse_width = (voltage_up, voltage_down), (width_up, width_down)
        self.read_voltage, self.read_time = read_voltage, read_time
        self._set_writing(
            g_min=g_min,
            g_max=g_max,
            tolerance=tolerance,
            rounds=rounds,
            verify_noise=verify_noise,
            read_noise=read_noise,
        )
