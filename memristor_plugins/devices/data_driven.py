"""The data-driven ReRAM as an array cell."""

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
from memristor_plugins.devices.transient.data_driven import MESSARIS, DataDriven
from memristor_plugins.interfaces.parameter import Param


class DataDrivenCell(TransientCell):
    """Data-driven ReRAM (Messaris) as an array cell: write-verified by two voltages; current ~ sinh(b v).

    The equations, their source and what they raise: `transient.DataDriven`. A voltage moves the resistance as far as
    its boundary r(v), which limits the range. There is no threshold: a thousand reads move a cell by up to 2 %, which
    is left out. Voltages and spreads of the array are assumed.

    Raises:
        ConfigError: a voltage that does not move the state its way; targets out of reach; what the model raises.
    """

    def __init__(
        self,
        *,
        a_p: Annotated[float, Param("A_p, speed at v > 0", unit="1/(ohm s)", source=MESSARIS)] = 600.10075,
        a_n: Annotated[float, Param("A_n, speed at v < 0", unit="1/(ohm s)", source=MESSARIS)] = -34.5988399,
        t_p: Annotated[float, Param("voltage scale at v > 0", unit="V", source=MESSARIS)] = -0.0212028,
        t_n: Annotated[float, Param("voltage scale at v < 0", unit="V", source=MESSARIS)] = -0.05343997,
        a0_p: Annotated[float, Param("boundary at v > 0, 0 V", unit="ohm", source=MESSARIS)] = 2699.2336,
        a1_p: Annotated[float, Param("its slope", unit="ohm/V", source=MESSARIS)] = -672.930205,
        a0_n: Annotated[float, Param("boundary at v < 0, 0 V", unit="ohm", source=MESSARIS)] = 649.413746,
        a1_n: Annotated[float, Param("its slope", unit="ohm/V", source=MESSARIS)] = -1474.32358,
        i_p: Annotated[float, Param("amplitude of the current, v >= 0", unit="V", source=MESSARIS, gt=0)] = 0.32046175,
        i_n: Annotated[float, Param("the same, v < 0", unit="V", source=MESSARIS, gt=0)] = 0.32046175,
        b_p: Annotated[
            float, Param("curvature of the current, v >= 0", unit="1/V", source=MESSARIS, gt=0)
        ] = 2.71689828,
        b_n: Annotated[float, Param("the same, v < 0", unit="1/V", source=MESSARIS, gt=0)] = 2.71689828,
        r_on: Annotated[float, Param("lowest resistance", unit="ohm", source=MESSARIS, gt=0)] = 1600.0,
        r_off: Annotated[float, Param("highest resistance", unit="ohm", source=MESSARIS, gt=0)] = 3000.0,
        r0: Annotated[float, Param("initial resistance", unit="ohm", source="assumed", gt=0)] = 3000.0,
        read_voltage: Annotated[float, Param("of a read", unit="V", source="assumed", gt=0)] = 0.1,
        v_set: Annotated[float, Param("pulse that raises the conductance", unit="V", source="assumed")] = 1.5,
        v_reset: Annotated[float, Param("pulse that lowers the conductance", unit="V", source="assumed")] = -1.5,
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
        model = DataDriven(
            a_p=a_p, a_n=a_n, t_p=t_p, t_n=t_n, a0_p=a0_p, a1_p=a1_p, a0_n=a0_n, a1_n=a1_n, i_p=i_p,
            i_n=i_n, b_p=b_p, b_n=b_n, r_on=r_on, r_off=r_off, r0=r0, read_voltage=read_voltage,
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
