"""Window functions f(x), which slow a state variable x in [0, 1] down at its ends.

Each is given over its distance to the end that x moves to, f / (1 - x) and f / x, polynomials without a pole: so
dx/dt = r f(x) becomes gain - loss x, whose solution never leaves [0, 1] at any step. p is a whole number.

    none         1, and hard ends at 0 and 1
    joglekar     1 - (2x - 1)^2p              10.1088/0143-0807/30/4/001
    biolek       1 - (x - [x falls])^2p       Radioengineering 18(2), 210 (2009)
    prodromakis  j (1 - ((x - 1/2)^2 + 3/4)^p)    10.1109/TED.2011.2158004

Joglekar's and Prodromakis' vanish at both ends, so a device that reaches one stays there; Biolek's only at the end
that x moves to.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from memristor_plugins.devices.transient._number import above
from memristor_plugins.interfaces.transient import Number

Window = Literal["none", "joglekar", "biolek", "prodromakis"]


def coefficients(x: Tensor, rate: Number, window: Window, *, p: int, j: Number) -> tuple[Number, Number | None]:
    """(gain, loss) of dx/dt = rate f(x); loss is None for `none`.

    Args:
        x: state in [0, 1].
        rate: r, 1/s, either sign.
        window: which f.
        p: exponent, >= 1.
        j: scale of Prodromakis' window.
    """
    if window == "none":
        return rate, None
    rise, fall = above(rate), above(-rate)
    if window == "joglekar":
        series = 4 * _geometric((2 * x - 1).square(), p)
        up, down = x * series, (1 - x) * series
    elif window == "biolek":
        up, down = _geometric(x, 2 * p), _geometric(1 - x, 2 * p)
    else:
        series = j * _geometric((x - 0.5).square() + 0.75, p)
        up, down = x * series, (1 - x) * series
    gain = rise * up
    return gain, gain + fall * down


def _geometric(q: Tensor, terms: int) -> Tensor:
    """1 + q + ... + q^(terms - 1)."""
    total = q * 0 + 1 if terms == 1 else 1 + q
    for _ in range(terms - 2):
        total = 1 + q * total
    return total
