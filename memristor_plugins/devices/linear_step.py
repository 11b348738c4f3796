"""The linear-step synapse."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor

from memristor_plugins.devices import pulse_laws
from memristor_plugins.devices._pulsed import (
    BoundSpread,
    CycleSpread,
    PulsedDevice,
    ReadNoise,
    ReadTime,
    ReadVoltage,
    Rounds,
    StepSpread,
    Tolerance,
    VerifyNoise,
)
from memristor_plugins.interfaces.parameter import Param

TANG = "10.1109/IEDM.2018.8614551 (fit of aihwkit)"


class LinearStep(PulsedDevice):
    """Linear-step pulsed device: steps shrink linearly from bound to bound, up to hard bounds; write-verified.

        up:    w += 2 step_up (1 - slope_up w);    down:  w -= 2 step_down (1 + slope_down w);    |w| <= 1

    with w = 2 (G - lowest) / (highest - lowest) - 1. slope = 0 is a constant step, slope = 1 soft bounds. n
    pulses add a cycle-to-cycle deviation of c2c sqrt(n) of the range.

    Source of slopes and steps: lithium ECRAM, Tang et al., IEDM 2018, 10.1109/IEDM.2018.8614551, as fitted in
    aihwkit (dw_min 0.002 over a range of two). Conductances, voltages and spreads are assumed.

    Raises:
        ConfigError: bounds or targets out of order.
    """

    def __init__(
        self,
        *,
        lowest: Annotated[float, Param("lower bound", unit="S", source="assumed", ge=0)] = 1e-6,
        highest: Annotated[float, Param("upper bound", unit="S", source="assumed", gt=0)] = 21e-6,
        step_up: Annotated[float, Param("pulse up in the middle, over the range", source=TANG, gt=0, lt=0.5)] = 0.001,
        step_down: Annotated[
            float, Param("pulse down in the middle, over the range", source=TANG, gt=0, lt=0.5)
        ] = 0.001,
        slope_up: Annotated[float, Param("loss of a pulse up at the bound", source=TANG, ge=0, le=1)] = 0.1153,
        slope_down: Annotated[float, Param("loss of a pulse down at the bound", source=TANG, ge=0, le=1)] = 0.5085,
        c2c: CycleSpread = 0.0003,
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
        self.laws = {True: (step_up, slope_up), False: (step_down, slope_down)}
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

    def progress(self, pulses: Tensor, *, up: bool) -> Tensor:
        return pulse_laws.linear_step(pulses, *self.laws[up])

    def pulses_at(self, share: Tensor, *, up: bool) -> Tensor:
        return pulse_laws.linear_step_inverse(share, *self.laws[up])
