"""The digital modulated convolution against its formula, one image at a time."""

from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from memristor_plugins.crossbar.modulated import ModulatedConv2d, modulated_conv2d
from memristor_plugins.interfaces.kernel import Modulation
from memristor_plugins.kernels.static import Static

BATCH, BANKS, IN, OUT, KH, KW = 3, 2, 4, 6, 3, 2
SUBSETS = [
    [n for n, chosen in zip(("bank", "output", "input", "position", "joint"), mask, strict=True) if chosen]
    for mask in product((False, True), repeat=5)
]


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def modulation(names: list[str], groups: int) -> Modulation:
    factors = {
        "bank": numbers(BATCH, BANKS, seed=1),
        "output": numbers(BATCH, OUT, seed=2),
        "input": numbers(BATCH, IN, seed=3),
        "position": numbers(BATCH, KH, KW, seed=4),
        "joint": numbers(BATCH, BANKS, OUT, IN // groups, KH, KW, seed=5),
    }
    return Modulation(**{n: factors[n] for n in names})


def per_image(x: Tensor, weight: Tensor, m: Modulation, groups: int, **options: int) -> Tensor:
    """K[o,i,h,w] = sum_k bank[k] output[o] input[i] position[h,w] joint[k,o,i,h,w] W[k,o,i,h,w], then a convolution."""
    images = []
    for b in range(len(x)):
        kernel = weight.clone()
        if m.joint is not None:
            kernel = kernel * m.joint[b]
        if m.bank is not None:
            kernel = kernel * m.bank[b].view(-1, 1, 1, 1, 1)
        kernel = kernel.sum(dim=0)
        if m.output is not None:
            kernel = kernel * m.output[b].view(-1, 1, 1, 1)
        if m.position is not None:
            kernel = kernel * m.position[b]
        if m.input is not None:
            # Output channel o belongs to group o / (OUT / groups), which sees its own input channels.
            of_group = m.input[b].view(groups, -1).repeat_interleave(OUT // groups, dim=0)
            kernel = kernel * of_group[:, :, None, None]
        images.append(F.conv2d(x[b : b + 1], kernel, groups=groups, **options))
    return torch.cat(images)


@pytest.mark.parametrize("names", SUBSETS, ids=lambda n: "+".join(n) or "none")
@pytest.mark.parametrize("groups", [1, 2])
def test_every_combination_of_factors(names: list[str], groups: int) -> None:
    x, weight = numbers(BATCH, IN, 7, 6), numbers(BANKS, OUT, IN // groups, KH, KW, seed=6)
    m = modulation(names, groups)
    assert m.factors == names
    options = {"stride": 2, "padding": 1, "dilation": 1}
    y = modulated_conv2d(x, weight, m, groups=groups, **options)
    torch.testing.assert_close(y, per_image(x, weight, m, groups, **options), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("names", [["bank"], ["position"], ["bank", "output", "input", "position", "joint"]])
def test_gradients_of_every_factor_are_those_of_the_formula(names: list[str]) -> None:
    x, weight = numbers(BATCH, IN, 5, 5), numbers(BANKS, OUT, IN, KH, KW, seed=6)
    m = modulation(names, 1)
    inputs = [t.requires_grad_() for t in (x, weight, *(getattr(m, n) for n in names))]
    upstream = numbers(BATCH, OUT, 3, 4, seed=9)
    measured = torch.autograd.grad((modulated_conv2d(x, weight, m) * upstream).sum(), inputs)
    expected = torch.autograd.grad((per_image(x, weight, m, 1) * upstream).sum(), inputs)
    for a, b in zip(measured, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


def test_a_joint_factor_broadcasts() -> None:
    x, weight = numbers(BATCH, IN, 5, 5), numbers(BANKS, OUT, IN, KH, KW, seed=6)
    joint = numbers(1, BANKS, OUT, 1, 1, 1, seed=7)
    y = modulated_conv2d(x, weight, Modulation(joint=joint))
    expected = F.conv2d(x, (weight * joint[0]).sum(dim=0))
    torch.testing.assert_close(y, expected)


def test_static_kernels_are_a_plain_convolution() -> None:
    layer = ModulatedConv2d(Static(), 4, 6, 3, stride=2, padding=1, groups=2, bias=True).double()
    assert layer.bias is not None
    torch.nn.init.normal_(layer.bias)
    x = numbers(2, 4, 7, 7)
    expected = F.conv2d(x, layer.kernel.weight[0], layer.bias, 2, 1, groups=2)
    torch.testing.assert_close(layer(x), expected)
