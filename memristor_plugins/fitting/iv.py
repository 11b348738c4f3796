"""Measured I-V sweeps and transient models: the current that a model predicts at the measured voltages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from memristor_plugins.devices.transient.integrator import simulate
from memristor_plugins.devices.transient.waveform import table
from memristor_plugins.errors import ConfigError, SimulationError
from memristor_plugins.fitting.loops import Sweep
from memristor_plugins.interfaces.transient import TransientModel

Array = NDArray[np.float64]

VOLTAGE_OFFSET = "voltage_offset"
CURRENT_OFFSET = "current_offset"
OFFSETS = (VOLTAGE_OFFSET, CURRENT_OFFSET)


@dataclass(frozen=True)
class SweepModel:
    """What a transient model says of a sweep.

    The voltage across the cell is V - V_offset - R_series (I - I_offset), with the measured V and I; the predicted
    current has I_offset added. A repeated sweep is the last of `settle` + 1 repetitions of its average.

    Args:
        model: the cell; its parameters are the defaults.
        sweep: the measurement.
        series_resistance: of the set-up, ohm, where the voltage was measured across it and the cell.
        settle: repetitions before the one that counts; 0 where the sweep was measured once.
        tolerance: of the integrator; None: one fixed step between two rows, for a search.
        possible: whether the model's parameters go together (R_on < R_off); None: whatever they are.
    """

    model: TransientModel
    sweep: Sweep
    series_resistance: float = 0.0
    settle: int = 2
    tolerance: float | None = 1e-6
    possible: Callable[[Mapping[str, float]], bool] | None = None

    def currents(self, values: Mapping[str, Array]) -> Array:
        """[sets, points] amperes of parameter sets; nan where a set is impossible or cannot be simulated.

        Args:
            values: parameters of the model, and offsets, each [sets].
        """
        count = len(next(iter(values.values())))
        if self.possible is not None:
            sets = [{k: float(v[i]) for k, v in values.items() if k not in OFFSETS} for i in range(count)]
            fine = np.array([self.possible(own) for own in sets])
            if not fine.all():
                found = np.full((count, len(self.sweep.time)), np.nan)
                if fine.any():
                    found[fine] = self._split({k: v[fine] for k, v in values.items()})
                return found
        return self._split(values)

    def _split(self, values: Mapping[str, Array]) -> Array:
        try:
            found = self._simulate(values)
        except (SimulationError, ConfigError):
            count = len(next(iter(values.values())))
            if count == 1:
                return np.full((1, len(self.sweep.time)), np.nan)
            # One impossible set must not hide the others.
            half = count // 2
            return np.concatenate(
                [self._split({k: v[part] for k, v in values.items()}) for part in (slice(half), slice(half, None))]
            )
        return found

    def _simulate(self, values: Mapping[str, Array]) -> Array:
        sweep = self.sweep
        own = {k: torch.from_numpy(v) for k, v in values.items() if k not in OFFSETS}
        count = len(next(iter(values.values())))
        zero = np.zeros(count)
        v_off, i_off = values.get(VOLTAGE_OFFSET, zero), values.get(CURRENT_OFFSET, zero)
        v = sweep.voltage[:, None] - v_off - self.series_resistance * (sweep.current[:, None] - i_off)
        # The same for all: the waveform is cut at 0 V and its terms are plain numbers.
        shared = not (v_off.any() or (self.series_resistance and i_off.any()))
        time, v, gate, last = self._repeated(v[:, :1] if shared else v)
        wave = table(torch.from_numpy(time), torch.from_numpy(v[:, 0] if shared else v), gate)
        with torch.no_grad():
            made = simulate(
                self.model.with_parameters(own), wave, shape=(count,), tolerance=self.tolerance, record="segments"
            )
        if made.current is None or made.time is None:
            raise SimulationError("a simulation that records its segments has currents")
        found = made.current.reshape(-1, count).numpy()
        if len(found) != len(time):
            # Cuts at 0 V have added instants.
            at = made.time.numpy()
            found = found[np.abs(at[None] - time[:, None]).argmin(1)]
        return np.asarray(found[last].T + i_off[:, None], dtype=np.float64)

    def _repeated(self, v: Array) -> tuple[Array, Array, torch.Tensor | None, slice]:
        sweep = self.sweep
        n = len(sweep.time)
        if sweep.period is None:
            gate = None if sweep.gate is None else torch.from_numpy(sweep.gate)
            return sweep.time, v, gate, slice(None)
        rounds = self.settle + 1
        time = np.concatenate([sweep.time + k * sweep.period for k in range(rounds)])
        gate = None if sweep.gate is None else torch.from_numpy(np.tile(sweep.gate, rounds))
        return time, np.tile(v, (rounds, 1)), gate, slice((rounds - 1) * n, rounds * n)
