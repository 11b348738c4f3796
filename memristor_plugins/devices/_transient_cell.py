"""A transient model as an array cell: its motion at two fixed voltages as curves, then write-verify along them."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from memristor_plugins.devices._pulsed import PulsedDevice
from memristor_plugins.devices.curve import interpolate, on_grid
from memristor_plugins.errors import ConfigError
from memristor_plugins.interfaces.parameter import Param
from memristor_plugins.interfaces.transient import TransientModel

POINTS = 4097
# A state variable that moves this much slower than at its fastest counts as standing still: no pulse ends there.
STANDSTILL = 1e-4

PulseWidth = Annotated[
    float | None,
    Param("length of a nominal pulse; null: 1/64 of the time across the range", unit="s", source="assumed", gt=0),
]
LowestTarget = Annotated[
    float | None, Param("lowest target; null: 5 % inside what pulses reach", unit="S", source="assumed", gt=0)
]
HighestTarget = Annotated[
    float | None, Param("highest target; null: 5 % inside what pulses reach", unit="S", source="assumed", gt=0)
]


class TransientCell(PulsedDevice):
    """An array cell over a model with one state variable y, written by pulses of two fixed voltages.

    At a fixed voltage V, dy/dt = r(y, V) has the solution t(y) = integral dy / r, one curve for all starts: where a
    cell stands on it is what it holds, and a pulse of length t moves it on by t. So the equation is integrated once
    for the nominal cell, by quadrature, and a write of any number of cells costs a few interpolations a burst. Bursts
    are single pulses whose length the inverse of the curve gives, in steps of `resolution` nominal pulses.

    Cells differ by a factor on time (`d2d_step`, speeds) and by their bounds. Conductance is the model's chord
    conductance at the read voltage; the energy of a pulse is the integral of V I(y, V) along the curve.
    """

    resolution = 1 / 64
    width_modulated = True

    def _set_model(
        self,
        model: TransientModel,
        *,
        v_set: float,
        v_reset: float,
        set_width: float | None,
        reset_width: float | None,
        g_min: float | None,
        g_max: float | None,
        tolerance: float,
        rounds: int,
        verify_noise: float,
        read_noise: float,
        read_time: float,
        d2d_step: float,
        d2d_bounds: float,
        c2c: float,
    ) -> None:
        """Work out the curves of `model` and keep what a write needs; the end of a subclass's `__init__`."""
        self.model = model
        self.read_voltage, self.read_time = model.read_voltage, read_time
        self.d2d_step, self.d2d_bounds, self.c2c = d2d_step, d2d_bounds, c2c
        y, g, set_speed, reset_speed = _reachable(model, v_set, v_reset)
        self.bounds = (float(g[0]), float(g[-1]))
        share = (g - g[0]) / (g[-1] - g[0])
        grid = torch.linspace(0.0, 1.0, POINTS, dtype=torch.float64)
        power = {v: model.current((y,), v) * v for v in (v_set, v_reset)}
        rise = _time_and_energy(y, set_speed, power[v_set])
        fall = _time_and_energy(y.flip(0), reset_speed.flip(0), power[v_reset].flip(0))
        widths = [
            float(time[-1]) / 64 if width is None else width
            for (time, _), width in ((rise, set_width), (fall, reset_width))
        ]
        self.pulse_voltage, self.pulse_width = (v_set, v_reset), (widths[0], widths[1])
        # By direction, at shares of the range that divide it evenly: pulses of nominal width to there, and joules.
        self._grid = grid
        self._pulses, self._energy = {}, {}
        for up, (time, energy), width in ((True, rise, widths[0]), (False, fall, widths[1])):
            crossed = share if up else 1 - share.flip(0)
            self._pulses[up] = interpolate(grid, crossed, time / width)
            self._energy[up] = interpolate(grid, crossed, energy)
        low, high = self.bounds
        self._set_writing(
            g_min=low + 0.05 * (high - low) if g_min is None else g_min,
            g_max=high - 0.05 * (high - low) if g_max is None else g_max,
            tolerance=tolerance,
            rounds=rounds,
            verify_noise=verify_noise,
            read_noise=read_noise,
        )

    def progress(self, pulses: Tensor, *, up: bool) -> Tensor:
        """Share of the range that `pulses` of nominal width cross."""
        return interpolate(pulses, self._pulses[up], self._grid)

    def pulses_at(self, share: Tensor, *, up: bool) -> Tensor:
        """Pulses of nominal width that cross `share` of the range: the inverse of `progress`."""
        return on_grid(share, self._pulses[up])

    def pulse_energy(self, before: Tensor, after: Tensor, count: Tensor) -> Tensor:
        """Joules of pulses of total length |count| that took cells from `before` to `after` siemens.

        Mean power along the nominal cell's curve between the two, times the length: a fast cell spends less.
        """
        low, high = self.bounds
        flat, number = torch.zeros_like(before).reshape(-1), count.reshape(-1)
        for up in (True, False):
            chosen = torch.nonzero(number > 0 if up else number < 0).squeeze(1)
            if not chosen.numel():
                continue
            a, b = (((g.reshape(-1)[chosen] - low) / (high - low)).clamp(0.0, 1.0) for g in (before, after))
            # Cycle-to-cycle variation may end a pulse on the wrong side; a stretch of half a percent stands for both.
            first, last = torch.minimum(a, b), torch.maximum(a, b)
            start, stop = (first, last) if up else (1 - last, 1 - first)
            stop = torch.maximum(stop, (start + 0.005).clamp_max(1.0))
            start = torch.minimum(start, stop - 0.005)
            joules, pulses = (on_grid(stop, ys) - on_grid(start, ys) for ys in (self._energy[up], self._pulses[up]))
            flat[chosen] = number[chosen].abs() * joules / pulses.clamp_min(torch.finfo(pulses.dtype).tiny)
        return flat.reshape(before.shape)

    def current(self, g: Tensor, v: Tensor, *, v_gate: Tensor | None = None, temperature: float = 300.0) -> Tensor:
        """I(y, V) in amperes of the model, y the state whose conductance at the read voltage is `g` (siemens).

        `g` beyond what pulses reach carries current in proportion. `v` in volts; no gate.
        """
        low, high = self.bounds
        within = g.clamp(low, high)
        state = self.model.state_at(within)
        voltage = v.to(g).expand(torch.broadcast_shapes(g.shape, v.shape))
        return self.model.current(tuple(y.to(g) for y in state), voltage) * (g / within)


def _reachable(model: TransientModel, v_set: float, v_reset: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """States [n] in the order of rising conductance, their conductances, and |dy/dt| of set and reset, float64.

    The longest stretch of the model's range on which both voltages move the state, each its way.

    Raises:
        ConfigError: a voltage that does not move the state its way, or one that does move it at a read.
    """
    low, high = (float(bound) for bound in model.bounds(model.parameters)[0])
    y = torch.linspace(low, high, POINTS, dtype=torch.float64)
    if float(model.conductance((y[-1:],))) < float(model.conductance((y[:1],))):
        y = y.flip(0)
    way = torch.sign(y[-1] - y[0])

    def speeds(v: float, sign: float) -> Tensor:
        """dy/dt at V volts, > 0 towards higher (sign = 1) or lower (sign = -1) conductance."""
        return model.rates((y,), v)[0] * (way * sign)

    for option, v, sign, wish in (("v_set", v_set, 1.0, "raise"), ("v_reset", v_reset, -1.0, "lower")):
        if not float(speeds(v, sign).max()) > 0:
            others = (factor * v for size in (1, 2, 4, 8) for factor in (size, -size))
            valid = next((f"try {w:g} V" for w in others if float(speeds(w, sign).max()) > 0), "try a larger one")
            raise ConfigError(f"device.{option}", f"{v:g} V does not {wish} the conductance; {valid}")
    up, down = speeds(v_set, 1.0), speeds(v_reset, -1.0)
    moving = (up > STANDSTILL * up.max()) & (down > STANDSTILL * down.max())
    chosen = _longest_run(moving)
    if chosen.numel() < 3:
        raise ConfigError("device.v_set", f"at {v_set:g} V up and {v_reset:g} V down no state moves both ways")
    # The same number of points on what is left.
    y = torch.linspace(float(y[chosen[0]]), float(y[chosen[-1]]), POINTS, dtype=torch.float64)
    return y, model.conductance((y,)), speeds(v_set, 1.0).abs(), speeds(v_reset, -1.0).abs()


def _longest_run(mask: Tensor) -> Tensor:
    """Indices of the longest run of True."""
    runs = torch.tensor_split(torch.arange(mask.numel()), (torch.nonzero(mask[1:] != mask[:-1]).flatten() + 1).tolist())
    return max((run for run in runs if bool(mask[run[0]])), key=len, default=torch.empty(0, dtype=torch.long))


def _time_and_energy(y: Tensor, speed: Tensor, power: Tensor) -> tuple[Tensor, Tensor]:
    """Seconds and joules from the first state to each, by the trapezoidal rule: integrals of 1/r and power/r."""
    steps = (y[1:] - y[:-1]).abs()
    zero = y.new_zeros(1)
    time, energy = (
        torch.cat((zero, torch.cumsum((f[1:] + f[:-1]) / 2 * steps, dim=0))) for f in (1 / speed, power / speed)
    )
    return time, energy
