"""The exponential-step synapse."""

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

GONG = "10.1038/s41467-018-04485-1 (fit of aihwkit)"


class ExpStep(TabulatedLaw):
    """Exponential-step pulsed device: steps fall exponentially along the range, up to hard bounds; write-verified.

        up:    w += 2 step_up max(1 - A_up exp(gamma_up z), 0)
        down:  w -= 2 step_down max(1 - A_down exp(-gamma_down z), 0)
        z = a w + b,  w = 2 (G - lowest) / (highest - lowest) - 1,  |w| <= 1

    The curves are the exact recurrence of a nominal cell, linear between whole pulses. n pulses add a
    cycle-to-cycle deviation of c2c sqrt(n) of the range.

    Source: HfO2 RRAM of Gong et al., Nat. Commun. 9, 2102 (2018), 10.1038/s41467-018-04485-1, as fitted in
    aihwkit (dw_min 0.00135, up_down 0.259, dw_min_std 5). Conductances, voltages and bounds are assumed.

    Raises:
        ConfigError: bounds or targets out of order.
    """

    def __init__(
        self,
        *,
        lowest: Annotated[float, Param("lower bound", unit="S", source="assumed", ge=0)] = 1e-6,
        highest: Annotated[float, Param("upper bound", unit="S", source="assumed", gt=0)] = 21e-6,
        step_up: Annotated[float, Param("scale of a pulse up, over the range", source=GONG, gt=0, lt=1)] = 0.00085,
        step_down: Annotated[float, Param("scale of a pulse down, over the range", source=GONG, gt=0, lt=1)] = 0.000675,
        amplitude_up: Annotated[float, Param("A of a pulse up; negative: steps fall", source=GONG, lt=1)] = -1.18445,
        amplitude_down: Annotated[float, Param("A of a pulse down", source=GONG, lt=1)] = -0.081404,
        gamma_up: Annotated[float, Param("exponent of a pulse up", source=GONG)] = 5.0,
        gamma_down: Annotated[float, Param("exponent of a pulse down", source=GONG)] = 5.0,
        a: Annotated[float, Param("slope of z", source=GONG)] = -0.5,
        b: Annotated[float, Param("offset of z", source=GONG)] = -0.5,
        c2c: CycleSpread = 0.0034,
        d2d_step: StepSpread = 0.2,
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
        # Depression mirrors the range: w is then -w, and z = -(a w - b).
        self._set_laws(
            lambda u: pulse_laws.exp_step(u, step=step_up, amplitude=amplitude_up, exponent=gamma_up, a=a, b=b),
            lambda u: pulse_laws.exp_step(u, step=step_down, amplitude=amplitude_down, exponent=gamma_down, a=a, b=-b),
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
