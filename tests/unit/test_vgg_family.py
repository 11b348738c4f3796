"""The VGG family against the published tables."""

import pytest
import torch
from torch import nn

from memristor_plugins.crossbar.modulated import ModulatedConv2d
from memristor_plugins.kernels.dynamic import Dynamic
from memristor_plugins.kernels.heterosynaptic import Heterosynaptic
from memristor_plugins.kernels.static import Static, StaticKernel
from memristor_plugins.models.vgg import VGG, count_parameters, set_epoch

# Simonyan and Zisserman 2015, Table 1 (A, B, D, E): channels and 3x3 convolutions of each of the five stages.
STAGES = {
    11: [(64, 1), (128, 1), (256, 2), (512, 2), (512, 2)],
    13: [(64, 2), (128, 2), (256, 2), (512, 2), (512, 2)],
    16: [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)],
    19: [(64, 2), (128, 2), (256, 4), (512, 4), (512, 4)],
    8: [(128, 2), (256, 2), (512, 2)],
}
# Weights of the convolutions alone.
MILLIONS = {8: 4.575, 11: 9.218, 13: 9.402, 16: 14.710, 19: 20.019}


def convolutions(network: nn.Module) -> list[ModulatedConv2d]:
    return [m for m in network.modules() if isinstance(m, ModulatedConv2d)]


@pytest.mark.parametrize("depth", STAGES)
def test_channels_and_parameters_are_the_published_ones(depth: int) -> None:
    with torch.device("meta"):
        network = VGG(Static(), (3, 32, 32), 10, depth=depth)  # type: ignore[arg-type]
    convs = convolutions(network)
    assert [c.spec.out_channels for c in convs] == [n for n, count in STAGES[depth] for _ in range(count)]
    assert all(c.spec.kernel_size == (3, 3) and c.padding == 1 and c.stride == 1 for c in convs)
    weights = sum(c.kernel.weight.numel() for c in convs)
    assert weights / 1e6 == pytest.approx(MILLIONS[depth], abs=5e-4)
    # batch norm: two a channel; the classifier
    channels = sum(c.spec.out_channels for c in convs)
    assert count_parameters(network) == weights + 2 * channels + 512 * 10 + 10


@pytest.mark.parametrize("depth", STAGES)
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 7), (8, 8), (32, 32), (1, 32)])
def test_pooling_halves_until_one_pixel_is_left(depth: int, size: tuple[int, int]) -> None:
    network = VGG(Static(), (3, *size), 10, depth=depth, width=0.01).eval()  # type: ignore[arg-type]
    sizes = []
    for module in convolutions(network):
        module.register_forward_hook(lambda m, a, y: sizes.append(tuple(y.shape[2:])))
    with torch.no_grad():
        assert network(torch.rand(2, 3, *size)).shape == (2, 10)
    expected, (height, width) = [], size
    for _, count in STAGES[depth]:
        expected += [(height, width)] * count
        if min(height, width) > 1:
            height, width = height // 2, width // 2
    assert sizes == expected


def test_pooling_before_batch_norm_is_pooling_after_relu() -> None:
    torch.manual_seed(0)
    network = VGG(Static(), (3, 8, 8), 4, width=0.05).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean)  # type: ignore[arg-type]
            nn.init.uniform_(module.weight)
            nn.init.normal_(module.bias)
    x = torch.rand(5, 3, 8, 8)
    expected, held = x, list(network.features)
    while held:
        layer = held.pop(0)
        if isinstance(layer, nn.MaxPool2d):
            for _ in ("batch norm", "ReLU"):
                expected = held.pop(0)(expected)
        expected = layer(expected)
    torch.testing.assert_close(network.features(x), expected)


@pytest.mark.parametrize(("width", "first"), [(0.5, 64), (2.0, 256), (0.001, 1)])
def test_width_multiplies_channels_and_leaves_one(width: float, first: int) -> None:
    with torch.device("meta"):
        network = VGG(Static(), (1, 8, 8), 10, width=width)
    assert convolutions(network)[0].spec.out_channels == first


def test_the_first_convolution_stays_static_unless_told() -> None:
    for static_first in (True, False):
        network = VGG(Dynamic(banks=3), (3, 8, 8), 10, width=0.02, static_first=static_first)
        banks = [c.kernel.banks for c in convolutions(network)]
        assert banks == [1 if static_first else 3, *[3] * 5]
        assert isinstance(convolutions(network)[0].kernel, StaticKernel) == static_first


@pytest.mark.parametrize("head", ["mean", "max"])
def test_head_pools_what_remains_and_scales_the_logits(head: str) -> None:
    network = VGG(Heterosynaptic(banks=2), (3, 20, 20), 4, width=0.03, head=head, head_scale=0.5).eval()  # type: ignore[arg-type]
    x = torch.rand(3, 3, 20, 20)
    features = network.features(x).flatten(2)
    assert features.shape[2] == 4
    pooled = features.mean(dim=2) if head == "mean" else features.max(dim=2).values
    torch.testing.assert_close(network(x), 0.5 * network.classifier(pooled))


def test_every_kernel_is_told_the_epoch() -> None:
    network = VGG(Dynamic(banks=2, temperature=11, anneal_epochs=10), (3, 8, 8), 10, width=0.02)
    set_epoch(network, 4)
    dynamic = [c.kernel.temperature for c in convolutions(network) if c.kernel.banks > 1]
    assert [float(t) for t in dynamic] == pytest.approx([7.0] * 5)  # type: ignore[arg-type]
