"""What holds for every statistical, pulsed and tabulated device: the contract, and a network on its arrays."""

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Generator, Tensor, nn

from memristor_plugins.crossbar.convert import analogize, program
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.devices.data_driven import DataDrivenCell
from memristor_plugins.devices.exp_step import ExpStep
from memristor_plugins.devices.generic import Generic
from memristor_plugins.devices.linear_ion_drift import LinearIonDriftCell
from memristor_plugins.devices.linear_step import LinearStep
from memristor_plugins.devices.neurosim import NeuroSim
from memristor_plugins.devices.pcm_hermes import PCMHermes
from memristor_plugins.devices.pcm_joshi import PCMJoshi
from memristor_plugins.devices.pow_step import PowStep
from memristor_plugins.devices.rram_cmo import RRAMCMO
from memristor_plugins.devices.rram_milo import RRAMMilo
from memristor_plugins.devices.rram_wan import RRAMWan
from memristor_plugins.devices.soft_bounds import SoftBounds
from memristor_plugins.devices.sonos import SONOS
from memristor_plugins.devices.stanford_pku import StanfordPKUCell
from memristor_plugins.devices.table import Table
from memristor_plugins.devices.vteam import VTEAMCell
from memristor_plugins.devices.yakopcic import YakopcicCell
from memristor_plugins.errors import ConfigError
from memristor_plugins.interfaces.device import CellState, Device
from memristor_plugins.mappings.differential import Differential
from memristor_plugins.nonidealities.drift import Drift
from memristor_plugins.nonidealities.programming import Programming
from memristor_plugins.nonidealities.read_noise import ReadNoise
from memristor_plugins.signature import parameters

HOUR = 3600.0
CSV = """target_us,time_h,mean_us,std_us,read_std_us,read_correlation_1,read_correlation_10,failed_low,failed_low_g_us
1,0,1.1,0.2,0.1,0.8,0.5,0.01,0.05
1,2,1.0,0.3,0.1,0.8,0.5,0.01,0.05
20,0,20.5,1.0,0.4,0.9,0.6,0.02,0.1
20,2,19.0,1.5,0.4,0.9,0.6,0.02,0.1
"""
DISTRIBUTIONS: tuple[Literal["normal", "uniform", "lognormal"], ...] = ("normal", "uniform", "lognormal")
SCALINGS: tuple[Literal["independent", "proportional", "inverse"], ...] = ("independent", "proportional", "inverse")
CLASSES: dict[str, Callable[[], Device]] = {
    "pcm_joshi": PCMJoshi,
    "pcm_hermes_1": lambda: PCMHermes(devices_per_cell=1),
    "pcm_hermes_2": PCMHermes,
    "rram_wan": RRAMWan,
    "rram_cmo_fine": lambda: RRAMCMO(acceptance=0.002),
    "rram_cmo_coarse": RRAMCMO,
    "rram_milo": RRAMMilo,
    "sonos": SONOS,
    **{
        f"generic_{distribution}_{scaling}": partial(
            Generic, distribution=distribution, scaling=scaling, read_scaling=scaling, drift=0.05, drift_std=0.01
        )
        for distribution in DISTRIBUTIONS
        for scaling in SCALINGS
    },
    "neurosim": NeuroSim,
    "soft_bounds": SoftBounds,
    "linear_step": LinearStep,
    "exp_step": ExpStep,
    "pow_step": PowStep,
    "vteam": VTEAMCell,
    "yakopcic": YakopcicCell,
    "stanford_pku": StanfordPKUCell,
    "linear_ion_drift": LinearIonDriftCell,
    "data_driven": DataDrivenCell,
}
NAMES = [*CLASSES, "table"]


@pytest.fixture
def device(request: pytest.FixtureRequest, tmp_path: Path) -> Device:
    if request.param == "table":
        (tmp_path / "table.csv").write_text(CSV)
        return Table(file=str(tmp_path / "table.csv"))
    return CLASSES[request.param]()


each = pytest.mark.parametrize("device", NAMES, indirect=True)


def seeded(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


def targets(device: Device, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    share = torch.rand(shape, generator=seeded(7), dtype=dtype)
    return device.g_min + (device.g_max - device.g_min) * share


def tensors(state: CellState) -> list[Tensor]:
    found = [state.g, state.target, *state.cells.constants.values()]
    return found + [t for t in (state.ageing, state.pulses, state.energy_j) if t is not None]


@each
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(), (0,), (5,), (2, 3, 4)], ids=str)
def test_every_method_keeps_shape_dtype_and_arguments(
    device: Device, dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    generator, target = seeded(), targets(device, *shape, dtype=dtype)
    cells = device.fabricate(shape, generator=generator)
    assert all(c.shape == torch.Size(shape) and c.dtype == torch.float32 for c in cells.constants.values())
    kept = target.clone()
    for state in (
        device.program(target, generator=generator),
        device.program(target, generator=generator, cells=cells),
        device.hold(target, generator=generator),
    ):
        before = [t.clone() for t in tensors(state)]
        g = device.conductance(state, HOUR)
        std = device.read_std(g, state, HOUR)
        assert std is not None
        volts = torch.full(shape, device.read_voltage, dtype=dtype)
        noisy = device.read(g, state, generator=generator, seconds=HOUR)
        for value in (state.g, device.conductance(state, 0.0), g, std, noisy, device.current(g, volts)):
            assert (value.shape, value.dtype) == (torch.Size(shape), dtype)
            assert bool(torch.isfinite(value).all())
        assert bool((state.g >= 0).all())
        assert bool((g >= 0).all())
        assert bool((std >= 0).all())
        assert all(torch.equal(a, b) for a, b in zip(tensors(state), before, strict=True))
    assert torch.equal(target, kept)


@each
def test_one_seed_gives_one_chip_and_the_global_generator_stays_untouched(device: Device) -> None:
    target, before = targets(device, 7, 11), torch.random.get_rng_state()
    one, same, other = (device.program(target, generator=seeded(s)) for s in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(tensors(one), tensors(same), strict=True))
    assert not torch.equal(one.g, other.g)
    assert torch.equal(device.conductance(one, HOUR), device.conductance(one, HOUR))
    assert torch.equal(torch.random.get_rng_state(), before)


@each
def test_time_zero_is_what_programming_left_and_a_held_cell_starts_on_its_target(device: Device) -> None:
    target = targets(device, 100)
    written, held = device.program(target, generator=seeded()), device.hold(target, generator=seeded())
    assert torch.equal(device.conductance(written, 0.0), written.g)
    assert torch.equal(device.conductance(held, 0.0), target)


@each
def test_a_slice_of_a_state_behaves_as_the_cells_it_was_cut_from(device: Device) -> None:
    state = device.program(targets(device, 6, 4), generator=seeded())
    part = state.map(lambda t: t[2:5])
    aged = device.conductance(state, HOUR)
    torch.testing.assert_close(device.conductance(part, HOUR), aged[2:5])
    whole, cut = device.read_std(aged, state, HOUR), device.read_std(aged[2:5], part, HOUR)
    assert whole is not None
    assert cut is not None
    torch.testing.assert_close(cut, whole[2:5])


@each
def test_current_at_the_read_voltage_is_the_conductance(device: Device) -> None:
    g = targets(device, 50, dtype=torch.float64)
    small = torch.full((50,), device.read_voltage, dtype=torch.float64)
    chord = device.current(g, small) / small
    # The conductance of rram_milo is that at 0 V; the models' is the chord at the read voltage.
    torch.testing.assert_close(chord, g, rtol=0.15 if isinstance(device, RRAMMilo) else 1e-6, atol=0)
    assert torch.equal(device.current(g, torch.zeros(50, dtype=torch.float64)), torch.zeros(50, dtype=torch.float64))
    rising = device.current(g, small / 2) < device.current(g, small)
    assert bool(rising.all())


@each
def test_what_a_device_includes_is_switched_on_by_the_effects_that_use_its_statistics(device: Device) -> None:
    assert set(device.includes.values()) <= {"programming", "drift", "read_noise"}
    assert bool(device.includes) != isinstance(device, Generic)


@each
def test_signature_has_units_and_sources(device: Device) -> None:
    for name, parameter in parameters(type(device), type(device).__name__).items():
        assert parameter.info.about, name
        assert parameter.info.source, name


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_targets_out_of_order_are_an_error(name: str) -> None:
    with pytest.raises(ConfigError, match=r"^device\.g_m"):
        type(CLASSES[name]())(g_min=19e-6, g_max=18e-6)  # type: ignore[call-arg]


class Small(nn.Module):
    """Two convolutions and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(2, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten()
        )
        self.head = nn.Linear(8 * 4 * 4, 5)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.body(x))
        return y


@each
def test_a_network_runs_on_its_arrays_in_training_and_evaluation(device: Device) -> None:
    stack = Stack(device, Differential(), {"programming": Programming(), "drift": Drift(), "read_noise": ReadNoise()})
    torch.manual_seed(0)
    digital = Small()
    analog = analogize(digital, stack)
    x = torch.rand(4, 2, 8, 8, generator=seeded())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss = analog.train()(x).square().mean()
        loss.backward()
        grads = [p.grad for p in analog.parameters()]
        assert all(g is not None and bool(torch.isfinite(g).all()) for g in grads)
        assert any(bool(g.any()) for g in grads if g is not None)
        analog.eval()
        with torch.no_grad():
            program(analog, chip=1, seconds=HOUR)
            one = analog(x)
            program(analog, chip=1, seconds=HOUR)
            again = analog(x)
            program(analog, chip=2, seconds=HOUR)
            other = analog(x)
            exact = digital(x)
    assert bool(torch.isfinite(one).all())
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    # Errors of a chip are errors, not another network.
    similarity = torch.nn.functional.cosine_similarity(one.flatten(), exact.flatten(), dim=0)
    assert similarity > 0.5
