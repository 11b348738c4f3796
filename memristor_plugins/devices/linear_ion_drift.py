"""Linear ion drift as an array cell."""

from __future__ import annotations

from typing import Annotated

from memristor_plugins.devices._pulsed import (
    BoundSpread,
    CycleSpread,
    ReadNoise,
    ReadTime,
    Rounds,
    StepSpread,
    Tolerance,
    VerifyNoise,
)
from memristor_plugins.devices._transient_cell import HighestTarget, LowestTarget, PulseWidth, TransientCell
from memristor_plugins.devices.transient import _windows
from memristor_plugins.devices.transient.linear_ion_drift import STRUKOV, LinearIonDrift
from memristor_plugins.interfaces.parameter import Param


class LinearIonDriftCell(TransientCell):
    """Linear ion drift (HP) as an array cell: write-verified by pulses of two voltages, ohmic reads.

    The equations, their source and what they raise: `transient.LinearIonDrift`. The model has no threshold: every
    read moves a real cell a little, which is left out. R^2 is linear in time, so that near R_on conductance changes
    ten thousand times as fast as near R_off: pulses come in steps of 2^-14 of the nominal one. Voltages and spreads
    of the array are assumed.

    Raises:
        ConfigError: a voltage that does not move the state its way; targets out of reach; what the model raises.
    """

    resolution = 2**-14

    def __init__(
        self,
        *,
        r_on: Annotated[float, Param("resistance fully doped", unit="ohm", source=STRUKOV, gt=0)] = 100.0,
        r_off: Annotated[float, Param("resistance undoped", unit="ohm", source=STRUKOV, gt=0)] = 16e3,
        mobility: Annotated[float, Param("of dopants", unit="m^2/(V s)", source=STRUKOV, gt=0)] = 1e-14,
        thickness: Annotated[float, Param("of the film, D", unit="m", source=STRUKOV, gt=0)] = 10e-9,
        window: Annotated[_windows.Window, Param("slows x at its ends", source="see the class")] = "none",
        window_p: Annotated[int, Param("exponent of the window", source="assumed", ge=1)] = 1,
        window_j: Annotated[float, Param("scale of Prodromakis' window", source="assumed", gt=0)] = 1.0,
        x0: Annotated[float, Param("initial state", source="assumed", ge=0, le=1)] = 0.1,
        read_voltage: Annotated[float, Param("of a read", unit="V", source="assumed", gt=0)] = 0.1,
        v_set: Annotated[float, Param("pulse that raises the conductance", unit="V", source="assumed")] = 1.0,
        v_reset: Annotated[float, Param("pulse that lowers the conductance", unit="V", source="assumed")] = -1.0,
        set_width: PulseWidth = None,
        reset_width: PulseWidth = None,
        g_min: LowestTarget = None,
        g_max: HighestTarget = None,
        tolerance: Tolerance = 0.01,
        rounds: Rounds = 20,
        d2d_step: StepSpread = 0.1,
        d2d_bounds: BoundSpread = 0.0,
        c2c: CycleSpread = 0.005,
        verify_noise: VerifyNoise = 0.0,
        read_noise: ReadNoise = 0.01,
        read_time: ReadTime = 10e-9,
    ) -> None:
        model = LinearIonDrift(
            r_on=r_on, r_off=r_off, mobility=mobility, thickness=thickness, window=window,
            window_p=window_p, window_j=window_j, x0=x0, read_voltage=read_voltage,
        )  # fmt: skip
        self._set_model(
            model,
            v_set=v_set,
            v_reset=v_reset,
            set_width=set_width,
            reset_width=reset_width,
            g_min=g_min,
            g_max=g_max,
            tolerance=tolerance,
            rounds=rounds,
            verify_noise=verify_noise,
            read_noise=read_noise,
            read_time=read_time,
            d2d_step=d2d_step,
            d2d_bounds=d2d_bounds,
            c2c=c2c,
        )
