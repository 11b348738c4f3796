"""The Yakopcic memristor as an array cell."""

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
from memristor_plugins.devices.transient.yakopcic import YAKOPCIC, Yakopcic
from memristor_plugins.interfaces.parameter import Param


class YakopcicCell(TransientCell):
    """Yakopcic memristor as an array cell: write-verified by pulses of two voltages; current ~ sinh(b v).

    The equations, their source and what they raise: `transient.Yakopcic`. Voltages and spreads of the array are
    assumed.

    Raises:
        ConfigError: a voltage that does not move the state its way; targets out of reach; what the model raises.
    """

    def __init__(
        self,
        *,
        a: Annotated[float, Param("amplitude of the current, v >= 0", unit="A", source=YAKOPCIC, gt=0)] = 0.17,
        a_negative: Annotated[float, Param("the same, v < 0", unit="A", source=YAKOPCIC, gt=0)] = 0.17,
        b: Annotated[float, Param("curvature of the current", unit="1/V", source=YAKOPCIC, gt=0)] = 0.05,
        v_p: Annotated[float, Param("threshold of a set", unit="V", source=YAKOPCIC, ge=0)] = 0.16,
        v_n: Annotated[float, Param("threshold of a reset, its size", unit="V", source=YAKOPCIC, ge=0)] = 0.15,
        rate_p: Annotated[float, Param("A_p, speed of a set", unit="1/s", source=YAKOPCIC, gt=0)] = 4000.0,
        rate_n: Annotated[float, Param("A_n, speed of a reset", unit="1/s", source=YAKOPCIC, gt=0)] = 4000.0,
        x_p: Annotated[float, Param("where a set slows down", source=YAKOPCIC, ge=0, lt=1)] = 0.3,
        x_n: Annotated[float, Param("1 - x where a reset slows down", source=YAKOPCIC, ge=0, lt=1)] = 0.5,
        alpha_p: Annotated[float, Param("how much a set slows down", source=YAKOPCIC, ge=0)] = 1.0,
        alpha_n: Annotated[float, Param("how much a reset slows down", source=YAKOPCIC, ge=0)] = 5.0,
        x0: Annotated[float, Param("initial state", source=YAKOPCIC, ge=0, le=1)] = 0.11,
        read_voltage: Annotated[float, Param("of a read, below both thresholds", unit="V", source="assumed")] = 0.1,
        v_set: Annotated[float, Param("pulse that raises the conductance", unit="V", source="assumed")] = 0.3,
        v_reset: Annotated[float, Param("pulse that lowers the conductance", unit="V", source="assumed")] = -0.3,
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
        model = Yakopcic(
            a=a, a_negative=a_negative, b=b, v_p=v_p, v_n=v_n, rate_p=rate_p, rate_n=rate_n, x_p=x_p,
            x_n=x_n, alpha_p=alpha_p, alpha_n=alpha_n, x0=x0, read_voltage=read_voltage,
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
