"""One step of the integrator: fourth-order Runge-Kutta-Munthe-Kaas on the affine group of each state variable.

dy/dt = a(y, t) - b(y, t) y is the action of the matrix M = [[-b, a], [0, 0]] on (y, 1). With K = h M,

    K1 = h M(y, t)
    K2 = h M(exp(K1 / 2) y, t + h/2)
    K3 = h M(exp(K2 / 2 - [K1, K2] / 8) y, t + h/2)
    K4 = h M(exp(K3) y, t + h)
    y' = exp((K1 + 2 K2 + 2 K3 + K4) / 6 - [K1, K4] / 12) y

(Munthe-Kaas 1999, 10.1016/S0168-9274(98)00030-0). With b = 0 it is the classical Runge-Kutta method. Where
equations are linear in y it is a Magnus method, exact for constant a and b however stiff, and y stays between 0 and
max(a / b). A commutator, affine with [Ka, Kb] = (0, Bb Aa - Ba Ab), is damped by (1 + B^2 / 36)^(-1/2): the exact
solution of a linear equation has that factor to O(B^2) and for B -> infinity, and rounding errors of B^2 vanish.

A step much too long may still agree with its halves: all of them run into a bound, or into the equilibrium of a loss
that is large only where the step starts. `Watch` sees both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from memristor_plugins.interfaces.transient import Number, State, TransientModel, clamp

# A step that moves a state by more than this share of its range is too long, whatever its error estimate says.
LEAP = 0.125
# A loss below this acts as none; keeps (1 - exp(-B)) / B defined at B = 0 in float32 too.
TINY = 1e-30

Drive = Mapping[str, Number]
Terms = tuple[tuple[Number, Number | None], ...]


@dataclass(frozen=True)
class Law:
    """A model with the parameters of one block of devices, prepared, and its bounds."""

    model: TransientModel
    p: Mapping[str, Number]
    bounds: tuple[tuple[Number, Number], ...]

    def map(self, f: Callable[[Number], Number]) -> Law:
        """The law for some of its devices."""
        bounds = tuple((f(low), f(high)) for low, high in self.bounds)
        return Law(self.model, {name: f(value) for name, value in self.p.items()}, bounds)


class Watch:
    """Which devices took a step that cannot be trusted: `LEAP`, or a bound met on the way.

    A device that stands at a bound and is pushed outwards stays there: that is no fault.

    Args:
        tolerance: of a state variable's range, how far beyond a bound a state may be thrown.
    """

    def __init__(self, tolerance: float) -> None:
        self.tolerance = tolerance
        self.bad: Tensor | None = None

    @torch.no_grad()
    def see(self, before: Tensor, wished: Tensor, after: Tensor, low: Number, high: Number) -> None:
        """A state variable `before` that would be `wished` without its bounds and is `after`."""
        moved = (after - before).abs() / (high - low)
        bad = moved > LEAP
        if after is not wished:
            bad |= ((wished - after).abs() / (high - low) > self.tolerance) & (moved > self.tolerance)
        self.bad = bad if self.bad is None else self.bad | bad


def step(
    law: Law, state: State, drives: tuple[Drive, Drive, Drive], h: Number, watch: Watch | None = None
) -> tuple[State, State]:
    """States after and in the middle of a step of `h` seconds; `drives` at its start, middle and end."""
    model, p = law.model, law.p
    k1 = model.coefficients(state, drives[0], p)
    k2 = model.coefficients(_act(law, state, k1, 0.5 * h, watch=watch), drives[1], p)
    middle = _act(law, state, k2, 0.5 * h, commutator=(k1, k2, 0.125 * h * h), watch=watch)
    k3 = model.coefficients(middle, drives[1], p)
    k4 = model.coefficients(_act(law, state, k3, h, watch=watch), drives[2], p)
    mean: Terms = tuple(
        (a1 + 2 * (a2 + a3) + a4, None if b1 is None else b1 + 2 * (b2 + b3) + b4)  # type: ignore[operator]
        for (a1, b1), (a2, b2), (a3, b3), (a4, b4) in zip(k1, k2, k3, k4, strict=True)
    )
    return _act(law, state, mean, h / 6, commutator=(k1, k4, h * h / 12), watch=watch), middle


def _act(
    law: Law,
    state: State,
    terms: Terms,
    h: Number,
    *,
    commutator: tuple[Terms, Terms, Number] | None = None,
    watch: Watch | None = None,
) -> State:
    """exp(h * terms - weight * [first, second]) applied to the state, kept within bounds."""
    moved = []
    for index, (y, (gain, loss)) in enumerate(zip(state, terms, strict=True)):
        if loss is None:
            wished = y + h * gain
        else:
            exponent = h * loss
            total = h * gain
            if commutator is not None:
                first, second, weight = commutator
                (a1, b1), (a2, b2) = first[index], second[index]
                assert b1 is not None
                assert b2 is not None
                bracket = b2 * a1 - b1 * a2
                if isinstance(bracket, Tensor) or bracket != 0:
                    damping = (1 + exponent * exponent / 36) ** -0.5
                    total = total - weight * bracket * damping
            wished = y + (total - exponent * y) * _phi(exponent, y)
        low, high = law.bounds[index]
        after = clamp(wished, low, high)
        if watch is not None:
            watch.see(y, wished, after, low, high)
        moved.append(after)
    return tuple(moved)


def _phi(exponent: Number, like: Tensor) -> Tensor:
    """(1 - exp(-B)) / B, 1 at B = 0; B >= 0."""
    b = torch.as_tensor(exponent, dtype=like.dtype, device=like.device).clamp_min(TINY)
    return -torch.expm1(-b) / b
