"""Kernel strategies: what they make of an input, and how they begin."""

import copy

import pytest
import torch
from torch import Tensor

from memristor_plugins.errors import ConfigError
from memristor_plugins.interfaces.kernel import ConvSpec, KernelStrategy
from memristor_plugins.kernels.dynamic import Dynamic
from memristor_plugins.kernels.heterosynaptic import Heterosynaptic
from memristor_plugins.kernels.static import Static

SPEC = ConvSpec(16, 12, (3, 3), groups=2)


def images(count: int = 64, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    # Real layers see images of different brightness and channel balance.
    level = torch.rand(count, 16, 1, 1, generator=generator)
    return level * torch.rand(count, 16, 5, 4, generator=generator)


def scores(kernel: torch.nn.Module, x: Tensor) -> Tensor:
    """Squeeze and excitation by hand."""
    p = dict(kernel.named_parameters())
    hidden = (x.flatten(2).mean(dim=2) @ p["routing.reduce.weight"].T + p["routing.reduce.bias"]).clamp_min(0)
    return hidden @ p["routing.expand.weight"].T + p["routing.expand.bias"]


@pytest.mark.parametrize("strategy", [Static(), Dynamic(banks=3), Heterosynaptic(banks=3)])
def test_banks_start_as_convolutions_do_and_apart(strategy: KernelStrategy) -> None:
    torch.manual_seed(0)
    spec = ConvSpec(64, 64, (3, 3))
    weight = strategy.build(spec).weight.detach()
    assert weight.shape == (strategy.banks, 64, 64, 3, 3)
    for bank in weight:
        assert float(bank.std()) == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)
    flat = torch.nn.functional.normalize(weight.flatten(1), dim=1)
    assert float((flat @ flat.T - torch.eye(strategy.banks)).abs().max()) < 0.03


def test_a_static_kernel_has_no_factor_and_no_routing() -> None:
    kernel = Static().build(SPEC)
    assert kernel.modulate(images()).factors == []
    assert kernel.routing_macs() == 0
    assert kernel.banks == 1


def test_dynamic_attention_is_a_softmax_under_a_temperature() -> None:
    torch.manual_seed(1)
    kernel, x = Dynamic(banks=4, temperature=30, anneal_epochs=10).build(SPEC), images()
    for epoch, temperature in ((0, 30.0), (5, 15.5), (9, 3.9), (10, 1.0), (99, 1.0)):
        kernel.set_epoch(epoch)
        bank = kernel.modulate(x).bank
        assert bank is not None
        torch.testing.assert_close(bank, (scores(kernel, x) / temperature).softmax(dim=1))
        torch.testing.assert_close(bank.sum(dim=1), torch.ones(64))
    assert kernel.modulate(x).factors == ["bank"]


def test_attention_starts_soft_and_ends_sharp() -> None:
    torch.manual_seed(1)
    kernel, x = Dynamic(banks=4).build(SPEC), images()
    spread = []
    for epoch in (0, 5, 10):
        kernel.set_epoch(epoch)
        bank = kernel.modulate(x).bank
        assert bank is not None
        spread.append(float((bank - 0.25).abs().max().detach()))
    assert spread[0] < 0.02
    assert spread == sorted(spread)
    assert spread[2] > 10 * spread[0]


def test_without_annealing_the_temperature_is_one() -> None:
    kernel = Dynamic(anneal_epochs=0).build(SPEC)
    assert float(kernel.temperature) == 1.0  # type: ignore[arg-type]
    kernel.set_epoch(0)
    assert float(kernel.temperature) == 1.0  # type: ignore[arg-type]


def test_the_temperature_is_part_of_a_checkpoint() -> None:
    strategy, x = Dynamic(banks=3), images()
    trained = strategy.build(SPEC)
    trained.set_epoch(4)
    fresh = strategy.build(SPEC)
    fresh.load_state_dict(trained.state_dict())
    assert float(fresh.temperature) == pytest.approx(30 - 29 * 0.4)  # type: ignore[arg-type]
    assert torch.equal(fresh.modulate(x).bank, trained.modulate(x).bank)  # type: ignore[arg-type]


@pytest.mark.parametrize(("low", "high", "temperature"), [(0.26, 1.0, 1.0), (0.5, 0.6, 0.25)])
def test_heterosynaptic_gains_stay_in_range(low: float, high: float, temperature: float) -> None:
    torch.manual_seed(2)
    kernel, x = Heterosynaptic(banks=3, gain_min=low, gain_max=high, temperature=temperature).build(SPEC), images()
    assert kernel.gain_range == (low, high)
    bank = kernel.modulate(x).bank
    assert bank is not None
    torch.testing.assert_close(bank, low + (high - low) * (scores(kernel, x) / temperature).sigmoid())
    for extreme in (-1e4, 1e4):
        with torch.no_grad():
            kernel.routing.expand.bias.fill_(extreme)  # type: ignore[union-attr]
        bank = kernel.modulate(x).bank
        assert bank is not None
        assert low <= float(bank.detach().min()) + 1e-7
        assert float(bank.detach().max()) <= high + 1e-7


@pytest.mark.parametrize(("low", "high"), [(0.5, 0.5), (0.9, 0.3)])
def test_an_empty_range_of_gains_is_refused(low: float, high: float) -> None:
    with pytest.raises(ConfigError, match=r"kernel.gain_min: must be below kernel.gain_max"):
        Heterosynaptic(gain_min=low, gain_max=high)


@pytest.mark.parametrize("seed", range(5))
def test_routing_tells_images_apart_from_the_first_step(seed: int) -> None:
    torch.manual_seed(seed)
    kernel = Heterosynaptic(banks=4).build(SPEC)
    bank = kernel.modulate(images()).bank
    assert bank is not None
    spread = bank.detach().std(dim=0)
    assert float(spread.max()) > 0.002 * 0.74


@pytest.mark.parametrize("strategy", [Dynamic(banks=3), Heterosynaptic(banks=3)])
def test_routing_learns(strategy: KernelStrategy) -> None:
    torch.manual_seed(0)
    kernel, x = strategy.build(SPEC), images()
    bank = kernel.modulate(x).bank
    assert bank is not None
    bank[:, 0].sum().backward()
    for name, parameter in kernel.named_parameters():
        if name.startswith("routing."):
            assert parameter.grad is not None
            assert float(parameter.grad.abs().max()) > 0


def test_routing_is_counted() -> None:
    kernel = Dynamic(banks=4, reduction=0.5, hidden_min=2).build(SPEC)
    assert kernel.routing_macs() == 16 * 8 + 8 * 4
    assert Heterosynaptic(banks=4, reduction=0.01, hidden_min=5).build(SPEC).routing_macs() == 16 * 5 + 5 * 4


def test_a_copy_shares_nothing() -> None:
    kernel = Dynamic(banks=2).build(SPEC)
    other = copy.deepcopy(kernel)
    other.set_epoch(10)
    assert float(kernel.temperature) == 30.0  # type: ignore[arg-type]
