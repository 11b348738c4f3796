"""Batch norms re-estimated on a chip."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from memristor_plugins.api import SimulationError, analogize, compose_stack, program, recalibrate_batchnorm
from memristor_plugins.models.evaluation import on_chips


def network() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    convolution, images = nn.Conv2d(3, 16, 3, bias=False), torch.rand(200, 3, 8, 8)
    digital = nn.Sequential(convolution, nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 36, 5))
    recalibrate_batchnorm(digital, [images])
    stack = compose_stack(["device=generic", "device.std=0.2", "nonideality=[programming]"])
    return analogize(digital, stack).eval(), images


def test_statistics_are_those_of_the_chips_sums() -> None:
    analog, images = network()
    program(analog, 3)
    before = {name: value.clone() for name, value in analog.state_dict().items()}
    recalibrate_batchnorm(analog, images.split(50))
    assert not analog.training
    assert analog[1].momentum == 0.1
    with torch.no_grad():
        sums = [analog[0](part).transpose(0, 1).flatten(1) for part in images.split(50)]
    mean = torch.stack([s.mean(dim=1) for s in sums]).mean(dim=0)
    variance = torch.stack([s.var(dim=1) for s in sums]).mean(dim=0)
    torch.testing.assert_close(analog[1].running_mean, mean)
    torch.testing.assert_close(analog[1].running_var, variance)
    # A chip of this error has other statistics; nothing else has changed.
    assert float((mean - before["1.running_mean"]).abs().max()) > 0.01
    for name, value in analog.state_dict().items():
        if not name.startswith("1."):
            assert torch.equal(value, before[name]), name


def test_normalised_outputs_come_closer_to_the_trained_networks() -> None:
    analog, images = network()
    with torch.no_grad():
        analog[0].mode = analog[4].mode = "digital"
        wanted = analog[:2](images)
        analog[0].mode = analog[4].mode = "analog"
        errors = []
        for chip in range(5):
            program(analog, chip)
            raw = float((analog[:2](images) - wanted).norm())
            kept = [b.clone() for b in analog[1].buffers()]
            recalibrate_batchnorm(analog, [images])
            errors.append(float((analog[:2](images) - wanted).norm()) / raw)
            for buffer, value in zip(analog[1].buffers(), kept, strict=True):
                buffer.copy_(value)
    assert max(errors) < 0.9


def test_an_evaluation_leaves_the_network_as_it_was() -> None:
    analog, images = network()
    before = {name: value.clone() for name, value in analog.state_dict().items()}
    labels = torch.zeros(len(images), dtype=torch.long)
    plain = on_chips(analog, lambda: [(images, labels)], [0, 1], [0.0])
    other = on_chips(analog, lambda: [(images, labels)], [0, 1], [0.0], norm_batches=lambda: [images])
    assert [r.accuracy for r in plain] != [r.accuracy for r in other]
    for name, value in analog.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_what_cannot_be_done_is_told() -> None:
    analog, _ = network()
    program(analog)
    with pytest.raises(SimulationError, match="at least one batch"):
        recalibrate_batchnorm(analog, [])
    assert not analog[1].training
    with pytest.warns(UserWarning, match="has none"):
        recalibrate_batchnorm(nn.Linear(2, 2), [])
