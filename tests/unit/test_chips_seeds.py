"""Chips: what one seed determines, when a layer is written again, and what is refused."""

import os
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from memristor_plugins.crossbar.convert import analog_layers, analogize, calibrate, program
from memristor_plugins.crossbar.layer import AnalogLayer
from memristor_plugins.crossbar.modulated import ModulatedConv2d
from memristor_plugins.crossbar.noise import NormalSource
from memristor_plugins.crossbar.seeds import derive
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.devices.adaptive_2d import Adaptive2D
from memristor_plugins.devices.ideal import Ideal
from memristor_plugins.errors import ConfigError, SimulationError
from memristor_plugins.interfaces.nonideality import Context, NonIdeality, Site
from memristor_plugins.kernels.heterosynaptic import Heterosynaptic
from memristor_plugins.mappings.differential import Differential
from memristor_plugins.nonidealities.adc import ADC
from memristor_plugins.nonidealities.dac import DAC
from memristor_plugins.nonidealities.gate import Gate
from memristor_plugins.nonidealities.programming import Programming
from memristor_plugins.nonidealities.read_noise import ReadNoise
from memristor_plugins.nonidealities.stuck_at import StuckAt

EFFECTS: dict[str, NonIdeality] = {"programming": Programming(), "stuck_at": StuckAt(p_on=0.1, p_off=0.1)}


def network(effects: dict[str, NonIdeality], device: Any = None) -> nn.Module:
    torch.manual_seed(0)
    digital = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(32, 32), nn.Linear(32, 32)
    )
    return analogize(digital, Stack(device or Adaptive2D(), Differential(16, 16), effects)).eval()


def held(module: nn.Module, seconds: float = 0.0) -> dict[str, Tensor]:
    chips = {name: layer.chip for name, layer in analog_layers(module).items()}
    stack = next(iter(analog_layers(module).values())).stack
    return {name: chip.conductance(stack, stack.context(seconds)) for name, chip in chips.items() if chip is not None}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> list[str]:
    return [name for name in a if torch.equal(a[name], b[name])]


def images(count: int = 4) -> Tensor:
    return torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(0))


def test_a_seed_is_a_chip_whatever_runs_before() -> None:
    first, other = network(EFFECTS), network(EFFECTS)
    program(first, 3)
    for layer in reversed(list(analog_layers(other).values())):  # another order, another global state
        torch.manual_seed(99)
        layer.program(3)
        other(images(1)) if layer.name == "0" else None
    assert same(held(first), held(other)) == ["0", "2", "4", "5"]
    program(other, 4)
    assert same(held(first), held(other)) == []
    assert not torch.equal(held(first)["4"], held(first)["5"])  # two layers of one size


def test_a_chip_does_not_depend_on_threads() -> None:
    before = torch.get_num_threads()
    chips, noise = [], []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            module = network(EFFECTS | {"read_noise": ReadNoise()})
            program(module, 1)
            chips.append(held(module))
            zeros = torch.zeros(20_000)
            noise.append(NormalSource(derive(0, "a", "b")).add_(zeros, torch.ones_like(zeros)))
    finally:
        torch.set_num_threads(before)
    assert len(same(*chips)) == 4
    assert torch.equal(*noise)


def test_a_generator_is_named_by_seed_layer_and_purpose() -> None:
    keys = [(s, layer, p) for s in (0, 1, 2**62) for layer in ("a", "a.b", "0") for p in ("program", "read/0")]
    draws = [torch.randint(0, 2**62, (1,), generator=derive(*key)).item() for key in keys]
    assert len(set(draws)) == len(keys)
    # Fixed for ever: published chips must be the same chips in later versions.
    assert derive(0, "features.0", "program").initial_seed() == 2825727464743085504


def test_the_sources_of_one_parent_are_independent() -> None:
    source = NormalSource(derive(0, "a", "b"))
    other = NormalSource(derive(0, "a", "c"))
    zeros = torch.zeros(200_000)
    rows = torch.stack([s.add_(zeros.clone(), torch.ones_like(zeros)) for s in (source, source, other)]).view(6, -1)
    correlation = torch.corrcoef(rows).fill_diagonal_(0)
    assert float(correlation.abs().max()) < 4.5 / 100_000**0.5  # 15 pairs
    for row in rows:
        assert float(row.mean()) == pytest.approx(0, abs=4.5 / 100_000**0.5)
        assert float(row.var()) == pytest.approx(1, abs=4.5 * (2 / 100_000) ** 0.5)
        assert float((row**4).mean()) == pytest.approx(3, abs=4.5 * (96 / 100_000) ** 0.5)
        lagged = torch.corrcoef(torch.stack((row[:-1], row[1:])))[0, 1]
        assert abs(float(lagged)) < 4.5 / 100_000**0.5


@pytest.mark.parametrize("write", [True, False])
def test_changed_weights_are_written_again(write: bool) -> None:
    module = network({"programming": Programming()} if write else {})
    program(module, 2)
    before = held(module)
    chips = [layer.chip for layer in analog_layers(module).values()]
    program(module, 2, 60.0)
    assert [layer.chip for layer in analog_layers(module).values()] == chips  # not a cell is written
    with torch.no_grad():
        analog_layers(module)["0"].weight.neg_()
    program(module, 2)
    assert same(before, held(module)) == ["2", "4", "5"]
    fresh = network({"programming": Programming()} if write else {})
    fresh.load_state_dict(module.state_dict())
    program(fresh, 2)
    assert len(same(held(fresh), held(module))) == 4


@pytest.mark.parametrize("forget", [lambda m: m.train(), lambda m: m.load_state_dict(m.state_dict()), nn.Module.double])
def test_a_chip_is_dropped_when_its_layer_changes(forget: Callable[[nn.Module], object]) -> None:
    module = network(EFFECTS)
    program(module, 2)
    module.eval()
    assert all(layer.chip is not None for layer in analog_layers(module).values())
    forget(module)
    assert all(layer.chip is None for layer in analog_layers(module).values())


def test_reads_of_one_chip_start_anew_when_it_is_programmed_again() -> None:
    module, x = network({"read_noise": ReadNoise()}), images()
    program(module, 1)
    first, second = module(x), module(x)
    assert not torch.equal(first, second)
    program(module, 1)
    assert torch.equal(module(x), first)
    program(module, 1, 5.0)
    assert not torch.equal(module(x), first)


@pytest.mark.parametrize("order", [["a", "b"], ["b", "a"]])
def test_defects_act_in_the_order_of_their_names(order: list[str]) -> None:
    both = {"a": StuckAt(p_on=0.5, p_off=0), "b": StuckAt(p_on=0, p_off=0.5)}
    module = network({name: both[name] for name in order})
    program(module, 0)
    g, device = held(module)["4"], Adaptive2D()
    # The later one wins where both act.
    share = float((g == device.g_min).double().mean())
    assert share >= 0.5 - 3.89 * 0.5 / g.numel() ** 0.5
    reference = network(both)
    program(reference, 0)
    assert torch.equal(g, held(reference)["4"])


class Wrong(NonIdeality):
    """Pins one cell where no conductance can be."""

    site = Site.DEFECT

    def __init__(self, value: float) -> None:
        self.value = value

    def apply(self, x: Tensor, state: Any, context: Context) -> Tensor:
        x = x.clone()
        x[1, 0, 0, 2, 1] = self.value
        return x


@pytest.mark.parametrize("value", [float("nan"), -1e-9])
def test_an_impossible_conductance_names_layer_chip_and_cell(value: float) -> None:
    module = network({"wrong": Wrong(value)})
    with pytest.raises(
        SimulationError, match=r"layer '0', chip 7: .*\[plane, bank, group, row, column\] = \[1, 0, 0, 2, 1\]"
    ):
        program(module, 7)


def test_a_weight_that_is_not_a_number_names_the_layer() -> None:
    module = network({})
    with torch.no_grad():
        analog_layers(module)["2"].weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(SimulationError, match=r"layer '2', chip 0: conductance nan"):
        program(module, 0)


def test_two_effects_at_one_site_are_both_named() -> None:
    with pytest.raises(SimulationError, match=r"nonideality=\[fine,coarse\].*sum.*'fine' or 'coarse'"):
        Stack(Ideal(), Differential(), {"fine": ADC(8), "dac": DAC(), "coarse": ADC(4)})


def test_a_gate_on_a_device_without_one_is_refused() -> None:
    with pytest.raises(SimulationError, match=r"nonideality=my_gate needs .* Ideal has not"):
        Stack(Ideal(), Differential(), {"my_gate": Gate()})


@pytest.mark.parametrize("effects", [{}, {"gate": Gate()}])
def test_gains_beyond_the_gate_are_refused_with_what_it_reaches(effects: dict[str, NonIdeality]) -> None:
    device = Adaptive2D()
    conv = ModulatedConv2d(Heterosynaptic(banks=2, gain_min=0.2), 4, 4, 3)
    with pytest.raises(
        ConfigError, match=r"kernel.gain_min: 0.2 is below .* nearest valid value is (0\.\d+)"
    ) as caught:
        analogize(nn.Sequential(conv), Stack(device, Differential(), effects))
    nearest = float(str(caught.value).rsplit(" ", 1)[1])
    assert nearest == pytest.approx(device.gain_min, abs=1e-4)
    # What the message says is what works.
    valid = ModulatedConv2d(Heterosynaptic(banks=2, gain_min=nearest), 4, 4, 3)
    analogize(nn.Sequential(valid), Stack(device, Differential(), effects))
    # A device without a gate applies any factor digitally.
    analogize(nn.Sequential(conv), Stack(Ideal(), Differential()))


def test_an_uncalibrated_range_warns_once_and_is_that_of_the_first_batch() -> None:
    stack = Stack(Ideal(), Differential(16), {"dac": DAC(percentile=100)})
    layer = analogize(nn.Linear(8, 3), stack).eval()
    assert isinstance(layer, AnalogLayer)
    assert not layer.calibrated
    layer.program(0)
    x = torch.rand(10, 8, generator=torch.Generator().manual_seed(0))
    with pytest.warns(UserWarning, match="layer 'layer': the range of its input converters") as caught:
        layer(x)
    assert len(caught) == 1
    assert layer.ranges.input.tolist() == [0, float(x.max())]
    layer(5 * x)  # silent, and saturates
    assert layer.ranges.input.tolist() == [0, float(x.max())]


def test_calibration_takes_the_widest_of_all_batches_and_forgets_what_was() -> None:
    stack = Stack(Ideal(), Differential(4), {"dac": DAC(percentile=100), "adc": ADC(percentile=100)})
    module = analogize(nn.Sequential(nn.Linear(8, 3)), stack).train()
    layer = analog_layers(module)["0"]
    x = torch.rand(10, 8, generator=torch.Generator().manual_seed(0))
    calibrate(module, [x, -3 * x, 2 * x])
    assert torch.equal(layer.ranges.input, torch.stack((-3 * x.max(), 3 * x.max())))
    assert layer.calibrated
    assert module.training
    assert layer.chip is None
    calibrate(module, [x])
    assert layer.ranges.input.tolist() == [0, float(x.max())]
    low, high = layer.ranges.sum.tolist()
    with torch.no_grad():
        parts = x.view(10, 2, 4).transpose(0, 1) @ layer.weight.view(3, 2, 4).permute(1, 2, 0)
    assert high == -low == pytest.approx(float(parts.abs().max()), rel=0.01)  # of converted inputs


def test_without_a_chip_evaluation_warns_and_takes_chip_zero() -> None:
    module, x = network(EFFECTS), images()
    with pytest.warns(UserWarning, match="was not programmed and runs on chip 0") as caught:
        y = module(x)
    assert len(caught) == 4
    program(module, 0)
    assert torch.equal(module(x), y)


def test_saved_conductances_are_no_part_of_a_checkpoint(tmp_path: os.PathLike[str]) -> None:
    module = network(EFFECTS)
    keys = set(module.state_dict())
    program(module, 2)
    assert set(module.state_dict()) == keys
