"""Networks of any layers on arrays: the same function, saved, loaded and copied as any module."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from memristor_plugins.crossbar.convert import analog_layers, analogize, calibrate, program, running
from memristor_plugins.crossbar.layer import AnalogLayer
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.devices.adaptive_2d import Adaptive2D
from memristor_plugins.devices.ideal import Ideal
from memristor_plugins.mappings.differential import Differential
from memristor_plugins.nonidealities.adc import ADC
from memristor_plugins.nonidealities.dac import DAC
from memristor_plugins.nonidealities.programming import Programming

SMALL = Differential(rows=7, columns=8)
NOISY = {"programming": Programming(), "dac": DAC(8), "adc": ADC(8)}

# (layer, spatial size of its input)
LAYERS: list[tuple[nn.Module, tuple[int, ...]]] = [
    (nn.Linear(4, 6), ()),
    (nn.Conv1d(4, 6, 3, stride=2, padding=2, dilation=2, groups=2), (9,)),
    (nn.Conv1d(4, 6, 4, padding="same", padding_mode="circular"), (9,)),
    (nn.Conv2d(4, 6, (3, 2), padding=(2, 1), padding_mode="reflect"), (6, 5)),
    (nn.Conv2d(4, 6, (2, 3), padding="same", dilation=2), (6, 5)),
    (nn.Conv3d(4, 6, (2, 3, 2), stride=(2, 1, 2), padding=1, groups=2, padding_mode="replicate"), (5, 4, 6)),
    (nn.ConvTranspose1d(4, 6, 3, stride=3, padding=1, output_padding=2), (5,)),
    (nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2), (4, 5)),
    (nn.ConvTranspose3d(4, 6, 2, stride=(1, 2, 3), padding=(1, 0, 1), dilation=(2, 1, 1)), (3, 2, 3)),
]
NAMES = [str(layer).replace("kernel_size=", "") for layer, _ in LAYERS]
quiet = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def assert_same(y: Tensor, expected: Tensor) -> None:
    assert y.shape == expected.shape
    assert float((y - expected).abs().max()) <= 1e-5 * float(expected.abs().max())


@quiet
@pytest.mark.parametrize("batch", [(), (3,)], ids=["one", "batch"])
@pytest.mark.parametrize(("layer", "size"), LAYERS, ids=NAMES)
@pytest.mark.parametrize("mapping", [SMALL, Differential(subtract="digital")], ids=["small", "digital"])
def test_every_kind_of_layer_on_ideal_arrays(
    layer: nn.Module, size: tuple[int, ...], batch: tuple[int, ...], mapping: Differential
) -> None:
    x = numbers(*batch, 4, *size)
    expected = layer(x).detach()
    network = analogize(nn.Sequential(layer), Stack(Ideal(), mapping)).eval()
    program(network)
    with torch.no_grad():
        assert_same(network(x), expected)
    with running(network, "digital"):
        assert_same(network(x).detach(), expected)


@quiet
@pytest.mark.parametrize(("layer", "size"), LAYERS, ids=NAMES)
def test_every_kind_of_layer_between_fine_converters(layer: nn.Module, size: tuple[int, ...]) -> None:
    """16 bits at both ends of every array: within 1e-3 of the largest output."""
    x = numbers(3, 4, *size)
    stack = Stack(Ideal(), SMALL, {"dac": DAC(16, percentile=100), "adc": ADC(16, percentile=100)})
    network = analogize(nn.Sequential(layer), stack).eval()
    calibrate(network, [x])
    program(network)
    expected = layer(x).detach()
    error = float((network(x).detach() - expected).abs().max() / expected.abs().max())
    assert 0 < error < 1e-3


@quiet
@pytest.mark.parametrize(("layer", "size"), LAYERS, ids=NAMES)
def test_every_kind_of_layer_trains_as_the_digital_one(layer: nn.Module, size: tuple[int, ...]) -> None:
    x, digital = numbers(3, 4, *size), copy.deepcopy(layer)
    network = analogize(nn.Sequential(layer), Stack(Ideal(), SMALL)).train()
    for net in (digital, network):
        net(x).square().sum().backward()
    wanted = dict(digital.named_parameters())
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        assert_same(parameter.grad, wanted[name.removeprefix("0.")].grad)  # type: ignore[arg-type]


# --- networks -------------------------------------------------------------------------------------------------------


class Mixed(nn.Module):
    """One, two and three axes, a transposed layer, parameters and layers in lists, one layer used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.volume = nn.Conv3d(1, 2, 3, padding=1)
        self.image = nn.ModuleList([nn.Conv2d(8, 4, 3, padding=1, groups=2), nn.ConvTranspose2d(4, 4, 2, stride=2)])
        self.norm = nn.BatchNorm2d(4)
        self.line = nn.Conv1d(4, 4, 3, padding=1, padding_mode="circular")
        self.scales = nn.ParameterList([nn.Parameter(torch.ones(4, 1)), nn.Parameter(torch.full((4, 1), 2.0))])
        self.twice = nn.ModuleDict({"a": nn.Linear(4, 4)})
        self.twice["b"] = self.twice["a"]

    def forward(self, x: Tensor) -> Tensor:
        y = self.volume(x).flatten(1, 2).relu()
        y = self.norm(self.image[1](self.image[0](y))).flatten(2)
        y = self.line(y) * self.scales[1]
        out: Tensor = self.twice["b"](self.twice["a"](y.mean(dim=2)).relu())
        return out


def mixed(effects: dict[str, Any] | None = None) -> tuple[nn.Module, nn.Module, Tensor]:
    torch.manual_seed(0)
    digital, x = Mixed().eval(), numbers(3, 1, 4, 6, 6)
    network = analogize(digital, Stack(Adaptive2D(), SMALL, effects or {}))
    return digital, network, x


def test_a_network_of_all_kinds() -> None:
    digital, network, x = mixed()
    program(network)
    assert list(analog_layers(network)) == ["volume", "image.0", "image.1", "line", "twice.a"]
    assert network.twice["a"] is network.twice["b"]  # type: ignore[index]
    assert [n for n, _ in network.named_parameters()] == [n for n, _ in digital.named_parameters()]
    with torch.no_grad():
        assert_same(network(x), digital(x))


def test_programming_tells_how_far_it_is() -> None:
    network, seen = mixed()[1], list[tuple[int, int]]()
    program(network, 2, 5.0, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]


def ready() -> tuple[nn.Module, nn.Module, Tensor]:
    digital, network, x = mixed(NOISY)
    calibrate(network, [x])
    program(network, 3)
    return digital, network, x


def test_a_saved_network_loads_into_a_fresh_conversion_and_gives_the_same_chip(tmp_path: Path) -> None:
    digital, network, x = ready()
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    torch.manual_seed(1)
    again = analogize(Mixed().eval(), Stack(Adaptive2D(), SMALL, NOISY))
    again.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    program(again, 3)
    assert torch.equal(again(x), network(x))
    assert not torch.equal(again(x), digital(x))


def test_digital_weights_load_into_a_converted_network_and_back() -> None:
    digital, network, x = mixed()
    torch.manual_seed(1)
    other = Mixed().eval()
    network.load_state_dict(other.state_dict())
    program(network)
    assert_same(network(x).detach(), other(x).detach())
    own = set(other.state_dict())
    back = {key: value for key, value in network.state_dict().items() if key in own}
    digital.load_state_dict(back)
    assert torch.equal(digital(x), other(x))


@pytest.mark.parametrize("how", ["deepcopy", "pickle", "torch.save"])
def test_a_copied_network_is_on_the_same_chip_and_independent(how: str, tmp_path: Path) -> None:
    _, network, x = ready()
    if how == "deepcopy":
        other = copy.deepcopy(network)
    elif how == "pickle":
        other = pickle.loads(pickle.dumps(network))
    else:
        torch.save(network, tmp_path / "network.pt")
        other = torch.load(tmp_path / "network.pt", weights_only=False)
    assert torch.equal(other(x), network(x))
    before = network(x)
    for parameter in other.parameters():
        parameter.data.neg_()
    program(other, 3)
    assert not torch.equal(other(x), before)
    assert torch.equal(network(x), before)


def test_chips_are_not_saved() -> None:
    _, network, _ = mixed(NOISY)
    before = {key: value.shape for key, value in network.state_dict().items()}
    program(network, 1)
    assert {key: value.shape for key, value in network.state_dict().items()} == before


def test_a_layer_alone_is_called_layer() -> None:
    layer = analogize(nn.Conv1d(2, 3, 3), Stack(Ideal(), SMALL))
    assert isinstance(layer, AnalogLayer)
    assert layer.name == "layer"
    assert list(analog_layers(layer)) == ["layer"]
