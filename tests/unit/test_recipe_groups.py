"""Optimiser groups and the schedule."""

import pytest
import torch
from torch import nn

from memristor_plugins.crossbar.convert import analogize
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.devices.ideal import Ideal
from memristor_plugins.kernels.dynamic import Dynamic
from memristor_plugins.kernels.static import Static
from memristor_plugins.mappings.differential import Differential
from memristor_plugins.models.recipe import Recipe
from memristor_plugins.models.vgg import VGG


def network(dynamic: bool = True) -> nn.Module:
    vgg = VGG(Dynamic(banks=2) if dynamic else Static(), (3, 4, 4), 3, width=0.02)
    return analogize(vgg, Stack(Ideal(), Differential()))


def test_every_parameter_has_one_group_with_its_rate_and_decay() -> None:
    module = network()
    recipe = Recipe(lr=0.1, weight_decay=0.01, bias_lr=3.0, routing_lr=0.5, warmup=0.0)
    optimizer = recipe.configure(module, 10)["optimizer"]
    of = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    named = dict(module.named_parameters())
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(named) == len(of)
    for name, parameter in named.items():
        group = of[id(parameter)]
        routing, vector = ".routing." in name, parameter.dim() <= 1
        factor = 0.5 if routing else 3.0 if vector else 1.0
        assert group["initial_lr"] == pytest.approx(0.1 * factor), name
        assert group["weight_decay"] == (0.0 if vector else 0.01), name


def test_a_frozen_parameter_and_an_empty_group_are_left_out() -> None:
    module = network(dynamic=False)
    frozen = next(module.parameters())
    frozen.requires_grad_(False)
    optimizer = Recipe().configure(module, 10)["optimizer"]
    assert len(optimizer.param_groups) == 2
    assert all(p is not frozen for group in optimizer.param_groups for p in group["params"])


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize(("warmup", "steps"), [(0.2, 50), (0.0, 10), (0.5, 1), (0.9, 7)])
def test_the_rate_rises_to_its_peak_and_falls_towards_zero(optimizer: str, warmup: float, steps: int) -> None:
    configured = Recipe(optimizer=optimizer, lr=0.4, warmup=warmup).configure(network(), steps)  # type: ignore[arg-type]
    update, schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    assert configured["lr_scheduler"]["interval"] == "step"
    rates = []
    for _ in range(steps):
        rates.append(update.param_groups[0]["lr"])
        update.step()
        schedule.step()
    peak = max(1, round(warmup * steps))
    expected = [0.4 * min((s + 1) / peak, (steps - s) / max(1, steps - peak)) for s in range(steps)]
    assert rates == pytest.approx(expected)
    assert min(rates) > 0
    assert max(rates) == pytest.approx(0.4)
    assert rates.index(max(rates)) in (peak - 1, peak)
    assert update.param_groups[0]["lr"] == pytest.approx(0.0)


def test_the_named_update_rule_is_used() -> None:
    sgd = Recipe(momentum=0.8).configure(network(), 5)["optimizer"]
    assert isinstance(sgd, torch.optim.SGD)
    assert all(group["nesterov"] and group["momentum"] == 0.8 for group in sgd.param_groups)
    plain = Recipe(momentum=0.0).configure(network(), 5)["optimizer"]
    assert not any(group["nesterov"] for group in plain.param_groups)
    assert isinstance(Recipe(optimizer="adamw").configure(network(), 5)["optimizer"], torch.optim.AdamW)
