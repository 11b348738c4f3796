"""A residual network that this project did not write, on the headline stack."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
from torch import nn

from memristor_plugins.api import AnalogLayer, analogize, calibrate, compose_stack, program


@pytest.fixture(scope="module")
def residual() -> nn.Module:
    """MONAI's ResNet in a narrow form: basic blocks, strided shortcuts by convolution, batch norm, for 32x32 images."""
    # Imported by name: what types the package has is its own matter.
    nets: Any = importlib.import_module("monai.networks.nets")
    torch.manual_seed(0)
    made: nn.Module = nets.ResNet(
        "basic",
        [1, 1, 1, 1],
        [8, 16, 32, 64],
        spatial_dims=2,
        n_input_channels=3,
        num_classes=10,
        conv1_t_size=3,
        conv1_t_stride=1,
        no_max_pool=True,
        shortcut_type="B",
    )
    return made


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:nonideality=.*gate.* has no effect")
def test_a_residual_network_trains_and_evaluates_on_the_headline_stack(residual: nn.Module) -> None:
    x = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for _ in range(20):  # norms near their values: converters calibrated on fresh ones saturate
        residual.train()(x)
    residual.eval()
    analog = analogize(residual, compose_stack(["stack=headline"]))
    weights = [m for m in residual.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    layers = [m for m in analog.modules() if isinstance(m, AnalogLayer)]
    assert len(layers) == len(weights) == 13
    calibrate(analog, [x])
    before = analog.train()(x)
    loss = nn.functional.cross_entropy(before, torch.arange(8))
    loss.backward()
    gradients = [p.grad for p in analog.parameters()]
    assert all(g is not None and bool(g.isfinite().all()) for g in gradients)
    assert all(float(layer.weights.grad.abs().max()) > 0 for layer in layers)  # type: ignore[union-attr]
    torch.optim.SGD(analog.parameters(), lr=0.05).step()
    assert not torch.equal(analog(x), before)
    program(analog.eval(), chip=0, seconds=3600.0)
    with torch.no_grad():
        y = analog(x)
    assert y.shape == (8, 10)
    assert bool(y.isfinite().all())
    # Digital and analog checkpoints interchange.
    residual.load_state_dict({k: v for k, v in analog.state_dict().items() if ".ranges." not in k})
    with torch.no_grad():
        expected = residual(x)
    assert 0.02 < float((y - expected).std() / expected.std()) < 2
