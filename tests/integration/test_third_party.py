"""Networks of other packages on arrays: residual networks over two and three axes."""

from __future__ import annotations

import copy
import importlib
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from memristor_plugins.crossbar.convert import analog_layers, analogize, calibrate, program
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.devices.adaptive_2d import Adaptive2D
from memristor_plugins.devices.ideal import Ideal
from memristor_plugins.mappings.differential import Differential
from memristor_plugins.nonidealities.adc import ADC
from memristor_plugins.nonidealities.dac import DAC
from memristor_plugins.nonidealities.programming import Programming


def monai(axes: int) -> tuple[nn.Module, Tensor]:
    # Imported by name: what types the package has is its own matter.
    nets: Any = importlib.import_module("monai.networks.nets")
    net = nets.ResNet("basic", [1, 2, 1, 1], [4, 8, 8, 16], spatial_dims=axes, n_input_channels=2, num_classes=5)
    return net, numbers(4, 2, *(17,) * axes)


def numbers(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=[2, 3], ids=["2-D", "3-D"])
def foreign(request: pytest.FixtureRequest) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    network, x = monai(request.param)
    # Some steps of training data through it: normalisations have statistics of their own.
    with torch.no_grad():
        for _ in range(3):
            network.train()(x)
    return network.eval(), x


def relative(y: Tensor, expected: Tensor) -> float:
    return float((y - expected).detach().abs().max() / expected.detach().abs().max())


def convolutions(network: nn.Module) -> list[str]:
    kinds = nn.Conv2d | nn.Conv3d | nn.Linear
    return [name for name, module in network.named_modules() if isinstance(module, kinds)]


@pytest.mark.parametrize("fold", [False, True])
def test_on_ideal_arrays_a_foreign_network_is_what_it_was(foreign: tuple[nn.Module, Tensor], fold: bool) -> None:
    network, x = foreign
    expected, kept = network(x).detach(), copy.deepcopy(network.state_dict())
    converted = analogize(network, Stack(Ideal(), Differential(64, 64)), fold_batchnorm=fold)
    assert list(analog_layers(converted)) == convolutions(network)
    norms = sum(isinstance(m, nn.BatchNorm2d | nn.BatchNorm3d) for m in converted.modules())
    assert (norms == 0) == fold
    program(converted)
    assert relative(converted(x), expected) < 1e-5
    assert all(torch.equal(value, kept[key]) for key, value in network.state_dict().items())


def test_on_real_arrays_it_errs_by_its_chip_and_trains(foreign: tuple[nn.Module, Tensor]) -> None:
    network, x = foreign
    effects = {"programming": Programming(), "dac": DAC(8), "adc": ADC(8)}
    first = next(name for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Conv3d))
    converted = analogize(network, Stack(Adaptive2D(), Differential()), overrides={first: None}).eval()
    assert list(analog_layers(converted)) == [name for name in convolutions(network) if name != first]
    converted = analogize(network, Stack(Adaptive2D(), Differential(), effects)).eval()
    calibrate(converted, [x[:2], x[2:]])
    expected, outputs = network(x).detach(), []
    for chip in (0, 1, 0):
        program(converted, chip)
        outputs.append(converted(x).detach())
    assert torch.equal(outputs[0], outputs[2])
    assert 0.01 < relative(outputs[0], expected) < 1
    assert not torch.equal(outputs[0], outputs[1])
    converted.train()(x).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in converted.parameters())
