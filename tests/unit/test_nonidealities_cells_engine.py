"""Effects on cells within layers: where they act, what they leave alone, chips, times, training."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Generator, Tensor, nn

from memristor_plugins.api import AnalogLayer, Device, NonIdeality, SimulationError, Stack, analogize, program
from memristor_plugins.devices.adaptive_2d import Adaptive2D
from memristor_plugins.devices.generic import Generic
from memristor_plugins.devices.ideal import Ideal
from memristor_plugins.devices.soft_bounds import SoftBounds
from memristor_plugins.mappings.differential import Differential
from memristor_plugins.nonidealities.d2d import D2D
from memristor_plugins.nonidealities.drift import Drift
from memristor_plugins.nonidealities.endurance import Endurance
from memristor_plugins.nonidealities.levels import Levels
from memristor_plugins.nonidealities.programming import Programming
from memristor_plugins.nonidealities.relaxation import Relaxation
from memristor_plugins.nonidealities.retention import Retention
from memristor_plugins.nonidealities.stuck_at import StuckAt
from memristor_plugins.nonidealities.temperature import Temperature
from memristor_plugins.nonidealities.write_verify import WriteVerify

Z = 4.9  # two-sided normal quantile of 1e-6
ARRAYS = Differential(rows=64, columns=32)
DEVICE = Generic(g_min=0.2e-6, g_max=20e-6, std=0.05, drift=0.03, drift_std=0.01)


def linear(rows: int = 90, cols: int = 40) -> nn.Linear:
    layer = nn.Linear(rows, cols, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.rand(cols, rows, generator=Generator().manual_seed(1)) * 2 - 1)
    return layer


def on_chip(
    effects: dict[str, NonIdeality],
    device: Device = DEVICE,
    *,
    module: nn.Module | None = None,
    chip: int = 3,
    seconds: float = 0.0,
) -> AnalogLayer:
    layer = analogize(linear() if module is None else module, Stack(device, ARRAYS, effects)).eval()
    assert isinstance(layer, AnalogLayer)
    program(layer, chip, seconds)
    return layer


def held(layer: AnalogLayer) -> Tensor:
    """Conductances that a read of the programmed layer sees."""
    assert layer.chip is not None
    return layer.chip.conductance(layer.stack, layer.stack.context(layer.seconds))


def out(layer: AnalogLayer) -> Tensor:
    with torch.no_grad():
        return layer(torch.rand(6, 90, generator=Generator().manual_seed(2)))


NOTHING: dict[str, NonIdeality] = {
    "levels": Levels(0),
    "d2d": D2D(0.0),
    "retention": Retention(tau=math.inf),
    "relaxation": Relaxation(sigma=0.0),
    "temperature": Temperature(e_conduction=0.2, tcr=1e-3, e_ageing=1.0),
    "endurance": Endurance(cycles=0.0, closing=0.5),
    "stuck_at": StuckAt(0.0, 0.0, cluster=3.0),
}
SOMETHING: dict[str, NonIdeality] = {
    "levels": Levels(4),
    "programming": Programming(),
    "d2d": D2D(0.2),
    "retention": Retention(tau=1e5, sigma=1.0),
    "relaxation": Relaxation(sigma=1e-3),
    "temperature": Temperature(350.0, tcr=2e-3, e_ageing=0.2),
    "endurance": Endurance(cycles=2e5, closing=0.2),
    "stuck_at": StuckAt(0.01, 0.01, p_any=0.02, cluster=3.0),
}


@pytest.mark.parametrize("beside", [{}, {"programming": Programming(), "drift": Drift()}], ids=["alone", "beside"])
@pytest.mark.parametrize("name", [*NOTHING, "all"])
def test_an_effect_of_zero_strength_changes_no_bit(name: str, beside: dict[str, NonIdeality]) -> None:
    effects = NOTHING if name == "all" else {name: NOTHING[name]}
    plain = on_chip(beside, seconds=1e5)
    layer = on_chip({**beside, **effects}, seconds=1e5)
    assert torch.equal(held(layer), held(plain))
    assert torch.equal(out(layer), out(plain))


def test_write_verify_without_rewrites_is_programming() -> None:
    one, other = on_chip({"write_verify": WriteVerify(0)}), on_chip({"programming": Programming()})
    assert torch.equal(held(one), held(other))
    exact = on_chip({"write_verify": WriteVerify()}, Ideal())
    assert torch.equal(out(exact), out(on_chip({}, Ideal())))


@pytest.mark.filterwarnings("ignore:nonidealities.temperature.e_ageing has no effect without ageing")
@pytest.mark.parametrize("name", SOMETHING)
def test_an_effect_acts_and_is_the_chips_own(name: str) -> None:
    effects = {name: SOMETHING[name]}
    one, again, other = (on_chip(effects, chip=chip, seconds=1e4) for chip in (3, 3, 4))
    assert torch.equal(held(one), held(again))
    assert not torch.equal(held(one), held(on_chip({}, seconds=1e4)))
    drawn_once_a_chip = name not in ("levels", "temperature")
    assert torch.equal(held(one), held(other)) != drawn_once_a_chip


def test_the_order_of_the_list_never_matters_and_effects_draw_apart() -> None:
    listed = on_chip(SOMETHING, seconds=1e4)
    backwards = on_chip(dict(reversed(SOMETHING.items())), seconds=1e4)
    assert torch.equal(held(listed), held(backwards))
    # What another effect draws does not move this one's cells.
    both, chip = on_chip(SOMETHING), on_chip({"stuck_at": SOMETHING["stuck_at"]}).chip
    assert both.chip is not None
    assert chip is not None
    assert torch.equal(both.chip.drawn["stuck_at"], chip.drawn["stuck_at"])


def test_targets_stand_on_levels_before_anything_is_written() -> None:
    layer = on_chip({"levels": Levels(5), "programming": Programming()})
    assert layer.chip is not None
    expected = torch.linspace(DEVICE.g_min, DEVICE.g_max, 5, dtype=torch.float64)
    torch.testing.assert_close(layer.chip.state.target.unique().double(), expected, rtol=1e-6, atol=0)
    assert layer.chip.state.g.unique().numel() > 1000
    error = layer.chip.state.g - layer.chip.state.target
    free = layer.chip.state.target > 5e-6
    assert float(error[free].std()) == pytest.approx(DEVICE.std * DEVICE.g_max, rel=0.1)


def test_a_weight_that_is_not_a_number_is_told_with_its_layer() -> None:
    module = linear()
    with torch.no_grad():
        module.weight[3, 5] = math.nan
    with pytest.raises(SimulationError, match=r"chip 3: conductance nan S at"):
        on_chip({"levels": Levels(8)}, module=module)


def test_write_verify_counts_its_writes_in_a_layer() -> None:
    layer = on_chip({"write_verify": WriteVerify(8, 0.05)})
    assert layer.chip is not None
    state, effect = layer.chip.state, layer.stack.nonidealities["write_verify"]
    assert isinstance(effect, WriteVerify)
    assert state.pulses is not None
    assert state.pulses.shape == state.g.shape
    assert float(state.pulses.max()) == state.writes <= 9
    assert effect.converged(state, DEVICE) == float(((state.g - state.target).abs() <= 1e-6).double().mean()) > 0.99


@pytest.mark.parametrize(
    ("device", "effects", "message"),
    [
        (Adaptive2D(), {"write_verify": WriteVerify()}, "write_verify would count twice: Adaptive2D"),
        (Adaptive2D(), {"d2d": D2D(), "programming": Programming()}, "d2d together with 'programming'"),
        (Adaptive2D(), {"retention": Retention(), "drift": Drift()}, "retention together with 'drift'"),
        (SoftBounds(), {"write_verify": WriteVerify()}, "write_verify would count twice: SoftBounds"),
        (DEVICE, {"write_verify": WriteVerify(), "programming": Programming()}, r"same site \(write\)"),
        (DEVICE, {"write_verify": WriteVerify(), "d2d": D2D()}, "a verified write hides device-to-device"),
    ],
)
def test_what_would_count_twice_is_refused(device: Device, effects: dict[str, NonIdeality], message: str) -> None:
    with pytest.raises(SimulationError, match=message):
        Stack(device, ARRAYS, effects)


def test_effects_of_a_device_may_be_replaced_one_by_one() -> None:
    for effects in (
        {"d2d": D2D()},
        {"retention": Retention()},
        {"programming": Programming(), "retention": Retention()},
    ):
        assert torch.isfinite(out(on_chip(effects, Adaptive2D(), seconds=1e6))).all()


def test_variation_between_cells_is_independent_in_a_layer() -> None:
    """120,000 cells: spread, and correlation along word lines, bit lines and between the cells of a pair."""
    sigma = 0.2
    module = nn.Linear(300, 200, bias=False)
    nn.init.constant_(module.weight, 0.5)
    module.weight.data[::2] *= -1  # both cells of a pair are used, in turn
    layer = on_chip({"d2d": D2D(sigma)}, module=module)
    assert layer.chip is not None
    z = (layer.chip.state.g / layer.chip.state.target).log().squeeze().double() / sigma + sigma / 2
    n = z.numel()
    assert n == 120_000
    assert abs(float(z.mean())) < Z / math.sqrt(n)
    assert abs(float(z.var()) - 1) < Z * math.sqrt(2 / n)
    for a, b in ((z[0], z[1]), (z[:, 1:], z[:, :-1]), (z[..., 1:], z[..., :-1])):
        assert abs(float((a * b).mean())) < Z / math.sqrt(a.numel())


@pytest.mark.parametrize("name", ["retention", "relaxation"])
def test_all_times_of_a_chip_lie_on_one_trajectory(name: str) -> None:
    layer = on_chip({name: SOMETHING[name], "programming": Programming()}, seconds=1e4)
    before, first = held(layer), out(layer)
    program(layer, 3, 1e6)
    assert not torch.equal(held(layer), before)
    program(layer, 3, 1e4)
    assert torch.equal(held(layer), before)
    assert torch.equal(out(layer), first)
    assert torch.equal(held(on_chip({name: SOMETHING[name], "programming": Programming()}, seconds=1e4)), before)


def test_ageing_effects_add_up_their_changes() -> None:
    effects = {"drift": Drift(), "retention": SOMETHING["retention"], "relaxation": SOMETHING["relaxation"]}
    new = held(on_chip(effects)).double()
    changes = [held(on_chip({name: effect}, seconds=1e4)).double() - new for name, effect in effects.items()]
    expected = (new + sum(changes)).clamp_min(0)
    torch.testing.assert_close(held(on_chip(effects, seconds=1e4)).double(), expected, rtol=1e-5, atol=1e-11)
    assert all(float(change.abs().mean()) > 1e-8 for change in changes)


def test_heat_scales_what_aged_and_stuck_cells_carry_and_hastens_ageing() -> None:
    retention, hot = Retention(tau=1e5, sigma=0.5), Temperature(360.0, tcr=4e-3, e_ageing=0.6)
    faults = StuckAt(0.05, 0.05)
    warm = on_chip({"retention": retention, "temperature": hot, "stuck_at": faults}, seconds=1e4)
    later = 1e4 * math.exp(0.6 / 8.617333262e-5 * (1 / 300 - 1 / 360))
    cool = on_chip({"retention": retention, "stuck_at": faults}, seconds=later)
    torch.testing.assert_close(held(warm), held(cool) / 1.24, rtol=1e-5, atol=0)
    assert held(cool).mean() < 0.8 * held(on_chip({"stuck_at": faults})).mean()


def test_stuck_and_worn_out_cells_do_not_age() -> None:
    effects = {"retention": Retention(tau=1e3), "stuck_at": StuckAt(0.1, 0.0), "endurance": Endurance(p_on=1.0)}
    layer = on_chip(effects, seconds=1e9)
    stuck = (held(layer) == DEVICE.g_max).double().mean()
    assert 0.08 < float(stuck) < 0.15
    assert float(held(layer)[held(layer) < DEVICE.g_max].max()) < 1.001 * DEVICE.g_min


def test_a_training_step_runs_on_all_of_them() -> None:
    layer = analogize(linear(), Stack(DEVICE, ARRAYS, SOMETHING)).train()
    x = torch.rand(8, 90, generator=Generator().manual_seed(4))
    first = layer(x)
    first.square().mean().backward()
    gradient = layer.weights.grad
    assert gradient is not None
    assert gradient.isfinite().all()
    assert float(gradient.abs().max()) > 0
    layer.step = 1
    assert not torch.equal(layer(x), first)


def test_reads_stay_linear_and_static() -> None:
    layer = on_chip(SOMETHING, seconds=1e4)
    assert layer.plan.kind == "collapsed"
    assert torch.equal(out(layer), out(layer))
    x = torch.rand(4, 90, generator=Generator().manual_seed(5))
    with torch.no_grad():
        torch.testing.assert_close(layer(2 * x), 2 * layer(x), rtol=1e-5, atol=1e-6)
