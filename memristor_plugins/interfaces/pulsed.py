"""The pulsed-update contract: how identical voltage pulses move a cell's conductance up and down.

A model is two curves, potentiation and depression, against the number of pulses: where a cell stands on a curve is
what it holds, and pulses move it along. That makes any number of pulses one step, differs between cells by a
factor on the pulse number, and has an inverse, which write-verify programs by.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Generator, Tensor

from memristor_plugins.interfaces.device import Cells, standard_normal


class PulsedModel(ABC):
    """Conductance under potentiating (up) and depressing (down) pulses.

    With u = (G - low) / (high - low) between a cell's own bounds, n pulses up are

        u -> U(P(u) + n m),    G += c2c (high - low) sqrt(n) z

    U = `progress` and P = `pulses_at` of that direction, m the cell's own factor, z standard normal; clipped to
    the bounds. Downwards the same with 1 - u, on the depression curve. Pulse numbers need not be whole: a pulse of
    half the width is half a pulse.

    Attributes:
        bounds: lowest and highest conductance that pulses reach in a nominal cell, siemens.
        pulse_voltage: amplitude of a pulse up and of a pulse down, volts.
        pulse_width: length of one pulse up and of one pulse down, seconds.
        d2d_step: lognormal sigma of m between cells, up and down independently.
        d2d_bounds: deviation of each of a cell's bounds, in units of high - low.
        c2c: deviation that one pulse adds, in units of high - low; of n pulses sqrt(n) times.
    """

    bounds: tuple[float, float]
    pulse_voltage: tuple[float, float]
    pulse_width: tuple[float, float]
    d2d_step: float
    d2d_bounds: float
    c2c: float

    @abstractmethod
    def progress(self, pulses: Tensor, *, up: bool) -> Tensor:
        """U: share of the range in [0, 1] that `pulses` (>= 0, any shape) of one direction cross, from its start.

        Potentiation starts at the lower bound, depression at the upper one; increasing, U(0) = 0.
        """

    @abstractmethod
    def pulses_at(self, share: Tensor, *, up: bool) -> Tensor:
        """P: pulses of one direction that cross `share` (in [0, 1], any shape) of the range; finite."""

    def fabricate(self, shape: torch.Size | tuple[int, ...], *, generator: Generator) -> Cells:
        """Per-cell constants of `shape` cells, float32 on the generator's device.

        `up`, `down`: factors on pulse numbers; `low`, `high`: bounds in siemens, low >= 0, at least a tenth of the
        nominal range apart. A constant without spread is one number for all cells, and nothing is drawn for it.
        """
        low, high = self.bounds
        span = high - low

        def spread(sigma: float) -> Tensor | None:
            return torch.randn(shape, generator=generator, device=generator.device).mul_(sigma) if sigma > 0 else None

        up, down = spread(self.d2d_step), spread(self.d2d_step)
        below, above = spread(self.d2d_bounds), spread(self.d2d_bounds)

        def constant(value: float) -> Tensor:
            return torch.tensor(value, device=generator.device).expand(shape)

        lows = constant(low) if below is None else below.mul_(span).add_(low).clamp_min_(0.0)
        highs = constant(high) if above is None else torch.maximum(above.mul_(span).add_(high), lows + 0.1 * span)
        return Cells(
            {
                "up": constant(1.0) if up is None else up.exp_(),
                "down": constant(1.0) if down is None else down.exp_(),
                "low": lows,
                "high": highs,
            }
        )

    def pulse(self, g: Tensor, count: Tensor, *, cells: Cells, generator: Generator | None) -> Tensor:
        """Conductance in siemens after `count` pulses on cells of `g` siemens, of the shape of `g`.

        Args:
            g: conductance before, siemens, any shape.
            count: pulses, > 0 up and < 0 down, same shape; 0 leaves a cell as it is.
            cells: from `fabricate`, same shape.
            generator: source of the cycle-to-cycle variation; None for none.
        """
        low, high = cells["low"].to(g), cells["high"].to(g)
        span = high - low
        # In one dimension, so that each direction's cells are found once.
        share = ((g - low) / span).clamp(0.0, 1.0).reshape(-1)
        number = count.reshape(-1)
        moved = share.clone()
        for up, factors in ((True, cells["up"]), (False, cells["down"])):
            chosen = torch.nonzero(number > 0 if up else number < 0).squeeze(1)
            if chosen.numel():
                here = share[chosen] if up else 1 - share[chosen]
                factor = factors.to(g).expand(g.shape).reshape(-1)[chosen]
                crossed = self.progress(self.pulses_at(here, up=up) + number[chosen].abs() * factor, up=up)
                moved[chosen] = crossed if up else 1 - crossed
        moved = moved.reshape(g.shape)
        if generator is not None and self.c2c > 0:
            moved = moved + standard_normal(g, generator) * (self.c2c * count.abs().sqrt())
        return torch.where(count != 0, low + span * moved.clamp(0.0, 1.0), g)

    def pulses_to(self, g: Tensor, target: Tensor) -> Tensor:
        """Pulses that bring a nominal cell from `g` to `target` (siemens, same shape): > 0 up, < 0 down, any real."""
        low, high = self.bounds
        here, there = (((x.reshape(-1) - low) / (high - low)).clamp(0.0, 1.0) for x in (g, target))
        count = torch.empty_like(here)
        for up in (True, False):
            chosen = torch.nonzero((there > here) == up).squeeze(1)
            if chosen.numel():
                a, b = (x[chosen] if up else 1 - x[chosen] for x in (here, there))
                count[chosen] = (self.pulses_at(b, up=up) - self.pulses_at(a, up=up)) * (1.0 if up else -1.0)
        return count.reshape(g.shape)

    def pulse_energy(self, before: Tensor, after: Tensor, count: Tensor) -> Tensor:
        """Energy in joules of `count` pulses that took cells from `before` to `after` siemens, any shape.

        |count| V^2 width (before + after) / 2: ohmic cells; a model with a nonlinear current overrides this.
        """
        up, down = (v**2 * width / 2 for v, width in zip(self.pulse_voltage, self.pulse_width, strict=True))
        return count.abs() * torch.where(count > 0, up, down).to(before) * (before + after)
