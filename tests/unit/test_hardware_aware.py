"""What acts in hardware-aware training, from when on, and what is clipped."""

import pytest
import torch
from torch import nn

from memristor_plugins.crossbar.convert import analog_layers, analogize
from memristor_plugins.crossbar.modulated import ModulatedConv2d
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.devices.adaptive_2d import Adaptive2D
from memristor_plugins.errors import ConfigError
from memristor_plugins.kernels.dynamic import Dynamic
from memristor_plugins.mappings.differential import Differential
from memristor_plugins.models.hardware import HardwareAware
from memristor_plugins.nonidealities.dac import DAC
from memristor_plugins.nonidealities.programming import Programming

STACK = Stack(Adaptive2D(), Differential(), {"programming": Programming(), "dac": DAC()})


def test_all_effects_act_unless_some_are_named() -> None:
    assert HardwareAware().train_stack(STACK) is STACK
    kept = HardwareAware(effects=["dac"]).train_stack(STACK)
    assert list(kept.nonidealities) == ["dac"]
    assert kept.device is STACK.device
    assert list(HardwareAware(effects=[]).train_stack(STACK).nonidealities) == []


def test_an_effect_that_is_not_selected_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"hardware.effects: 'program' is not selected.* did you mean 'programming'"):
        HardwareAware(effects=["program"]).train_stack(STACK)


@pytest.mark.parametrize(("start", "epochs", "first"), [(0.0, 7, 0), (0.3, 10, 3), (0.6, 5, 3), (1.0, 9, 9)])
def test_chips_start_after_a_share_of_the_epochs(start: float, epochs: int, first: int) -> None:
    assert HardwareAware(start=start).first_epoch(epochs) == first


@pytest.mark.parametrize("clip", [None, 0.5, 1.5])
def test_weights_of_analog_layers_are_clipped_and_nothing_else(clip: float | None) -> None:
    torch.manual_seed(0)
    network = analogize(
        nn.Sequential(ModulatedConv2d(Dynamic(banks=2), 8, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 8)), STACK
    )
    before = {n: p.detach().clone() for n, p in network.named_parameters()}
    HardwareAware(clip=clip).clip_weights(network)
    clipped = {"0.kernel.weight", "2.weight"}
    assert {
        f"{n}.{'kernel.weight' if layer.kernel else 'weight'}" for n, layer in analog_layers(network).items()
    } == clipped
    for name, parameter in network.named_parameters():
        expected = before[name]
        if clip is not None and name in clipped:
            bound = clip * float(expected.std())
            expected = expected.clamp(-bound, bound)
            assert not torch.equal(expected, before[name])
        torch.testing.assert_close(parameter.detach(), expected)
