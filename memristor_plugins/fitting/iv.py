"""Measured I-V sweeps and transient models: the current that a model predicts at the measured voltages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from memristor_plugins.devices.transient.integrator import simulate
from memristor_plugins.devices.transient.waveform import Waveform, table
from memristor_plugins.errors import ConfigError, SimulationError
from memristor_plugins.fitting.loops import Sweep
from memristor_plugins.interfaces.transient import State, TransientModel, clamp

Array = NDArray[np.float64]

VOLTAGE_OFFSET = "voltage_offset"
CURRENT_OFFSET = "current_offset"
OFFSETS = (VOLTAGE_OFFSET, CURRENT_OFFSET)


@dataclass(frozen=True)
class SweepModel:
    """What a transient model says of a sweep.

    The voltage across the cell is V - V_offset - R_series (I - I_offset), with the measured V and I; the predicted
    current has I_offset added. A sweep that was repeated and averaged is a period of a cell that has settled.

    Args:
        model: the cell; its parameters are the defaults.
        sweep: the measurement.
        series_resistance: of the set-up, ohm, where the voltage was measured across it and the cell.
        tolerance: of the integrator; None: one fixed step between two rows, for a search.
        possible: whether the model's parameters go together (R_on < R_off); None: whatever they are.
    """

    model: TransientModel
    sweep: Sweep
    series_resistance: float = 0.0
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
        time, gate = sweep.time, sweep.gate
        if sweep.period is not None:
            # Closed: the last row is followed by the first of the next period.
            time, v = np.append(time, sweep.period), np.concatenate([v, v[:1]])
            gate = None if gate is None else np.append(gate, gate[0])
        # The same for all: the waveform is cut at 0 V and its terms are plain numbers.
        shared = not (v_off.any() or (self.series_resistance and i_off.any()))
        wave = table(
            torch.from_numpy(time),
            torch.from_numpy(v[:, 0] if shared else v),
            None if gate is None else torch.from_numpy(gate),
        )
        model = self.model.with_parameters(own)
        with torch.no_grad():
            state = None if sweep.period is None else self._settled(model, wave, count)
            made = simulate(model, wave, shape=(count,), state=state, tolerance=self.tolerance, record="segments")
        if made.current is None or made.time is None:
            raise SimulationError("a simulation that records its segments has currents")
        found = made.current.reshape(-1, count).numpy()
        if len(found) != len(time):
            # Cuts at 0 V have added instants.
            at = made.time.numpy()
            found = found[np.abs(at[None] - time[:, None]).argmin(1)]
        return np.asarray(found[: len(sweep.time)].T + i_off[:, None], dtype=np.float64)

    def _settled(self, model: TransientModel, wave: Waveform, count: int) -> State:
        """The state after as many periods as were averaged, from three of them.

        What a period adds shrinks or grows from one to the next by a factor, which is taken to stay as it is (Aitken's
        extrapolation), and for 1 where it is larger: a motion that speeds up soon meets an end.
        """
        bounds = model.bounds(model.prepare(model.parameters))
        states = [tuple(y.expand(count) for y in model.initial((count,)))]
        states[0] = tuple(clamp(y, *ends) for y, ends in zip(states[0], bounds, strict=True))
        for _ in range(3):
            states.append(simulate(model, wave, shape=(count,), state=states[-1], tolerance=self.tolerance).final)
        powers = torch.arange(1, max(self.sweep.averaged - 1, 1), dtype=torch.float64)[:, None]
        settled = []
        for y1, y2, y3, (low, high) in zip(*states[1:], bounds, strict=True):
            first, second = y2 - y1, y3 - y2
            factor = torch.where(first != 0, second / torch.where(first != 0, first, 1.0), 0.0).clamp(-1.0, 1.0)
            settled.append(clamp(y3 + second * (factor**powers).sum(0), low, high))
        return tuple(settled)
