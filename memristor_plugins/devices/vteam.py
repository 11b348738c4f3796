"""VTEAM as an array cell."""

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
from memristor_plugins.devices.transient.vteam import KVATINSKY, VTEAM
from memristor_plugins.interfaces.parameter import Param


class VTEAMCell(TransientCell):
    """VTEAM memristor as an array cell: write-verified by pulses of two voltages, read below both thresholds.

    The equations, their source and what they raise: `transient.VTEAM`. Here r_off and r_on end the range. Voltages
    and spreads of the array are assumed.

    Raises:
        ConfigError: a voltage that does not move the state its way; targets out of reach; what the model raises.
    """

    def __init__(
        self,
        *,
        k_off: Annotated[float, Param("speed of a reset", unit="m/s", source=KVATINSKY, gt=0)] = 5e-4,
        k_on: Annotated[float, Param("speed of a set", unit="m/s", source=KVATINSKY, lt=0)] = -10.0,
        a_off: Annotated[float, Param("exponent of a reset", source=KVATINSKY, ge=1)] = 1.0,
        a_on: Annotated[float, Param("exponent of a set", source=KVATINSKY, ge=1)] = 3.0,
        v_off: Annotated[float, Param("threshold of a reset", unit="V", source=KVATINSKY, gt=0)] = 0.02,
        v_on: Annotated[float, Param("threshold of a set", unit="V", source=KVATINSKY, lt=0)] = -0.2,
        r_on: Annotated[float, Param("lowest resistance", unit="ohm", source=KVATINSKY, gt=0)] = 50.0,
        r_off: Annotated[float, Param("highest resistance", unit="ohm", source=KVATINSKY, gt=0)] = 1000.0,
        thickness: Annotated[float, Param("range of the state, D", unit="m", source=KVATINSKY, gt=0)] = 3e-9,
        window: Annotated[_windows.Window, Param("slows x at its ends", source="see the class")] = "none",
        window_p: Annotated[int, Param("exponent of the window", source="assumed", ge=1)] = 1,
        window_j: Annotated[float, Param("scale of Prodromakis' window", source="assumed", gt=0)] = 1.0,
        x0: Annotated[float, Param("initial state", source="assumed", ge=0, le=1)] = 0.5,
        read_voltage: Annotated[float, Param("of a read, below both thresholds", unit="V", source="assumed")] = 0.01,
        v_set: Annotated[float, Param("pulse that raises the conductance", unit="V", source="assumed")] = -0.25,
        v_reset: Annotated[float, Param("pulse that lowers the conductance", unit="V", source="assumed")] = 0.1,
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
        model = VTEAM(
            k_off=k_off, k_on=k_on, a_off=a_off, a_on=a_on, v_off=v_off, v_on=v_on, r_on=r_on,
            r_off=r_off, thickness=thickness, window=window, window_p=window_p, window_j=window_j,
            x0=x0, read_voltage=read_voltage,
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
