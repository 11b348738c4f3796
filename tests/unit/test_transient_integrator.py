"""The integrator: closed forms, bounds, memory, gradients, variation."""

from __future__ import annotations

import math
import weakref
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from memristor_plugins.devices.transient import (
    MODELS,
    VTEAM,
    Adaptive2DTransient,
    DataDriven,
    LinearIonDrift,
    StanfordPKU,
    TransientModel,
    Yakopcic,
    hold,
    pulses,
    simulate,
    table,
    triangle,
)
from memristor_plugins.errors import ConfigError, SimulationError

# A voltage that moves each model well within a time.
REACH = {
    "adaptive_2d": (0.6, 0.1),
    "data_driven": (1.2, 1e-3),
    "linear_ion_drift": (1.0, 1.0),
    "stanford_pku": (1.5, 1e-2),
    "vteam": (0.5, 1e-6),
    "yakopcic": (0.5, 5e-3),
}
DRIFT = 1e-14 * 100 / 10e-9**2  # 1/(A s), of the linear ion drift


def seeded(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


# --- long steps near the ends of the range -------------------------------------------------------------------------


@pytest.mark.parametrize("x0", [1.0, 0.9999, 0.9993, 0.99, 0.9, 0.5])
@pytest.mark.parametrize("seconds", [1e-3, 0.1, 0.5])
def test_a_state_near_an_end_is_not_thrown_to_the_other(x0: float, seconds: float) -> None:
    """R^2 = R_0^2 + 2 (R_off - R_on) drift |flux|: from x = 0.9993, -1 V for 0.1 s gives 5.64 kohm."""
    model = LinearIonDrift(x0=x0)
    r = 1 / model.conductance(simulate(model, hold(-1.0, seconds)).final)
    exact = math.sqrt((100 * x0 + 16e3 * (1 - x0)) ** 2 + 2 * 15.9e3 * DRIFT * seconds)
    assert float(r) == pytest.approx(min(exact, 16e3), rel=1e-5)


@pytest.mark.parametrize("seconds", [0.1, 1.0, 10.0])
def test_a_loss_that_is_large_only_at_the_start_does_not_empty_a_state(seconds: float) -> None:
    """Joglekar's window, p = 1: R_off ln x - R_on ln(1 - x) falls by 4 drift |flux|."""
    (x,) = simulate(LinearIonDrift(x0=0.9993, window="joglekar"), hold(-1.0, seconds)).final
    fall = [16e3 * math.log(at) - 100 * math.log1p(-at) for at in (0.9993, float(x))]
    assert fall[0] - fall[1] == pytest.approx(4 * DRIFT * seconds, rel=1e-4)


def test_a_state_stops_at_a_hard_end_and_leaves_it_in_time() -> None:
    """Dwell at x = 1 must not delay the way back: k_on (0.6 / 0.2 - 1)^3 / D for 5 ps after any time at +0.6 V."""
    back = hold(0.6, 1e-5).then(hold(-0.6, 5e-12))
    run = simulate(VTEAM(), back, record="segments")
    assert run.states is not None
    assert float(run.states["x"][1]) == 1.0
    assert float(run.final[0]) == pytest.approx(1 - 10 / 3e-9 * 8 * 5e-12, abs=1e-6)


# --- shapes, blocks, constants ---------------------------------------------------------------------------------------


def test_a_device_does_not_depend_on_its_neighbours() -> None:
    model = VTEAM().varied({"k_on": 0.3, "v_on": 0.1, "r_off": 0.2}, (3, 7), generator=seeded())
    wave = triangle(0.6, -0.6, 2e-6)
    together, apart = (simulate(model, wave, energy=True, block=block) for block in (1000, 1))
    assert together.energy is not None
    assert apart.energy is not None
    torch.testing.assert_close(together.final[0], apart.final[0], rtol=0, atol=1e-12)
    torch.testing.assert_close(together.energy, apart.energy, rtol=1e-9, atol=0)
    assert together.final[0].shape == (3, 7)
    assert together.steps == apart.steps


def test_a_gate_that_moves_under_a_constant_voltage_counts() -> None:
    """The gate's ramp in one segment is that in twenty."""
    model = Adaptive2DTransient(x0=0.1)
    line = table([0.0, 0.02], [0.4, 0.4], [-2.0, 2.0])
    pieces = table([0.001 * k for k in range(21)], [0.4] * 21, [-2 + 0.2 * k for k in range(21)])
    one, many = (simulate(model, wave, tolerance=1e-8).final[0] for wave in (line, pieces))
    at_start = simulate(model, hold(0.4, 0.02).gated(-2.0)).final[0]
    assert float(one) == pytest.approx(float(many), abs=1e-6)
    assert abs(float(at_start) - float(one)) > 0.05


def test_voltages_and_durations_of_each_cell() -> None:
    amplitude = torch.tensor([0.3, 0.4, 0.5], dtype=torch.float64)
    width = torch.tensor([1e-8, 2e-8, 5e-8], dtype=torch.float64)
    x = simulate(VTEAM(x0=0.1), pulses(amplitude, width, count=2)).final[0]
    torch.testing.assert_close(x, (0.1 + 2 * width * 5e-4 / 3e-9 * (amplitude / 0.02 - 1)).clamp_max(1.0))


@pytest.mark.parametrize("name", MODELS)
def test_energy_is_the_integral_of_the_trace(name: str) -> None:
    model, (volts, seconds) = MODELS[name](), REACH[name]
    run = simulate(model, triangle(volts, -volts, seconds), dt=seconds / 4000, record="steps", energy=True)
    assert run.time is not None
    assert run.v is not None
    assert run.current is not None
    assert float(run.energy or 0) == pytest.approx(float(torch.trapezoid(run.v * run.current, run.time)), rel=1e-3)


# --- properties ------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_states_stay_in_range_energy_is_spent_and_loops_are_pinched(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(MODELS)))
    volts, seconds = REACH[name]
    options: dict[str, Any] = {}
    if name in ("vteam", "linear_ion_drift"):
        options["window"] = data.draw(st.sampled_from(["none", "joglekar", "biolek", "prodromakis"]))
        options["window_p"] = data.draw(st.integers(1, 4))
    model = MODELS[name](**options)
    corners = [0.0, *data.draw(st.lists(st.floats(-1, 1, width=16), min_size=1, max_size=5)), 0.0]
    each = data.draw(st.floats(0.1, 10)) * seconds
    wave = table([k * each for k in range(len(corners))], [volts * corner for corner in corners]).gated(
        data.draw(st.floats(-2, 2))
    )
    tolerance = data.draw(st.sampled_from([None, 1e-5]))
    dtype = data.draw(st.sampled_from([torch.float32, torch.float64]))
    run = simulate(model, wave, tolerance=tolerance, record="steps", energy=True, dtype=dtype)
    assert run.states is not None
    assert run.energy is not None
    assert run.current is not None
    assert run.v is not None
    for (low, high), trace in zip(model.bounds(model.parameters), run.states.values(), strict=True):
        assert bool((trace >= torch.tensor(low, dtype=dtype)).all())
        assert bool((trace <= torch.tensor(high, dtype=dtype)).all())
    assert float(run.energy) >= 0
    assert bool((run.current * run.v >= 0).all())
    assert bool((run.current[run.v == 0] == 0).all())
    assert int((run.v == 0).sum()) >= 2


# --- memory ----------------------------------------------------------------------------------------------------------


class Live(TorchDispatchMode):
    """Bytes of tensors that are alive, and the most that were."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[int] = set()
        self.now = self.peak = 0

    def _gone(self, key: int, size: int) -> None:
        self.seen.discard(key)
        self.now -= size

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor) and leaf.untyped_storage()._cdata not in self.seen:
                storage = leaf.untyped_storage()
                self.seen.add(storage._cdata)
                self.now += storage.nbytes()
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._gone, storage._cdata, storage.nbytes())
        return out


@pytest.mark.parametrize("tolerance", [None, 1e-6])
@pytest.mark.parametrize("name", ["vteam", "adaptive_2d"])
def test_memory_does_not_grow_with_the_steps(name: str, tolerance: float | None) -> None:
    peaks = []
    model, (volts, seconds) = MODELS[name](), REACH[name]
    for steps in (20, 400):
        with Live() as live:
            run = simulate(
                model, triangle(volts, -volts, seconds), shape=(500,), dt=seconds / steps, tolerance=tolerance
            )
        assert run.steps >= steps * 500
        peaks.append(live.peak)
    assert peaks[1] <= 1.1 * peaks[0]


def test_traces_and_gradients_do_grow() -> None:
    """What the test above counts would show."""
    peaks = []
    for steps in (20, 400):
        with Live() as live:
            simulate(VTEAM(), triangle(0.5, -0.5, 1e-6), shape=(500,), dt=1e-6 / steps, record="steps", tolerance=None)
        peaks.append(live.peak)
    assert peaks[1] > 5 * peaks[0]


# --- gradients -------------------------------------------------------------------------------------------------------

# Away from ends and kinks, where a gradient has two sides.
SMOOTH = {
    "adaptive_2d": (Adaptive2DTransient(x0=0.2, w0=0.1, r_series=1e3, v_dirac=0.1), [0.30, 0.42, -0.1, -0.25], 2e-3),
    "data_driven": (DataDriven(r0=2500.0), [0.6, 0.9, -1.3, -1.4], 1e-4),
    "linear_ion_drift": (LinearIonDrift(x0=0.3), [0.5, 1.0, -0.4, -0.8], 0.05),
    "linear_ion_drift, joglekar": (LinearIonDrift(x0=0.3, window="joglekar"), [0.5, 1.0, -0.4, -0.8], 0.05),
    "linear_ion_drift, biolek": (LinearIonDrift(x0=0.3, window="biolek"), [0.5, 1.0, -0.4, -0.8], 0.05),
    "linear_ion_drift, prodromakis": (LinearIonDrift(x0=0.3, window="prodromakis"), [0.5, 1.0, -0.2, -0.4], 0.1),
    "stanford_pku": (StanfordPKU(gap0=1e-9), [0.9, 1.0, -0.9, -1.1], 1e-3),
    "vteam": (VTEAM(x0=0.6), [0.1, 0.2, -0.21, -0.22], 2e-8),
    "yakopcic": (Yakopcic(x0=0.4), [0.2, 0.4, -0.2, -0.3], 2e-4),
}


@pytest.mark.parametrize("tolerance", [None, 1e-5], ids=["fixed", "refined"])
@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_are_those_of_finite_differences(name: str, tolerance: float | None) -> None:
    """Of the states, the current and the energy in every parameter, the start and the voltages, each relative."""
    model, volts, seconds = SMOOTH[name]
    names = [p for p in model.parameters if p not in ("noise", "x0", "w0", "r0", "gap0")]
    values = [float(model.parameters[p]) for p in names]
    begin = [float(y) for y in model.start(model.parameters)]

    def outcome(factors: Tensor, start: Tensor, v: Tensor) -> Tensor:
        changed = model.with_parameters({p: value * f for p, value, f in zip(names, values, factors, strict=True)})
        wave = table([0.0, seconds, seconds, 2 * seconds], v * torch.tensor(volts, dtype=torch.float64), [1.0] * 4)
        state = tuple(y * s for y, s in zip(begin, start, strict=True))
        run = simulate(changed, wave, state=state, dt=seconds / 3, tolerance=tolerance, energy=True, record="segments")
        assert run.current is not None
        assert run.energy is not None
        scale = torch.tensor([1 / y for y in begin], dtype=torch.float64)
        read = model.conductance(tuple(torch.tensor(y, dtype=torch.float64) for y in begin))
        found = torch.stack(run.final) * scale, run.current[1:] / read, run.energy[None] / read / seconds
        return torch.cat(found)

    ones = [torch.ones(n, dtype=torch.float64, requires_grad=True) for n in (len(names), len(begin), 4)]
    assert torch.autograd.gradcheck(outcome, ones, eps=1e-6, atol=1e-5, rtol=1e-4)
    # Something moved, and a parameter moved it.
    result = outcome(*ones)
    assert (result[: len(begin)] - 1).abs().max() > 1e-2
    assert torch.autograd.grad(result[0], ones[0])[0].abs().max() > 1e-2


# --- variation -------------------------------------------------------------------------------------------------------


def steps_of_two_pulses(model: TransientModel, **options: Any) -> tuple[Tensor, Tensor]:
    """ln of what two equal pulses move the state by."""
    run = simulate(model, pulses(0.1, 1e-7, count=2), record="segments", **options)
    assert run.states is not None
    moved = run.states["x"].diff(dim=0).log()
    return moved[0], moved[1]


def test_device_to_device_variation_stays_with_the_device() -> None:
    n = 20_000
    first, second = steps_of_two_pulses(VTEAM(x0=0.1).varied({"k_off": 0.2, "r_on": 0.1}, (n,), generator=seeded()))
    # Means and deviations of n normals within five standard errors.
    assert float(first.mean()) == pytest.approx(math.log(1e-7 * 5e-4 / 3e-9 * 4), abs=5 * 0.2 / n**0.5)
    assert float(first.std()) == pytest.approx(0.2, rel=5 / (2 * n) ** 0.5)
    torch.testing.assert_close(first, second, rtol=0, atol=1e-9)


def test_cycle_to_cycle_variation_is_drawn_anew() -> None:
    n = 20_000
    options: dict[str, Any] = {"shape": (n,), "cycle_spread": {"k_off": 0.2}}
    first, second = steps_of_two_pulses(VTEAM(x0=0.1), generator=seeded(), **options)
    for moved in (first, second):
        assert float(moved.mean()) == pytest.approx(math.log(1e-7 * 5e-4 / 3e-9 * 4), abs=5 * 0.2 / n**0.5)
        assert float(moved.std()) == pytest.approx(0.2, rel=5 / (2 * n) ** 0.5)
    assert abs(float(torch.corrcoef(torch.stack((first, second)))[0, 1])) < 5 / n**0.5
    again, _ = steps_of_two_pulses(VTEAM(x0=0.1), generator=seeded(), **options)
    assert torch.equal(first, again)


def test_both_together() -> None:
    """A device's own factor and the cycle's: variances add, their correlation is the device's share."""
    n = 20_000
    model = VTEAM(x0=0.1).varied({"k_off": 0.2}, (n,), generator=seeded())
    moved = torch.stack(steps_of_two_pulses(model, cycle_spread={"k_off": 0.1}, generator=seeded(1)))
    assert float(moved.std()) == pytest.approx(math.hypot(0.2, 0.1), rel=0.03)
    assert float(torch.corrcoef(moved)[0, 1]) == pytest.approx(0.8, abs=0.02)


def test_noise_of_the_state() -> None:
    """Standard deviation noise sqrt(x (1 - x) t) after a time in which nothing else happens."""
    n = 20_000
    model = Adaptive2DTransient(x0=0.3, w0=1.0, noise=0.5)
    (x, _) = simulate(model, hold(0.0, 1e-3), shape=(n,), dt=1e-4, generator=seeded()).final
    assert float(x.std()) == pytest.approx(0.5 * math.sqrt(0.3 * 0.7 * 1e-3), rel=5 / (2 * n) ** 0.5)
    assert float(x.mean()) == pytest.approx(0.3, abs=5 * float(x.std()) / n**0.5)


def test_variation_of_the_start_stays_in_range() -> None:
    model = VTEAM(x0=0.9).varied({"x0": 0.3}, (1000,), generator=seeded())
    run = simulate(model, hold(0.01, 1e-9), record="segments")
    assert run.states is not None
    assert float(run.states["x"].max()) == 1.0


# --- errors ----------------------------------------------------------------------------------------------------------


def test_errors_name_what_is_wrong() -> None:
    model, wave = VTEAM(), hold(0.1, 1e-8)
    with pytest.raises(ConfigError, match=r"did you mean|k_off") as caught:
        model.varied({"k_of": 0.1}, (3,), generator=seeded())
    assert caught.value.option == "spread.k_of"
    with pytest.raises(ConfigError, match="must not be negative"):
        simulate(model, wave, cycle_spread={"k_off": -0.1}, generator=seeded())
    with pytest.raises(SimulationError, match="needs a generator"):
        simulate(model, wave, cycle_spread={"k_off": 0.1})
    with pytest.raises(SimulationError, match="needs a generator"):
        simulate(Adaptive2DTransient(noise=0.1), hold(0.1, 1e-3))
    with pytest.raises(SimulationError, match="do not fit"):
        simulate(model.with_parameters({"k_off": torch.ones(3)}), hold(torch.ones(4), 1e-8))
    for options, option in (({"dt": 0.0}, "dt"), ({"tolerance": 0.0}, "tolerance"), ({"block": 0}, "block")):
        with pytest.raises(ConfigError) as wrong:
            simulate(model, wave, **options)  # type: ignore[arg-type]
        assert wrong.value.option == option
