"""Batch normalisation folded into the layers before it: the same function in eval mode, or left alone."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from memristor_plugins.crossbar.convert import analog_layers, analogize, program
from memristor_plugins.crossbar.folding import fold_batchnorm
from memristor_plugins.crossbar.modulated import ModulatedConv2d
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.devices.ideal import Ideal
from memristor_plugins.errors import SimulationError
from memristor_plugins.kernels.dynamic import Dynamic
from memristor_plugins.mappings.differential import Differential
from memristor_plugins.models.vgg import VGG


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def lived_in(module: nn.Module) -> nn.Module:
    """In eval mode, with statistics and factors that are far from those at birth."""
    generator = torch.Generator().manual_seed(5)
    for parameter in module.parameters():
        nn.init.normal_(parameter, 0, 0.5, generator=generator)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d) and part.running_var is not None:
            assert part.running_mean is not None
            part.running_mean.normal_(0, 2, generator=generator)
            part.running_var.uniform_(0.2, 5, generator=generator)
            for factor in (part.weight, part.bias):
                if factor is not None:
                    nn.init.normal_(factor, 0.5, 1, generator=generator)
    return module.eval()


def norms(module: nn.Module) -> int:
    return sum(isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d) for m in module.modules())


def assert_folded(module: nn.Module, x: Tensor, names: list[str]) -> None:
    """The same function to the rounding of either precision: 1e-12 and 1e-6 of the largest output."""
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        network, inputs = lived_in(copy.deepcopy(module)).to(dtype), x.to(dtype)
        before, left = network(inputs).detach(), norms(network) - len(names)
        assert fold_batchnorm(network) == names
        assert norms(network) == left
        assert relative(network(inputs).detach(), before) <= tolerance
        assert all(p.requires_grad and p.dtype == dtype for p in network.parameters())


def relative(y: Tensor, expected: Tensor) -> float:
    return float((y - expected).abs().max() / expected.abs().max())


KINDS: list[tuple[Any, Any, tuple[int, ...]]] = [
    (nn.Linear(4, 6), nn.BatchNorm1d(6), ()),
    (nn.Conv1d(4, 6, 3, bias=False, groups=2), nn.BatchNorm1d(6, affine=False), (7,)),
    (nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"), nn.BatchNorm2d(6), (5, 6)),
    (nn.Conv3d(4, 6, 2, stride=2), nn.BatchNorm3d(6, eps=0.1), (5, 4, 4)),
    (nn.ConvTranspose1d(4, 6, 3, stride=2, groups=2), nn.BatchNorm1d(6), (5,)),
    (nn.ConvTranspose2d(4, 6, 3, bias=False), nn.BatchNorm2d(6), (5, 4)),
    (nn.ConvTranspose3d(4, 6, 2, groups=2), nn.BatchNorm3d(6), (3, 4, 3)),
    (ModulatedConv2d(Dynamic(banks=3), 4, 6, 3), nn.BatchNorm2d(6), (5, 6)),
]


@pytest.mark.parametrize(("layer", "norm", "size"), KINDS, ids=lambda v: type(v).__name__)
def test_every_kind_of_layer(layer: nn.Module, norm: nn.Module, size: tuple[int, ...]) -> None:
    module = nn.Sequential(copy.deepcopy(layer), norm, nn.ReLU())
    assert_folded(module, numbers(64, 4, *size), ["0"])


class Residual(nn.Module):
    """Traced: the skipping path's layer is used elsewhere as well, one normalisation comes before its layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.conv2, self.bn2 = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.before, self.conv3 = nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv1(x)).relu()
        z = self.conv2(y)
        out: Tensor = self.conv3(self.before(self.bn2(z) + z + x))
        return out


class Branching(nn.Module):
    """Cannot be traced: its path depends on the data."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU())
        self.block = Residual()

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x)
        return self.block(y) if bool((y.sum() > 0).item()) else y  # type: ignore[no-any-return]


class Inside(nn.Sequential):
    """A Sequential with a forward of its own says nothing about what follows what."""

    def forward(self, x: Tensor) -> Tensor:
        return self[1](self[0](x).relu()) if bool((x.sum() > 0).item()) else self[0](x)  # type: ignore[no-any-return]


def test_a_residual_block() -> None:
    assert_folded(nn.Sequential(Residual(), Residual()), numbers(8, 3, 6, 6), ["0.conv1", "1.conv1"])


def test_the_parts_of_a_network_that_cannot_be_traced() -> None:
    assert_folded(Branching(), numbers(8, 3, 6, 6), ["stem.0", "block.conv1"])


def test_a_sequential_with_a_part_that_cannot_be_traced() -> None:
    module = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), Inside(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)))
    assert_folded(module, numbers(8, 3, 6, 6), ["0"])


def test_a_whole_dynamic_vgg() -> None:
    module = VGG(Dynamic(banks=2), (3, 8, 8), 10, depth=8, width=0.1)
    convolutions = sum(isinstance(m, ModulatedConv2d) for m in module.modules())
    lived_in(module)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.weight.abs_()
    module, x = module.double(), numbers(4, 3, 8, 8).double()
    before = module(x).detach()
    assert len(fold_batchnorm(module)) == convolutions > 0
    assert norms(module) == 0
    assert relative(module(x).detach(), before) <= 1e-6  # its routing computes in single precision


@pytest.mark.parametrize("traceable", [True, False])
@pytest.mark.parametrize("sign", [1, -1])
def test_through_a_maximum_only_without_negative_factors(traceable: bool, sign: int) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2, padding=1), nn.BatchNorm2d(4))
    if not traceable:
        module.append(Inside(nn.Conv2d(4, 4, 1), nn.ReLU()))
    lived_in(module)
    with torch.no_grad():
        module[2].weight.abs_()  # type: ignore[operator]
        module[2].weight[1] *= sign  # type: ignore[index, operator]
    x = numbers(4, 3, 7, 7)
    module, x = module.double(), x.double()
    before = module(x).detach()
    with pytest.warns(UserWarning, match="no batch normalisation was folded") if sign < 0 else nullcontext():
        assert fold_batchnorm(module) == ([] if sign < 0 else ["0"])
    assert relative(module(x).detach(), before) <= 1e-12


class Twice(nn.Sequential):
    """Calls its layer, or its normalisation, twice, under one name."""

    def __init__(self, layer: bool) -> None:
        super().__init__(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self[1](self[0](x))
        return self[0](y) if self.layer else self[1](y)  # type: ignore[no-any-return]


SHARED = nn.Conv2d(3, 3, 1)
ALONE: list[nn.Module] = [
    Twice(layer=True),
    Twice(layer=False),
    nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.BatchNorm2d(3)),
    nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1)),
    nn.Sequential(SHARED, nn.BatchNorm2d(3), SHARED),
    nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, track_running_stats=False)),
    nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 3, 1)), nn.BatchNorm2d(3)),
    nn.Sequential(nn.Conv2d(3, 3, 1), nn.Dropout(), nn.InstanceNorm2d(3)),
    Inside(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)),
]


@pytest.mark.parametrize("module", ALONE, ids=lambda m: "-".join(type(c).__name__ for c in m))
def test_what_cannot_be_folded_is_left_alone_and_said(module: nn.Module) -> None:
    lived_in(module)
    before, kept = module(numbers(4, 3, 4, 4)), copy.deepcopy(module.state_dict())
    with pytest.warns(UserWarning, match="no batch normalisation was folded") as caught:
        assert fold_batchnorm(module) == []
    assert len(caught) == 1
    assert torch.equal(module(numbers(4, 3, 4, 4)), before)
    assert module.state_dict().keys() == kept.keys()


def test_training_mode_is_refused() -> None:
    with pytest.raises(SimulationError, match=r"'1' is in training mode.*call eval\(\)"):
        fold_batchnorm(nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)))


def test_folding_on_the_way_to_arrays_leaves_the_argument_alone() -> None:
    digital = lived_in(nn.Sequential(Residual(), nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2)))
    kept, x = copy.deepcopy(digital.state_dict()), numbers(4, 3, 6, 6)
    converted = analogize(digital, Stack(Ideal(), Differential(8, 8)), fold_batchnorm=True)
    assert all(torch.equal(value, kept[key]) for key, value in digital.state_dict().items())
    assert norms(digital) == 4
    assert norms(converted) == 2
    assert all(layer.bias is not None for layer in analog_layers(converted).values())
    program(converted)
    expected = digital(x).detach()
    assert float((converted(x).detach() - expected).abs().max()) <= 1e-5 * float(expected.abs().max())
