"""What acts in hardware-aware training, from when on, and what is clipped."""

from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from memristor_plugins.api import compose_stack
from memristor_plugins.cli.headline_runs import built, quiet
from memristor_plugins.crossbar.convert import analog_layers, analogize, program
from memristor_plugins.crossbar.modulated import ModulatedConv2d
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.devices.adaptive_2d import Adaptive2D
from memristor_plugins.errors import ConfigError
from memristor_plugins.kernels.dynamic import Dynamic
from memristor_plugins.mappings.differential import Differential
from memristor_plugins.models.hardware import HardwareAware, distillation
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


def test_errors_grow_to_their_strength_and_the_stack_of_evaluation_keeps_its_own() -> None:
    hardware = HardwareAware(start=0.5, ramp=0.4, strength=2.0)
    stack = hardware.train_stack(STACK)
    effect = stack.nonidealities["programming"]
    for progress, share in [(0.0, 0.0), (0.5, 0.0), (0.6, 0.5), (0.7, 1.0), (1.0, 1.0)]:
        hardware.ramp_up(progress)
        assert effect.strength == pytest.approx(2.0 * share), progress  # type: ignore[attr-defined]
    assert STACK.nonidealities["programming"].strength == 1.0  # type: ignore[attr-defined]


def test_ages_are_log_uniform_and_those_of_a_seed() -> None:
    hardware = HardwareAware(age=1e4)
    drawn = torch.tensor([hardware.drawn_age(3, step) for step in range(4000)]).log10() / 4
    assert 0 <= float(drawn.min()) < 0.01 < 0.99 < float(drawn.max()) <= 1
    # Uniform: mean 1/2, variance 1/12; 4.5 standard errors of either.
    assert abs(float(drawn.mean()) - 0.5) < 4.5 * (1 / 12 / 4000) ** 0.5
    assert abs(float(drawn.var()) - 1 / 12) < 4.5 * (1 / 180 / 4000) ** 0.5
    assert hardware.drawn_age(3, 7) == hardware.drawn_age(3, 7) != hardware.drawn_age(4, 7)
    assert HardwareAware().drawn_age(3, 7) == 0
    with pytest.raises(ConfigError, match=r"hardware.age: ages begin at 1 s, got 0.5; take 0 or 1"):
        HardwareAware(age=0.5)


def test_a_step_reads_its_chip_at_its_age() -> None:
    stack = compose_stack(["device=adaptive_2d", "nonideality=[drift]", "device.retention_sigma=0"])
    layer = analogize(torch.nn.Linear(20, 5), stack).train()
    x = torch.rand(4, 20, generator=torch.Generator().manual_seed(0))
    young = layer(x)
    layer.age = 1e6
    old = layer(x)
    layer.eval()
    program(layer, 0, 1e6)
    torch.testing.assert_close(old, layer(x))
    assert not torch.allclose(old, young, atol=1e-3)


def test_an_age_that_nothing_depends_on_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"hardware.age: no effect that acts in training depends on it"):
        HardwareAware(age=1e4, effects=["programming", "dac"]).train_stack(STACK)


@pytest.mark.parametrize("sums", ["whole", "each"])
def test_layers_are_told_how_to_read_and_how_old_their_chip_is(sums: str, tmp_path: Path) -> None:
    run = built(
        [
            "model.width=0.0625",
            "stack=headline",
            "nonidealities.ir_drop.evaluation=fast",
            "hardware.start=0",
            f"hardware.sums={sums}",
            "hardware.age=1e4",
        ]
    )
    settings = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(max_steps=1, limit_val_batches=0, default_root_dir=tmp_path, **settings)
    with quiet():
        trainer.fit(run.module, datamodule=run.data)
    for layer in analog_layers(run.module.network).values():
        assert layer.whole == (sums == "whole")
        assert layer.age == run.module.hardware.drawn_age(0, 0) > 0


def test_a_ramp_without_anything_to_scale_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"hardware.ramp: no effect that acts in training has a strength"):
        HardwareAware(ramp=0.5, effects=["dac"]).train_stack(STACK)
    with pytest.raises(ConfigError, match=r"hardware.strength: no effect"):
        HardwareAware(strength=0.5, effects=["dac"]).train_stack(STACK)


def test_the_teacher_pulls_towards_its_own_distribution() -> None:
    teacher = torch.tensor([[2.0, 0.0, -1.0]])
    assert float(distillation(teacher + 3.0, teacher, 2.0)) == pytest.approx(0.0, abs=1e-6)
    logits = torch.zeros(1, 3, requires_grad=True)
    distance = distillation(logits, teacher, 2.0)
    softened = (teacher / 2).softmax(dim=-1)
    wanted = 4 * (softened * (softened * 3).log()).sum()
    torch.testing.assert_close(distance, wanted)
    distance.backward()
    torch.testing.assert_close(logits.grad, 2 * (torch.full((1, 3), 1 / 3) - softened))
    mixed = HardwareAware(distill=0.25).with_teacher(torch.tensor(4.0), torch.tensor(8.0))
    assert float(mixed) == 5.0
