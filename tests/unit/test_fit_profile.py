"""Parameters that go together are looked at again: a x sinh(b V), of which small b leaves the product alone."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from memristor_plugins.fitting.free import Free
from memristor_plugins.fitting.intervals import Inference, infer
from memristor_plugins.fitting.least_squares import minimise
from memristor_plugins.fitting.profile import looked_at_again

Array = NDArray[np.float64]
VOLTS = np.linspace(-1, 1, 81)
FREE = (Free("a", 1.0, 1e-6, 1e6), Free("b", 1.0, 1e-4, 30.0))


def inferred(b: float, seed: int) -> tuple[Inference, Inference]:
    """What a fit of 5 % noise says at first, and when it has looked again."""
    clean = np.sinh(b * VOLTS) / np.sinh(b)
    measured = clean + 0.05 * np.random.default_rng(seed).standard_normal(len(VOLTS))

    def residuals(points: Array) -> Array:
        return points[:, :1] * np.sinh(points[:, 1:] * VOLTS) - measured

    solution = minimise(residuals, FREE, starts=2)
    first = infer(solution, FREE)
    return first, looked_at_again(first, solution, FREE, residuals, together=False)


def test_of_a_product_neither_factor_is_called_identified() -> None:
    claimed = 0
    for seed in range(12):
        first, again = inferred(0.05, seed)
        claimed += first.estimates[1].status == "identified"
        for estimate in again.estimates:
            assert estimate.status != "identified"
            assert estimate.low is None
        assert np.isnan(again.correlation).all()
    # The slope alone says otherwise now and then: else this test would test nothing.
    assert claimed > 0


@pytest.mark.parametrize("seed", range(6))
def test_what_the_curvature_tells_stays_identified(seed: int) -> None:
    """b V up to 4: no sinh of a tenth or ten times that is near."""
    first, again = inferred(4.0, seed)
    assert again is first
    assert all(e.status == "identified" for e in again.estimates)
