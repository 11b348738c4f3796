"""Least squares, intervals and what cannot be identified, against problems whose solution is known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import t as student

from memristor_plugins.errors import SimulationError
from memristor_plugins.fitting.free import Free, from_param, starts
from memristor_plugins.fitting.intervals import Inference, goodness, infer
from memristor_plugins.fitting.least_squares import Residuals, Solution, minimise
from memristor_plugins.fitting.side_by_side import descend
from memristor_plugins.interfaces.parameter import Param

Array = NDArray[np.float64]

X = np.linspace(-1, 1, 60)
A, B = Free("a", 1.0, scale=1.0, zero=True), Free("b", 1.0, scale=1.0, zero=True)


def line(y: Array) -> Residuals:
    """y = a + b x, batched."""
    return lambda points: points[:, :1] + points[:, 1:2] * X - y


def test_intervals_of_a_line_are_those_of_linear_regression() -> None:
    """Independent normal errors: value +- t s sqrt((X'X)^-1), to the digits of the central differences."""
    rng = np.random.default_rng(3)
    y = 0.5 - 2 * X + 0.1 * rng.standard_normal(len(X))
    design = np.stack([np.ones_like(X), X], axis=1)
    best = np.linalg.lstsq(design, y, rcond=None)[0]
    rest = y - design @ best
    error = np.sqrt(np.diag(np.linalg.inv(design.T @ design)) * (rest @ rest) / (len(X) - 2))
    half = student.ppf(0.975, len(X) - 2) * error
    found = infer(minimise(line(y), (A, B)), (A, B))
    for estimate, value, width in zip(found.estimates, best, half, strict=True):
        assert estimate.status == "identified"
        assert estimate.value == pytest.approx(value, abs=1e-6)
        assert estimate.low is not None
        assert estimate.high is not None
        # The sandwich may be larger where these residuals happen to be correlated; never smaller.
        assert (estimate.high - estimate.low) / 2 >= width * (1 - 1e-6)
        assert (estimate.high - estimate.low) / 2 < 1.6 * width
    assert found.correlation[0, 1] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("rho", [0.0, 0.8])
def test_intervals_hold_the_truth_with_correlated_errors(rho: float) -> None:
    """200 lines with first-order autoregressive errors: intervals hold in 87 % at least (sigma 1.5 %)."""
    rng, held = np.random.default_rng(0), 0
    x = np.linspace(-1, 1, 200)
    design = np.stack([np.ones_like(x), x], axis=1)
    for _ in range(200):
        white = rng.standard_normal(len(x))
        noise = np.empty_like(white)
        noise[0] = white[0] / math.sqrt(1 - rho**2)
        for k in range(1, len(x)):
            noise[k] = rho * noise[k - 1] + white[k]
        best = np.linalg.lstsq(design, 1 + 2 * x + 0.1 * noise, rcond=None)[0]
        rest = design @ best - (1 + 2 * x + 0.1 * noise)
        solution = Solution(best, rest, design, np.ones_like(x), (0.0,), 0)
        slope = infer(solution, (A, B)).estimates[1]
        assert slope.low is not None
        assert slope.high is not None
        held += slope.low <= 2 <= slope.high
    assert held >= 0.87 * 200


def test_a_known_covariance_is_propagated() -> None:
    covariance = np.diag(np.linspace(1, 4, len(X)) * 1e-4)
    design = np.stack([np.ones_like(X), X], axis=1)
    bread = np.linalg.inv(design.T @ design)
    wanted = np.sqrt(np.diag(bread @ design.T @ covariance @ design @ bread))
    solution = Solution(np.array([1.0, 2.0]), np.zeros_like(X), design, np.ones_like(X), (0.0,), 0)
    found = infer(solution, (A, B), covariance, samples=31)
    for estimate, error in zip(found.estimates, wanted, strict=True):
        assert estimate.high is not None
        assert estimate.high - estimate.value == pytest.approx(student.ppf(0.975, 30) * error, rel=1e-9)


def inferred(residuals: Residuals, free: tuple[Free, ...]) -> Inference:
    return infer(minimise(residuals, free), free)


def test_a_product_is_told_and_its_factors_are_not() -> None:
    rng = np.random.default_rng(1)
    y = 6 * np.exp(X) + 0.05 * rng.standard_normal(len(X))
    free = (Free("p", 1.0, 0.0), Free("q", 1.0, 0.0), Free("r", 0.5, 0.0))

    def residuals(points: Array) -> Array:
        return points[:, :1] * points[:, 1:2] * np.exp(points[:, 2:3] * X) - y

    p, q, r = inferred(residuals, free).estimates
    assert (p.status, q.status, r.status) == ("unidentifiable", "unidentifiable", "identified")
    assert p.low is p.high is None
    assert p.reason == "only a combination with q has an effect on what was measured"
    assert q.reason == "only a combination with p has an effect on what was measured"
    assert p.value * q.value == pytest.approx(6, rel=0.01)


def test_a_parameter_without_effect_is_said_to_have_none() -> None:
    y = 2 + 0.01 * np.random.default_rng(2).standard_normal(len(X))
    found = inferred(lambda points: points[:, :1] + 0 * points[:, 1:2] * X - y, (A, Free("idle", 3.0, 0.0)))
    assert [e.status for e in found.estimates] == ["identified", "unidentifiable"]
    assert found.estimates[1].reason == "it has no effect on what was measured"


def test_an_interval_beyond_a_factor_of_ten_is_no_knowledge() -> None:
    """Error of ln(slope): 0.3 / (0.01 sqrt(sum x^2)) = 6.7, far more than ln(10)."""
    rest = 0.3 * np.random.default_rng(0).standard_normal(len(X))
    jacobian = np.stack([np.ones_like(X), 0.01 * X], axis=1)
    solution = Solution(np.array([1.0, math.log(0.01)]), rest, jacobian, np.ones_like(X), (0.0,), 0)
    level, slope = infer(solution, (A, Free("slope", 1.0, 0.0))).estimates
    assert (level.status, slope.status) == ("identified", "unidentifiable")
    assert slope.reason == "its 95 % interval is wider than a factor of 10 either way"


def test_a_minimum_at_a_bound_is_told_as_such() -> None:
    y = -1 + 0.01 * np.random.default_rng(0).standard_normal(len(X))
    free = (Free("offset", 0.5, 0.0, 2.0, zero=True),)
    estimate = inferred(lambda points: points[:, :1] + 0 * X - y, free).estimates[0]
    assert estimate.status == "at bound"
    assert "lowest value of the search, 0" in estimate.reason


def test_robust_loss_ignores_outliers() -> None:
    y = 1 + 2 * X + 0.001 * np.random.default_rng(0).standard_normal(len(X))
    y[::6] += 3
    plain, robust = (minimise(line(y), (A, B), robust=r).search for r in (None, 0.01))
    assert np.abs(robust - [1, 2]).max() < 0.01 < np.abs(plain - [1, 2]).max()


def test_another_start_finds_the_deeper_minimum() -> None:
    """cos has minima at pi, 3 pi, ...; a slope makes the nearest the deepest: the start lies in the wrong one."""
    free = (Free("u", 8.0, 0.1),)

    def residuals(points: Array) -> Array:
        return np.sqrt(2 + np.cos(points[:, :1]) + 0.1 * points[:, :1])

    one, many = (minimise(residuals, free, starts=n, seed=0) for n in (1, 6))
    assert free[0].value(one.search[0]) == pytest.approx(3 * math.pi, abs=0.2)
    assert free[0].value(many.search[0]) == pytest.approx(math.pi, abs=0.2)
    assert many.costs == tuple(sorted(many.costs))
    assert many.evaluations > one.evaluations


def test_what_cannot_be_simulated_is_walked_around() -> None:
    """Parameters above 1.5 are impossible, and the minimum is at 1.4."""
    free = (Free("a", 0.5, 0.0),)

    def residuals(points: Array) -> Array:
        return np.where(points[:, :1] < 1.5, points[:, :1] - 1.4, np.nan) + 0 * X

    assert free[0].value(minimise(residuals, free).search[0]) == pytest.approx(1.4, rel=1e-4)
    with pytest.raises(SimulationError, match="no start"):
        minimise(lambda points: np.full((len(points), 3), np.nan), free)


def test_coarse_residuals_search_and_the_true_ones_decide() -> None:
    y = 1 + 2 * X
    shifted = line(y + 0.05)
    calls = {"fine": 0}

    def fine(points: Array) -> Array:
        calls["fine"] += 1
        return line(y)(points)

    found = minimise(fine, (A, B), coarse=shifted, together=True, starts=8)
    np.testing.assert_allclose(found.search, [1, 2], atol=1e-6)
    assert len(found.costs) == 8
    assert calls["fine"] < 12


def test_many_descents_side_by_side_reach_the_minimum_from_everywhere() -> None:
    """Rosenbrock's valley, and a bound that cuts it."""

    def residuals(points: Array) -> Array:
        return np.stack([10 * (points[:, 1] - points[:, 0] ** 2), 1 - points[:, 0]], axis=1)

    begin = np.random.default_rng(0).uniform(-2, 2, (12, 2))
    far = np.full(2, 5.0)
    points, costs = descend(residuals, begin, -far, far, step=1e-4)
    np.testing.assert_allclose(points, 1, atol=1e-2)
    assert costs.max() < 1e-4
    cut = np.array([0.5, 5.0])
    points, costs = descend(residuals, np.minimum(begin, 0.5), -far, cut, step=1e-4)
    np.testing.assert_allclose(points, [[0.5, 0.25]] * 12, atol=1e-2)
    np.testing.assert_allclose(costs, 0.25, rtol=1e-2)


@pytest.mark.parametrize(
    ("info", "start", "sign"),
    [
        (Param("x", source="s", gt=0), 2.0, 1),
        (Param("x", source="s", lt=0), -2.0, -1),
        (Param("x", source="s", ge=0), 2.0, 0),
        (Param("x", source="s"), 2.0, 0),
    ],
)
def test_the_scale_of_a_search_follows_from_what_a_parameter_may_be(info: Param, start: float, sign: int) -> None:
    free = from_param("x", start, info)
    assert free.sign == sign
    assert free.value(free.search(start)) == pytest.approx(start, rel=1e-12)
    low, high = free.bounds
    cloud = starts((free,), 32, 1.5, 0)
    assert cloud.shape == (32, 1)
    assert float(free.value(cloud[0, 0])) == pytest.approx(start)
    assert ((cloud >= low) & (cloud <= high)).all()


def test_goodness_in_known_numbers() -> None:
    found = goodness(np.array([0.0, 1, 2, 3]), np.array([0.0, 1, 2, 4]), 1, np.full(4, 0.5))
    assert found["rms_error"] == pytest.approx(0.5)
    assert found["rms_error_over_range"] == pytest.approx(0.5 / 3)
    assert found["r2"] == pytest.approx(1 - 1 / 5)
    assert found["reduced_chi2"] == pytest.approx(4 / 3)
    assert goodness(np.ones(3), np.ones(3), 1)["r2"] is None
