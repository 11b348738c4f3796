"""Gate lines: noise and coupling of their voltages."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator

from memristor_plugins.api import ModulatedConv2d, SimulationError, Stack, analogize, compose_stack, program
from memristor_plugins.devices.adaptive_2d import Adaptive2D
from memristor_plugins.devices.ideal import Ideal
from memristor_plugins.interfaces.nonideality import Context
from memristor_plugins.kernels.heterosynaptic import Heterosynaptic
from memristor_plugins.mappings.differential import Differential
from memristor_plugins.nonidealities.gate_crosstalk import GateCrosstalk
from memristor_plugins.nonidealities.gate_noise import GateNoise

Z = 4.9  # two-sided normal quantile of 1e-6


def context(seed: int = 0) -> Context:
    return Context(Adaptive2D(), generator=Generator().manual_seed(seed))


def test_noise_is_normal_new_for_each_image_and_bank() -> None:
    n, volts = 100_000, torch.full((100_000, 3), -0.5)
    noise = (GateNoise(0.02).apply(volts, None, context()) - volts).double()
    sigma = 0.02 * 4.0  # of the range from -2 to 2 V
    assert bool((noise.mean(dim=0).abs() < Z * sigma / math.sqrt(n)).all())
    assert bool(((noise.std(dim=0) / sigma - 1).abs() < Z / math.sqrt(2 * n)).all())
    off_diagonal = torch.corrcoef(noise.t()) - torch.eye(3, dtype=torch.float64)
    assert float(off_diagonal.abs().max()) < Z / math.sqrt(n)
    assert abs(float(torch.corrcoef(torch.stack((noise[1:, 0], noise[:-1, 0])))[0, 1])) < Z / math.sqrt(n)


@given(st.integers(1, 6), st.floats(0, 0.5), st.floats(-2, 2))
def test_coupling_keeps_means_and_equal_voltages(banks: int, fraction: float, volts: float) -> None:
    effect = GateCrosstalk(fraction)
    v = torch.randn(5, banks, generator=Generator().manual_seed(banks), dtype=torch.float64)
    coupled = effect.apply(v, None, context())
    torch.testing.assert_close(coupled.mean(dim=1), v.mean(dim=1))
    assert float(coupled.max()) <= float(v.max()) + 1e-12
    assert float(coupled.min()) >= float(v.min()) - 1e-12
    equal = torch.full((2, banks), volts, dtype=torch.float64)
    torch.testing.assert_close(effect.apply(equal, None, context()), equal)


def test_coupling_is_that_of_neighbours() -> None:
    coupled = GateCrosstalk(0.1).apply(torch.tensor([[1.0, 0.0, 0.0, 2.0]]), None, context())
    torch.testing.assert_close(coupled, torch.tensor([[0.9, 0.1, 0.2, 1.8]]))


def test_nothing_is_the_identity() -> None:
    v = torch.randn(50, 4)
    assert torch.equal(GateNoise(0.0).apply(v, None, context()), v)
    assert torch.equal(GateCrosstalk(0.0).apply(v, None, context()), v)


def test_a_layer_sees_both() -> None:
    x, outputs = torch.rand(40, 4, 6, 6, generator=Generator().manual_seed(1)), {}
    for name, effects in {"plain": "gate", "noisy": "gate,gate_noise", "coupled": "gate,gate_crosstalk"}.items():
        torch.manual_seed(0)
        layer = ModulatedConv2d(Heterosynaptic(banks=3), 4, 5, 3)
        stack = compose_stack(["device=adaptive_2d", f"nonideality=[{effects}]"])
        analog = analogize(layer, stack).eval()
        program(analog)
        with torch.no_grad():
            outputs[name] = analog(x), analog(x)
        analog.train()
        analog(x).square().sum().backward()
        assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in analog.parameters())
    first, second = outputs["noisy"]
    assert not torch.equal(first, second)
    assert torch.equal(*outputs["plain"])
    assert torch.equal(*outputs["coupled"])
    size = outputs["plain"][0].std()
    for name in ("noisy", "coupled"):
        change = (outputs[name][0] - outputs["plain"][0]).std() / size
        assert 0 < float(change) < 0.2, name


def test_a_device_without_a_gate_has_no_gate_lines() -> None:
    for name, effect in {"gate_noise": GateNoise(), "gate_crosstalk": GateCrosstalk()}.items():
        with pytest.raises(SimulationError, match=f"nonideality={name} needs a device with a third terminal"):
            Stack(Ideal(), Differential(), {name: effect})
