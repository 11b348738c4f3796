"""Pulsed-update models without a closed form: the exact recurrence once, then interpolation along it."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from memristor_plugins.devices._pulsed import PulsedDevice
from memristor_plugins.devices.curve import interpolate, trajectory

LONGEST = 20_000


class TabulatedLaw(PulsedDevice):
    """A pulsed device whose curves are the recurrences u += step(u), computed once for the nominal cell."""

    def _set_laws(self, up: Callable[[float], float], down: Callable[[float], float]) -> None:
        """`up(u)` and `down(u)`: what one pulse adds to the share u crossed, each from the start of its direction."""
        self._curves = {True: trajectory(up, longest=LONGEST), False: trajectory(down, longest=LONGEST)}

    def progress(self, pulses: Tensor, *, up: bool) -> Tensor:
        """On the recurrence at whole numbers of pulses, linear between."""
        numbers, shares = self._curves[up]
        return interpolate(pulses, numbers, shares)

    def pulses_at(self, share: Tensor, *, up: bool) -> Tensor:
        """The inverse of `progress`; shares beyond the last pulse of the recurrence take all of its pulses."""
        numbers, shares = self._curves[up]
        return interpolate(share, shares, numbers)
