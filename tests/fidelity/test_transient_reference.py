"""Every transient model over a full hysteresis loop against an independent solution.

Equations and constants are written out once more, in plain numbers, from the publications that the models' classes
name, and solved by scipy at rtol 1e-10: Radau, or DOP853 where hard ends stop the state. Where a law changes
abruptly (0 V, thresholds) one solution ends and the next begins; an event finds the moment a state meets a hard
end. Currents and states must agree within 1e-4 of full scale (largest current, range of the state), with refined and
with fixed steps.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from memristor_plugins.devices.transient import (
    VTEAM,
    Adaptive2DTransient,
    DataDriven,
    LinearIonDrift,
    StanfordPKU,
    Waveform,
    Yakopcic,
    simulate,
    triangle,
)
from memristor_plugins.interfaces.transient import TransientModel

POINTS = 100  # compared, in each quarter of a loop
FULL_SCALE = 1e-4
KB_EV = 8.617333262e-5

Rates = Callable[[Sequence[float], float], Sequence[float]]
Current = Callable[[Sequence[float], float], float]


@dataclass(frozen=True)
class Case:
    """A model, its loop, and the same equations in plain numbers.

    Args:
        rates, current: of states and voltage.
        low, high: range of the states; a state at an end moves only inwards.
        hard: the (only) state meets its ends, where it stops.
        thresholds: voltages where the law changes, beside 0 V.
        fixed: fixed base steps in a quarter of the loop that suffice, a multiple of POINTS.
    """

    model: TransientModel
    positive: float
    negative: float
    period: float
    start: tuple[float, ...]
    rates: Rates
    current: Current
    low: tuple[float, ...] = (0.0,)
    high: tuple[float, ...] = (1.0,)
    v_gate: float = 0.0
    fixed: int = POINTS
    hard: bool = False
    thresholds: tuple[float, ...] = ()


def adaptive_2d(v_gate: float) -> tuple[Rates, Current]:
    n = 8.8541878128e-12 * 3.9 / 10e-9 / 1.602176634e-19 * v_gate / 1e16
    fermi, kt = 0.1166 * n / (n**2 + 0.2**2) ** 0.25, KB_EV * 300
    k0 = 1 / (0.04 * math.cosh(0.4 / 0.04))

    def rates(y: Sequence[float], v: float) -> Sequence[float]:
        x, w = y
        r = k0 * math.sinh(v / 0.04) * (math.exp(0.6 * fermi / 0.04) if v > 0 else 1)
        tau = 0.05 * (1e4 / 0.05) ** w * math.exp(0.15 * fermi / kt)
        dx = (r * (1 - x) if v > 0 else r * x) - x / tau
        return dx, (5 * x * (1 - w) if v > 0 else r * w) - w / 1e4

    g_on = 20e-6 * math.exp(0.3 * fermi / (4 * kt))
    return rates, lambda y, v: 1e-9 ** (1 - y[0]) * g_on ** y[0] * v


def window(name: str, p: int, x: float, rising: bool) -> float:
    if name == "joglekar":
        return 1 - (2 * x - 1) ** (2 * p)
    if name == "biolek":
        return 1 - (x - (0 if rising else 1)) ** (2 * p)
    if name == "prodromakis":
        return 1 - ((x - 0.5) ** 2 + 0.75) ** p
    return 1.0


def linear_ion_drift(name: str, p: int) -> tuple[Rates, Current]:
    def current(y: Sequence[float], v: float) -> float:
        return v / (100 * y[0] + 16e3 * (1 - y[0]))

    def rates(y: Sequence[float], v: float) -> Sequence[float]:
        return (1e-14 * 100 / 10e-9**2 * current(y, v) * window(name, p, y[0], v > 0),)

    return rates, current


def vteam(name: str, p: int) -> tuple[Rates, Current]:
    def rates(y: Sequence[float], v: float) -> Sequence[float]:
        rate = 0.0
        if v > 0.02:
            rate = 5e-4 / 3e-9 * (v / 0.02 - 1)
        elif v < -0.2:
            rate = -10 / 3e-9 * (v / -0.2 - 1) ** 3
        return (rate * window(name, p, y[0], rate > 0),)

    return rates, lambda y, v: v / (50 + 950 * y[0])


def yakopcic() -> tuple[Rates, Current]:
    def rates(y: Sequence[float], v: float) -> Sequence[float]:
        x, g = y[0], 0.0
        if v > 0.16:
            g = 4000 * (math.exp(v) - math.exp(0.16))
        elif v < -0.15:
            g = -4000 * (math.exp(-v) - math.exp(0.15))
        f = 1.0
        if v > 0 and x >= 0.3:
            f = math.exp(-1 * (x - 0.3)) * ((0.3 - x) / (1 - 0.3) + 1)
        elif v <= 0 and x <= 1 - 0.5:
            f = math.exp(5 * (x + 0.5 - 1)) * x / (1 - 0.5)
        return (g * f,)

    return rates, lambda y, v: 0.17 * y[0] * math.sinh(0.05 * v)


def stanford_pku() -> tuple[Rates, Current]:
    def current(y: Sequence[float], v: float) -> float:
        return 1e-3 * math.exp(-y[0] / 0.25e-9) * math.sinh(v / 0.25)

    def rates(y: Sequence[float], v: float) -> Sequence[float]:
        kt = KB_EV * (298 + 2.1e3 * abs(v * current(y, v)))
        gamma = 16 - 0.8 * (y[0] / 1e-9) ** 3
        return (-10 * math.exp(-0.6 / kt) * math.sinh(gamma * 0.25e-9 / 12e-9 * v / kt),)

    return rates, current


def data_driven() -> tuple[Rates, Current]:
    def rates(y: Sequence[float], v: float) -> Sequence[float]:
        r = y[0]
        if v > 0:
            edge = 2699.2336 - 672.930205 * v
            return (600.10075 * (math.exp(v / -0.0212028) - 1) * (edge - r) ** 2 if r > edge else 0.0,)
        edge = 649.413746 - 1474.32358 * v
        return (-34.5988399 * (math.exp(-v / -0.05343997) - 1) * (r - edge) ** 2 if r < edge else 0.0,)

    return rates, lambda y, v: 0.32046175 / y[0] * math.sinh(2.71689828 * v)


CASES = {
    "adaptive_2d, -2 V": Case(
        Adaptive2DTransient(), 0.8, -0.8, 3.2, (0.0, 0.0), *adaptive_2d(-2.0), (0.0, 0.0), (1.0, 1.0), -2.0, 200
    ),
    "adaptive_2d": Case(
        Adaptive2DTransient(), 0.8, -0.8, 3.2, (0.0, 0.0), *adaptive_2d(0.0), (0.0, 0.0), (1.0, 1.0), fixed=200
    ),
    "adaptive_2d, 2 V": Case(
        Adaptive2DTransient(), 0.8, -0.8, 3.2, (0.0, 0.0), *adaptive_2d(2.0), (0.0, 0.0), (1.0, 1.0), 2.0, 200
    ),
    "linear_ion_drift": Case(LinearIonDrift(), 1.0, -1.0, 2.0, (0.1,), *linear_ion_drift("none", 1), hard=True),
    "linear_ion_drift, joglekar": Case(
        # Little longer, and 1 - x falls below the resolution of doubles: no solver comes back from there.
        LinearIonDrift(window="joglekar", window_p=2),
        1.0,
        -1.0,
        2.8,
        (0.1,),
        *linear_ion_drift("joglekar", 2),
    ),
    "linear_ion_drift, biolek": Case(
        LinearIonDrift(window="biolek", window_p=1), 1.0, -1.0, 8.0, (0.1,), *linear_ion_drift("biolek", 1), fixed=400
    ),
    "linear_ion_drift, prodromakis": Case(
        LinearIonDrift(window="prodromakis", window_p=3), 1.0, -1.0, 4.0, (0.1,), *linear_ion_drift("prodromakis", 3)
    ),
    # To both hard ends and back.
    "vteam": Case(VTEAM(), 0.6, -0.6, 2e-6, (0.5,), *vteam("none", 1), fixed=800, hard=True, thresholds=(0.02, -0.2)),
    "vteam, joglekar": Case(
        VTEAM(window="joglekar"), 0.5, -0.24, 1e-6, (0.5,), *vteam("joglekar", 1), thresholds=(0.02, -0.2)
    ),
    "vteam, biolek": Case(
        VTEAM(window="biolek", window_p=2), 0.5, -0.24, 1e-6, (0.5,), *vteam("biolek", 2), thresholds=(0.02, -0.2)
    ),
    "vteam, prodromakis": Case(
        VTEAM(window="prodromakis", window_p=2),
        0.5,
        -0.24,
        1e-6,
        (0.5,),
        *vteam("prodromakis", 2),
        thresholds=(0.02, -0.2),
    ),
    "yakopcic": Case(Yakopcic(), 0.5, -0.5, 0.01, (0.11,), *yakopcic(), fixed=200, thresholds=(0.16, -0.15)),
    "stanford_pku": Case(
        StanfordPKU(), 1.5, -2.0, 7e-2, (1.7e-9,), *stanford_pku(), (0.2e-9,), (1.7e-9,), fixed=2000, hard=True
    ),
    "data_driven": Case(DataDriven(), 1.2, -1.2, 2e-3, (3000.0,), *data_driven(), (1600.0,), (3000.0,), fixed=200),
}


def solve(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """States [states, 4 POINTS] and voltages at equally spaced instants of each straight line of the loop."""
    low, scale = np.array(case.low), np.array(case.high) - np.array(case.low)
    z = (np.array(case.start) - low) / scale
    total = 2 * (case.positive - case.negative)
    states, volts = [], []
    for a, b in itertools.pairwise([0.0, case.positive, 0.0, case.negative, 0.0]):
        duration = abs(b - a) / total * case.period
        times = np.linspace(0, duration, POINTS + 1)
        # Pieces between the line's ends and the thresholds on it: there the law is smooth in time.
        jumps = [(v - a) / (b - a) * duration for v in case.thresholds if min(a, b) < v < max(a, b)]
        line = np.empty((len(z), POINTS + 1))
        for begin, end in itertools.pairwise([0.0, *sorted(jumps), duration]):
            inside = (times >= begin) & (times <= end)
            line[:, inside], z = piece(
                case, z, begin, end, times[inside], lambda t, a=a, b=b, d=duration: a + (b - a) * t / d
            )
        states.append(low[:, None] + line[:, 1:] * scale[:, None])
        volts.append(a + (b - a) * times[1:] / duration)
    return np.concatenate(states, axis=1), np.concatenate(volts)


def piece(
    case: Case, z: np.ndarray, begin: float, end: float, times: np.ndarray, volts: Callable[[float], float]
) -> tuple[np.ndarray, np.ndarray]:
    """Normalised states at `times` and at `end`, from `z` at `begin`; the law is smooth between the two.

    A state that meets a bound stays there to the end of the piece: a direction of motion lasts from one change of
    the law to the next. The state that stays is the only one there is: models with hard ends have one.
    """
    low, scale = np.array(case.low), np.array(case.high) - np.array(case.low)
    margin = 1e-13 * (end - begin)

    def slope(t: float, y: np.ndarray) -> np.ndarray:
        # A threshold itself belongs to neither side.
        v = volts(min(max(t, begin + margin), end - margin))
        return np.array(case.rates((low + y * scale).tolist(), v)) / scale

    def meets_low(t: float, y: np.ndarray) -> float:
        return float(y[0])

    def meets_high(t: float, y: np.ndarray) -> float:
        return float(1 - y[0])

    events = []
    if case.hard:
        push = slope((begin + end) / 2, z)[0]
        if (z[0] <= 0 and push <= 0) or (z[0] >= 1 and push >= 0):
            return np.repeat(z[:, None], len(times), axis=1), z
        meets_low.terminal = meets_high.terminal = True  # type: ignore[attr-defined]
        events = [meets_low] if push < 0 else [meets_high]
    method = "DOP853" if case.hard else "Radau"  # soft ends are stiff: the equilibrium is at the end
    found = solve_ivp(
        slope, (begin, end), z, method=method, rtol=1e-10, atol=1e-13, dense_output=True, events=events or None
    )
    assert found.success, found.message
    last = np.clip(np.round(found.y[:, -1]) if found.status == 1 else found.y[:, -1], 0, 1)
    reached = np.clip(found.sol(np.minimum(times, found.t[-1])), 0, 1)
    reached[:, times > found.t[-1]] = last[:, None]
    return reached, last


@cache
def reference(name: str) -> tuple[np.ndarray, np.ndarray]:
    """States and currents of a case."""
    case = CASES[name]
    states, volts = solve(case)
    current = np.array([case.current(y.tolist(), v) for y, v in zip(states.T, volts, strict=True)])
    return states, current


def errors(name: str, *, fixed: bool, dtype: torch.dtype = torch.float64) -> tuple[float, float]:
    """Largest error of a state over its range, and of the current over the largest one."""
    case = CASES[name]
    wave = triangle(case.positive, case.negative, case.period).gated(case.v_gate)
    assert wave.v_gate is not None
    every = case.fixed // POINTS if fixed else 1
    got_states, got_current, state = [], [], None
    # A line at a time: their lengths differ where the amplitudes do, and with them the steps.
    for i in range(len(wave)):
        line = Waveform(wave.duration[i : i + 1], wave.v[i : i + 1], wave.v_gate[i : i + 1])
        run = simulate(
            case.model, line, state=state, dt=float(wave.duration[i]) / (POINTS * every),
            tolerance=None if fixed else 1e-6, record="steps", dtype=dtype,
        )  # fmt: skip
        assert run.states is not None
        assert run.current is not None
        state = run.final
        got_states.append(torch.stack([run.states[s] for s in case.model.states])[:, every::every])
        got_current.append(run.current[every::every])
    states, current = reference(name)
    scale = (np.array(case.high) - np.array(case.low))[:, None]
    state_error = np.abs(torch.cat(got_states, 1).double().numpy() - states) / scale
    current_error = np.abs(torch.cat(got_current).double().numpy() - current).max() / np.abs(current).max()
    return float(state_error.max()), float(current_error)


@pytest.mark.parametrize("name", CASES)
def test_loops_switch(name: str) -> None:
    """The loops are worth comparing: the state crosses a third of its range, both ways."""
    case = CASES[name]
    first = reference(name)[0][0] / (case.high[0] - case.low[0])
    assert np.ptp(first) > 1 / 3
    assert np.diff(first).max() > 0 > np.diff(first).min()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("fixed", [False, True], ids=["refined", "fixed"])
def test_a_loop_agrees_with_scipy(name: str, fixed: bool) -> None:
    state_error, current_error = errors(name, fixed=fixed)
    assert state_error < FULL_SCALE
    assert current_error < FULL_SCALE


@pytest.mark.parametrize("name", ["vteam", "adaptive_2d, -2 V", "adaptive_2d, 2 V"])
@pytest.mark.parametrize("fixed", [False, True], ids=["refined", "fixed"])
def test_single_precision_suffices(name: str, fixed: bool) -> None:
    state_error, current_error = errors(name, fixed=fixed, dtype=torch.float32)
    assert state_error < FULL_SCALE
    assert current_error < FULL_SCALE
