"""Terms of the loss that shape routing."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.devices.ideal import Ideal
from memristor_plugins.kernels.static import Static
from memristor_plugins.mappings.differential import Differential
from memristor_plugins.models.classifier import ImageClassifier
from memristor_plugins.models.hardware import HardwareAware
from memristor_plugins.models.recipe import Recipe
from memristor_plugins.models.routing_terms import entropy, imbalance
from memristor_plugins.models.vgg import VGG

SIZES = st.tuples(st.integers(1, 9), st.integers(1, 6), st.integers(0, 2**31 - 1))


def coefficients(images: int, banks: int, seed: int) -> torch.Tensor:
    return torch.rand(images, banks, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 1e-3


def test_banks_used_alike_are_balanced_and_one_used_alone_is_not() -> None:
    assert float(imbalance(torch.eye(4))) == 0.0  # each image its own bank: decisive, and balanced
    alone = torch.zeros(5, 4)
    alone[:, 2] = 0.7
    assert float(imbalance(alone)) == pytest.approx(3.0)
    # Uses 1, 2, 3: variance 2/3 over a mean of 2, squared.
    assert float(imbalance(torch.tensor([[2.0, 1.0, 3.0], [0.0, 3.0, 3.0]]))) == pytest.approx((2 / 3) / 4)


def test_entropy_is_that_of_shares() -> None:
    found = entropy(
        torch.tensor([[0.5, 0.5, 0.5, 0.5], [0.0, 0.9, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0], [3.0, 1.0, 0.0, 0.0]])
    )
    last = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25)) / math.log(4)
    torch.testing.assert_close(found, torch.tensor([1.0, 0.0, 0.5, last]))


@given(SIZES, st.floats(0.01, 100))
def test_neither_depends_on_the_scale_and_both_are_bounded(sizes: tuple[int, int, int], scale: float) -> None:
    a = coefficients(*sizes)
    torch.testing.assert_close(imbalance(scale * a), imbalance(a))
    torch.testing.assert_close(entropy(-scale * a), entropy(a))
    assert 0 <= float(imbalance(a)) <= a.shape[1] - 1 + 1e-12
    assert bool(((entropy(a) >= 0) & (entropy(a) <= 1 + 1e-12)).all())


def test_the_gradient_is_finite_where_a_bank_is_not_used() -> None:
    a = torch.tensor([[0.0, 1.0], [0.5, 0.5]], requires_grad=True)
    (imbalance(a) + entropy(a[1:]).mean()).backward()
    assert a.grad is not None
    assert bool(a.grad.isfinite().all())


def test_the_loss_holds_the_means_over_layers_times_their_weights() -> None:
    layers = [coefficients(6, 3, 0).float(), coefficients(6, 4, 1).float()]
    found = Recipe(routing_balance=0.5, routing_entropy=-2.0).routing_loss(layers)
    uneven = (imbalance(layers[0]) + imbalance(layers[1])) / 2
    even = (entropy(layers[0]).mean() + entropy(layers[1]).mean()) / 2
    torch.testing.assert_close(found, 0.5 * uneven - 2.0 * even)
    assert Recipe(routing_balance=0.5).routing_loss([]) == 0.0


def test_a_network_without_banks_is_warned_of() -> None:
    def classifier(recipe: Recipe) -> nn.Module:
        network = VGG(Static(), (3, 4, 4), 3, width=0.02)
        stack = Stack(Ideal(), Differential())
        return ImageClassifier(network, stack, recipe, HardwareAware(), 3, [], 0, lambda count: [])

    classifier(Recipe())
    with pytest.warns(UserWarning, match="routing_balance and recipe.routing_entropy have no effect"):
        classifier(Recipe(routing_entropy=0.1))
