"""Published strategies against their formulas, computed image by image from their own parameters."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from memristor_plugins.crossbar.modulated import ModulatedConv2d
from memristor_plugins.errors import ConfigError
from memristor_plugins.interfaces.kernel import ConvSpec, Kernel, KernelStrategy
from memristor_plugins.kernels.condconv import CondConv
from memristor_plugins.kernels.dynamic import Dynamic
from memristor_plugins.kernels.heterosynaptic import Heterosynaptic
from memristor_plugins.kernels.kernel_warehouse import KernelWarehouse, WarehouseKernel
from memristor_plugins.kernels.odconv import ODConv
from memristor_plugins.kernels.squeeze_excite import SqueezeExcite
from memristor_plugins.kernels.weight_net import WeightNet

IN, OUT = 12, 10


def images(count: int = 5, channels: int = IN) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    level = torch.rand(count, channels, 1, 1, generator=generator, dtype=torch.float64)
    return level * torch.rand(count, channels, 7, 6, generator=generator, dtype=torch.float64)


def layer(strategy: KernelStrategy, groups: int = 1) -> ModulatedConv2d:
    """In double precision, its routing away from its start, in eval mode."""
    torch.manual_seed(0)
    made = ModulatedConv2d(strategy, IN, OUT if groups == 1 else IN, 3, stride=2, padding=1, groups=groups).double()
    for name, parameter in made.named_parameters():
        if name != "kernel.weight":
            nn.init.normal_(parameter, std=0.7)
    return made.eval()


def squeezed(p: dict[str, Tensor], image: Tensor, first: str) -> Tensor:
    """Pooled channels through one Linear, by hand."""
    pooled = image.mean(dim=(1, 2))
    return p[f"{first}.weight"] @ pooled + p.get(f"{first}.bias", torch.zeros((), dtype=pooled.dtype))


def normalised(p: dict[str, Tensor], image: Tensor) -> Tensor:
    """ReLU(BN(R pool(x))) with running statistics 0 and 1, as a fresh norm has."""
    hidden = squeezed(p, image, "routing.reduce")
    normed = hidden / (1 + 1e-5) ** 0.5 * p["routing.norm.weight"] + p["routing.norm.bias"]
    return normed.clamp_min(0)


def head(p: dict[str, Tensor], hidden: Tensor, name: str) -> Tensor:
    return p[f"routing.heads.{name}.weight"] @ hidden + p[f"routing.heads.{name}.bias"]


def condconv(kernel: Kernel, p: dict[str, Tensor], image: Tensor) -> Tensor:
    a = squeezed(p, image, "routing").sigmoid()
    return sum(a[k] * p["weight"][k] for k in range(len(a)))  # type: ignore[return-value]


def odconv(kernel: Kernel, p: dict[str, Tensor], image: Tensor) -> Tensor:
    hidden, t = normalised(p, image), kernel.temperature.double()  # type: ignore[union-attr, operator]
    spatial = (head(p, hidden, "position") / t).sigmoid().view(3, 3)
    channel = (head(p, hidden, "input") / t).sigmoid()
    filters = (head(p, hidden, "output") / t).sigmoid()
    a = (head(p, hidden, "bank") / t).softmax(dim=0)
    mixed = sum(a[k] * p["weight"][k] for k in range(len(a)))
    return mixed * spatial * channel[None, :, None, None] * filters[:, None, None, None]  # type: ignore[no-any-return]


def squeeze_excite(kernel: Kernel, p: dict[str, Tensor], image: Tensor) -> Tensor:
    hidden = squeezed(p, image, "routing.reduce").clamp_min(0)
    s = (p["routing.expand.weight"] @ hidden + p["routing.expand.bias"]).sigmoid()
    return p["weight"][0] * s[None, :, None, None]


def weight_net(kernel: Kernel, p: dict[str, Tensor], image: Tensor) -> Tensor:
    """The grouped layer as a grouped convolution on one pixel, as the paper writes it."""
    reduced = squeezed(p, image, "reduce")
    alpha = (p["expand.weight"] @ reduced + p["expand.bias"]).sigmoid().view(kernel.banks, kernel.parts, OUT)
    groups = OUT * kernel.parts  # of banks inputs each: [out, part, bank]
    generator = p["weight"].unflatten(2, (kernel.parts, -1))  # [bank, out, part, in / parts, 3, 3]
    made = F.conv2d(
        alpha.permute(2, 1, 0).reshape(1, -1, 1, 1),
        generator.permute(1, 2, 3, 4, 5, 0).reshape(-1, kernel.banks, 1, 1),
        groups=groups,
    )
    return made.view(OUT, IN, 3, 3)


def kernel_warehouse(kernel: Kernel, p: dict[str, Tensor], image: Tensor) -> Tensor:
    assert isinstance(kernel, WarehouseKernel)
    tau = float(kernel.temperature)
    z = head(p, normalised(p, image), "cell").view(9, -1)
    made = torch.zeros(OUT, IN, 3, 3, dtype=torch.float64)
    for mixture in range(9):
        a = (1 - tau) * z[mixture] / (z[mixture].abs().sum() + 1e-3)
        a = a + tau * torch.eye(len(a), dtype=torch.float64)[kernel.first + mixture * kernel.budget]
        made[:, :, mixture // 3, mixture % 3] = sum(a[j] * p["weight"][j, :, :, 0, 0] for j in range(len(a)))  # type: ignore[assignment]
    return made


FORMULAS = {
    "condconv": (CondConv(3), condconv),
    "odconv": (ODConv(3), odconv),
    "squeeze_excite": (SqueezeExcite(), squeeze_excite),
    "weight_net": (WeightNet(), weight_net),
    "weight_net of two values": (WeightNet(6, 3), weight_net),
    "kernel_warehouse": (KernelWarehouse(), kernel_warehouse),
    "kernel_warehouse, twice the cells": (KernelWarehouse(budget=2), kernel_warehouse),
}


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("epoch", [0, 4, 10])
def test_a_strategy_is_its_published_formula(name: str, epoch: int) -> None:
    """Values, and gradients of the input, the banks and the routing, against one convolution for each image."""
    strategy, formula = FORMULAS[name]
    conv = layer(strategy)
    conv.kernel.set_epoch(epoch)
    x = images().requires_grad_()
    parameters = dict(conv.kernel.named_parameters())
    y = conv(x)
    expected = torch.cat(
        [F.conv2d(x[b : b + 1], formula(conv.kernel, parameters, x[b]), stride=2, padding=1) for b in range(len(x))]
    )
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-6)  # coefficients are float32
    upstream = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    wanted = [x, *parameters.values()]
    measured = torch.autograd.grad((y * upstream).sum(), wanted, allow_unused=True)
    by_hand = torch.autograd.grad((expected * upstream).sum(), wanted, allow_unused=True)
    for a, b in zip(measured, by_hand, strict=True):
        if b is None or not bool(b.any()):
            assert a is None or not bool(a.any())  # a mixture that is not free yet
        else:
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4 * float(b.abs().max()))


@pytest.mark.parametrize("name", FORMULAS)
def test_kernels_follow_the_image(name: str) -> None:
    conv = layer(FORMULAS[name][0])
    conv.kernel.set_epoch(10)
    m, x = conv.kernel(images()), images()
    factors = [getattr(m, f) for f in m.factors]
    assert factors
    assert all(float(f.detach().std(dim=0).max()) > 0.01 for f in factors)
    assert set(m.factors) == conv.kernel.factors
    assert not torch.equal(conv(x)[0], conv(x.flip(0))[0])


@pytest.mark.parametrize(
    ("strategy", "start", "end", "epochs"),
    [(ODConv(), 30.0, 1.0, 10), (KernelWarehouse(), 1.0, 0.0, 10), (KernelWarehouse(anneal_epochs=4), 1.0, 0.0, 4)],
)
def test_temperatures_fall_linearly(strategy: KernelStrategy, start: float, end: float, epochs: int) -> None:
    kernel = strategy.build(ConvSpec(IN, OUT, (3, 3)))
    for epoch in (0, 1, epochs // 2, epochs, 10 * epochs):
        kernel.set_epoch(epoch)
        expected = start + (end - start) * min(1.0, epoch / epochs)
        assert float(kernel.temperature) == pytest.approx(expected)  # type: ignore[arg-type]
    assert "temperature" in kernel.state_dict()


@pytest.mark.parametrize("strategy", [Dynamic(3), CondConv(3), ODConv(3), Heterosynaptic(3), WeightNet(6, 2)])
def test_banks_start_as_convolutions_do_and_apart(strategy: KernelStrategy) -> None:
    torch.manual_seed(0)
    weight = strategy.build(ConvSpec(64, 64, (3, 3))).weight.detach()
    assert weight.shape == (3, 64, 64, 3, 3)
    for bank in weight:
        assert float(bank.std()) == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)
    flat = F.normalize(weight.flatten(1), dim=1)
    assert float((flat @ flat.T - torch.eye(3)).abs().max()) < 0.03


def test_a_warehouse_starts_as_the_static_convolution_of_its_own_cells() -> None:
    torch.manual_seed(0)
    conv = ModulatedConv2d(KernelWarehouse(), 32, 48, 3, padding=1).eval()
    own = conv.kernel.weight.detach()[:9, :, :, 0, 0].permute(1, 2, 0).unflatten(2, (3, 3))
    assert float(own.std()) == pytest.approx((2 / (48 * 9)) ** 0.5, rel=0.03)
    flat = F.normalize(conv.kernel.weight.detach().flatten(1), dim=1)
    assert float((flat @ flat.T - torch.eye(9)).abs().max()) < 0.1
    x = torch.rand(2, 32, 5, 5)
    torch.testing.assert_close(conv(x), F.conv2d(x, own, padding=1), rtol=1e-4, atol=1e-5)


def test_layers_of_a_stage_share_their_cells_and_only_those() -> None:
    strategy = KernelWarehouse().for_network()
    first, second = strategy.build(ConvSpec(8, 16, (3, 3))), strategy.build(ConvSpec(16, 16, (3, 3)))
    other = strategy.build(ConvSpec(16, 32, (3, 3)))
    assert first.weight is second.weight
    assert first.weight.shape == (9 + 18, 16, 8, 1, 1)
    assert other.weight.shape == (9, 32, 16, 1, 1)
    assert (first.first, second.first) == (0, 9)  # type: ignore[union-attr]
    drive = second.eval()(torch.rand(2, 16, 4, 4)).drive
    assert drive is not None
    assert drive.shape == (2, 27, 2, 3, 3)
    # Its own cells, one each, before anything is trained.
    assert drive[0].detach().nonzero()[:, 0].tolist() == list(range(9, 27))
    # Another network, and layers by themselves, have cells of their own.
    assert KernelWarehouse().for_network().build(ConvSpec(8, 16, (3, 3))).weight.shape == (9, 16, 8, 1, 1)
    alone = KernelWarehouse(share="layer").for_network()
    assert alone.build(ConvSpec(8, 16, (3, 3))).weight is not alone.build(ConvSpec(8, 16, (3, 3))).weight
    both = copy.deepcopy(nn.ModuleList([first, second]))
    assert both[0].weight is both[1].weight
    assert both[0].weight is not first.weight


def test_a_second_network_of_one_strategy_shares_nothing() -> None:
    strategy = KernelWarehouse()
    one, two = (strategy.for_network().build(ConvSpec(8, 16, (3, 3))) for _ in range(2))
    assert one.weight is not two.weight
    assert len(one.weight) == len(two.weight) == 9


def test_odconv_leaves_out_what_has_one_value() -> None:
    assert ODConv().build(ConvSpec(8, 12, (1, 1))).factors == {"bank", "input", "output"}
    assert ODConv(banks=1).build(ConvSpec(8, 12, (3, 3))).factors == {"position", "input", "output"}
    assert ODConv().build(ConvSpec(8, 8, (3, 3), groups=8)).factors == {"bank", "position", "input"}
    depthwise = layer(ODConv(), groups=IN)
    assert depthwise(images()).shape == (5, IN, 4, 3)


@pytest.mark.parametrize("strategy", [WeightNet(), KernelWarehouse()])
def test_grouped_convolutions_are_refused_by_those_that_generate_kernels(strategy: KernelStrategy) -> None:
    with pytest.raises(ConfigError, match=r"kernel: .*ungrouped.*4 groups; condconv, dynamic and odconv take any"):
        strategy.build(ConvSpec(8, 8, (3, 3), groups=4))


def test_weight_net_wants_whole_groups() -> None:
    with pytest.raises(ConfigError, match=r"kernel.multiplier: .* multiple of kernel.parts = 4; the nearest is 4"):
        WeightNet(multiplier=3, parts=4)
    assert WeightNet(4, 4).build(ConvSpec(6, 5, (3, 3))).parts == 2


def test_constant_gains_are_trained_numbers_within_the_gate() -> None:
    torch.manual_seed(0)
    kernel = Heterosynaptic(banks=4, constant=True).build(ConvSpec(IN, OUT, (3, 3)))
    bank = kernel(images().float()).bank
    assert bank is not None
    assert bank.shape == (5, 4)
    assert float(bank.detach().std(dim=0).max()) == 0
    assert 0.26 < float(bank.detach().min()) < float(bank.detach().max()) < 1
    assert float(bank[0].detach().std()) > 0.02
    bank.square().sum().backward()
    assert kernel.scores.grad is not None  # type: ignore[union-attr]
    assert bool((kernel.scores.grad != 0).all())  # type: ignore[union-attr]
    assert kernel.routing_macs() == 0
    assert kernel.constant
