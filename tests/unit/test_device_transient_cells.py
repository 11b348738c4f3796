"""Transient models as array cells: their curves against the integrator, and what a write leaves."""

import math

import pytest
import torch
from torch import Generator, Tensor

from memristor_plugins.devices._transient_cell import TransientCell
from memristor_plugins.devices.data_driven import DataDrivenCell
from memristor_plugins.devices.linear_ion_drift import LinearIonDriftCell
from memristor_plugins.devices.stanford_pku import StanfordPKUCell
from memristor_plugins.devices.transient import hold, simulate
from memristor_plugins.devices.vteam import VTEAMCell
from memristor_plugins.devices.yakopcic import YakopcicCell
from memristor_plugins.errors import ConfigError
from memristor_plugins.interfaces.device import Cells
from memristor_plugins.signature import parameters

CLASSES = [VTEAMCell, YakopcicCell, StanfordPKUCell, LinearIonDriftCell, DataDrivenCell]
each = pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)


def seeded(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


def nominal(device: TransientCell, count: int) -> Cells:
    """Cells without spread, in double precision."""
    low, high = (torch.full((count,), g, dtype=torch.float64) for g in device.bounds)
    ones = torch.ones(count, dtype=torch.float64)
    return Cells({"up": ones, "down": ones, "low": low, "high": high})


@each
@pytest.mark.parametrize("direction", [1.0, -1.0], ids=["set", "reset"])
def test_a_pulse_does_what_the_integrator_says(cls: type[TransientCell], direction: float) -> None:
    """Conductance and energy of one pulse from eleven states, by quadrature and by `simulate` at 1e-8."""
    device = cls()
    low, high = device.bounds
    g = low + (high - low) * torch.linspace(0.02, 0.98, 11, dtype=torch.float64)
    # An eighth of the way to the end of the range, so that no state runs into it.
    end = torch.full_like(g, high if direction > 0 else low)
    count = device.pulses_to(g, end) / 8
    after = device.pulse(g, count, cells=nominal(device, 11), generator=None)
    volts, width = ((v[0] if direction > 0 else v[1]) for v in (device.pulse_voltage, device.pulse_width))
    seconds = count.abs() * width
    trajectory = simulate(
        device.model,
        hold(volts, seconds),
        state=device.model.state_at(g),
        energy=True,
        # R^2 is linear in time: the first ten-thousandth of a reset moves R_on further than all the rest.
        dt=seconds.max().item() / 2000 if cls is LinearIonDriftCell else None,
        tolerance=1e-8,
    )
    exact = device.model.conductance(trajectory.final)
    assert ((after - exact) / (high - low)).abs().max().item() < 1e-3
    assert (after - g).abs().max().item() > 0.02 * (high - low)
    assert trajectory.energy is not None
    energy = device.pulse_energy(g, after, count)
    # Pulses that move a cell by less than half a percent of the range are charged over that stretch.
    moved = (after - g).abs() > 0.01 * (high - low)
    torch.testing.assert_close(energy[moved], trajectory.energy[moved], rtol=0.02, atol=0)


@each
def test_a_write_reaches_its_targets_in_a_few_pulses(cls: type[TransientCell]) -> None:
    device = cls()
    span = device.g_max - device.g_min
    target = device.g_min + span * torch.rand(20_000, generator=seeded(2))
    state = device.program(target, generator=seeded())
    error = (state.g - target).abs() / span
    assert (error <= device.tolerance * 1.001).double().mean().item() > 0.99
    assert state.pulses is not None
    assert state.energy_j is not None
    assert state.pulses.mean().item() < 6
    assert bool((state.energy_j > 0).all())


@each
def test_a_read_leaves_the_state_as_it_is(cls: type[TransientCell]) -> None:
    """One read moves the conductance by less than 1e-4; a thousand by less than 1e-3 where there is a threshold."""
    device = cls()
    g = torch.linspace(device.g_min, device.g_max, 5, dtype=torch.float64)
    state = device.model.state_at(g)
    for reads, change in ((1, 1e-4), (1000, 0.02 if cls in (LinearIonDriftCell, DataDrivenCell) else 1e-3)):
        after = simulate(device.model, hold(device.read_voltage, reads * device.read_time), state=state).final
        torch.testing.assert_close(device.model.conductance(after), g, rtol=change, atol=0)


@each
def test_current_is_that_of_the_model(cls: type[TransientCell]) -> None:
    device = cls()
    g = torch.linspace(device.g_min, device.g_max, 7, dtype=torch.float64)
    for volts in (-2 * device.read_voltage, -device.read_voltage, 0.5 * device.read_voltage, device.read_voltage):
        v = torch.full_like(g, volts)
        exact = device.model.current(device.model.state_at(g), v)
        torch.testing.assert_close(device.current(g, v), exact)
    failed = device.current(torch.zeros(2, dtype=torch.float64), torch.full((2,), 0.1, dtype=torch.float64))
    assert torch.equal(failed, torch.zeros(2, dtype=torch.float64))


@pytest.mark.parametrize(("cls", "v_0"), [(StanfordPKUCell, 0.25), (DataDrivenCell, 1 / 2.71689828)])
def test_a_sinh_current_bends(cls: type[TransientCell], v_0: float) -> None:
    device = cls()
    g = torch.full((1,), (device.g_min + device.g_max) / 2, dtype=torch.float64)
    one, two = (device.current(g, torch.full_like(g, v)).item() for v in (0.1, 0.2))
    assert two / one == pytest.approx(math.sinh(0.2 / v_0) / math.sinh(0.1 / v_0), rel=1e-6)


@each
def test_parameters_are_those_of_the_model_with_the_same_defaults(cls: type[TransientCell]) -> None:
    """A fitted model's parameters are settings of the array cell under the same names."""
    device, array = cls(), parameters(cls, cls.__name__)
    for name, parameter in parameters(type(device.model), "model").items():
        assert array[name].default == parameter.default, name
        assert array[name].info == parameter.info, name


def test_parameters_reach_the_model() -> None:
    device = VTEAMCell(r_on=100.0, r_off=5000.0, k_off=1e-3)
    assert device.model.parameters["k_off"] == 1e-3
    assert device.bounds == pytest.approx((1 / 5000, 1 / 100))
    faster, slower = VTEAMCell(k_off=1e-3), VTEAMCell()
    assert faster.pulse_width[1] == pytest.approx(slower.pulse_width[1] / 2)
    assert faster.pulse_width[0] == pytest.approx(slower.pulse_width[0])


def test_a_window_that_holds_states_at_the_ends_narrows_the_range() -> None:
    hard, soft = VTEAMCell(), VTEAMCell(window="joglekar")
    assert soft.bounds[0] > hard.bounds[0]
    assert soft.bounds[1] < hard.bounds[1]


def test_the_boundary_of_the_data_driven_model_limits_the_range() -> None:
    """r(1.5 V) = 2699.2 - 672.9 * 1.5 = 1689.8 ohm and r(-1.5 V) = 649.4 + 1474.3 * 1.5 = 2860.9 ohm, approached."""
    device = DataDrivenCell()
    (resistance,) = device.model.state_at(torch.tensor(device.bounds, dtype=torch.float64))
    assert resistance[1].item() == pytest.approx(1689.8, rel=0.02)
    assert resistance[1].item() > 1689.8
    assert resistance[0].item() == pytest.approx(2860.9, rel=0.02)
    assert resistance[0].item() < 2860.9


@pytest.mark.parametrize(
    ("make", "option", "message"),
    [
        (lambda: VTEAMCell(v_set=0.5), "device.v_set", r"0\.5 V does not raise the conductance; try -0\.5 V$"),
        (lambda: VTEAMCell(v_reset=0.01), "device.v_reset", r"0\.01 V does not lower the conductance; try 0\.04 V$"),
        (lambda: YakopcicCell(v_set=0.1), "device.v_set", r"does not raise the conductance; try 0\.2 V$"),
        (lambda: VTEAMCell(g_max=1.0), "device.g_max", "the nearest valid value is 0.02"),
        (lambda: DataDrivenCell(v_set=0.5, v_reset=-0.5), "device.v_reset", "does not lower|no state moves"),
    ],
)
def test_voltages_that_do_not_write_are_errors(make: object, option: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        make()  # type: ignore[operator]
    assert caught.value.option == option


def test_writing_the_same_cells_again_keeps_them() -> None:
    device = YakopcicCell()
    target: Tensor = torch.full((50,), (device.g_min + device.g_max) / 2)
    first = device.program(target, generator=seeded())
    second = device.program(target, generator=seeded(1), cells=first.cells)
    assert second.cells is first.cells
    assert not torch.equal(first.g, second.g)
