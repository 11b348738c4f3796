"""The Stanford-PKU RRAM as an array cell."""

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
from memristor_plugins.devices.transient.stanford_pku import JIANG, StanfordPKU
from memristor_plugins.interfaces.parameter import Param


class StanfordPKUCell(TransientCell):
    """Stanford-PKU RRAM as an array cell: write-verified by pulses of two voltages; current ~ sinh(V / V_0).

    The equations, their source and what they raise: `transient.StanfordPKU`. Voltages and spreads of the array are
    assumed.

    Raises:
        ConfigError: a voltage that does not move the state its way; targets out of reach; what the model raises.
    """

    resolution = 1 / 256

    def __init__(
        self,
        *,
        i_0: Annotated[float, Param("amplitude of the current", unit="A", source=JIANG, gt=0)] = 1e-3,
        g_0: Annotated[float, Param("decay length of the current", unit="m", source=JIANG, gt=0)] = 0.25e-9,
        v_0: Annotated[float, Param("curvature of the current", unit="V", source=JIANG, gt=0)] = 0.25,
        e_a: Annotated[float, Param("activation energy", unit="eV", source=JIANG, gt=0)] = 0.6,
        speed: Annotated[float, Param("attempt velocity v_0", unit="m/s", source=JIANG, gt=0)] = 10.0,
        gamma_0: Annotated[float, Param("field enhancement without a gap", source=JIANG, gt=0)] = 16.0,
        beta: Annotated[float, Param("how the gap lowers the enhancement", source=JIANG, ge=0)] = 0.8,
        t_ox: Annotated[float, Param("oxide thickness", unit="m", source=JIANG, gt=0)] = 12e-9,
        r_th: Annotated[float, Param("thermal resistance", unit="K/W", source=JIANG, ge=0)] = 2.1e3,
        a_0: Annotated[float, Param("hopping distance", unit="m", source=JIANG, gt=0)] = 0.25e-9,
        temperature: Annotated[float, Param("ambient temperature", unit="K", source="assumed", gt=0)] = 298.0,
        gap_min: Annotated[float, Param("smallest gap", unit="m", source="assumed", ge=0)] = 0.2e-9,
        gap_max: Annotated[float, Param("largest gap", unit="m", source="assumed", gt=0)] = 1.7e-9,
        gap0: Annotated[float, Param("initial gap", unit="m", source="assumed", ge=0)] = 1.7e-9,
        read_voltage: Annotated[float, Param("of a read", unit="V", source="assumed", gt=0)] = 0.1,
        v_set: Annotated[float, Param("pulse that raises the conductance", unit="V", source="assumed")] = 1.2,
        v_reset: Annotated[float, Param("pulse that lowers the conductance", unit="V", source="assumed")] = -1.2,
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
        model = StanfordPKU(
            i_0=i_0, g_0=g_0, v_0=v_0, e_a=e_a, speed=speed, gamma_0=gamma_0, beta=beta, t_ox=t_ox,
            r_th=r_th, a_0=a_0, temperature=temperature, gap_min=gap_min, gap_max=gap_max, gap0=gap0,
            read_voltage=read_voltage,
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
