"""Banks whose bit lines end in one converter: the same sums, a conversion for all banks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from memristor_plugins.api import compose_stack
from memristor_plugins.crossbar.compensation import compensate
from memristor_plugins.crossbar.convert import analog_layers, analogize, calibrate, explain, program, running
from memristor_plugins.crossbar.modulated import ModulatedConv2d
from memristor_plugins.crossbar.profile import profile
from memristor_plugins.errors import ConfigError
from memristor_plugins.kernels.heterosynaptic import Heterosynaptic

GATED = ["device=adaptive_2d", "mapping.rows=32", "mapping.columns=32"]


def network(stack: list[str], *, shared: bool, banks: int = 3) -> nn.Module:
    torch.manual_seed(0)
    digital = nn.Sequential(ModulatedConv2d(Heterosynaptic(banks=banks, shared_lines=shared), 8, 6, 3, padding=1))
    return analogize(digital, compose_stack(stack)).eval()


def images(count: int = 4) -> torch.Tensor:
    return torch.randn(count, 8, 6, 6, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("mapping", ["differential", "offset"])
def test_without_converters_the_outputs_are_those_of_lines_apart(mapping: str) -> None:
    stack = [*GATED, f"mapping={mapping}", "nonideality=[programming,gate,ir_drop]"]
    outputs = []
    for shared in (False, True):
        net = network(stack, shared=shared)
        program(net, 3, 1.0)
        outputs.append(net(images()))
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_fine_converters_see_the_sum_and_coarse_ones_round_it_once() -> None:
    with running(net := network(GATED, shared=True), "digital"):
        wanted = net(images())
    errors = {}
    for bits in (6, 14):
        stack = [*GATED, "nonideality=[adc]", f"nonidealities.adc.bits={bits}", "nonidealities.adc.percentile=100"]
        net = network(stack, shared=True)
        calibrate(net, [images()])
        program(net, 0)
        errors[bits] = float((net(images()) - wanted).abs().max())
    assert errors[14] < 1e-3 * float(wanted.abs().max())
    assert 50 < errors[6] / errors[14] < 1000


def test_a_conversion_serves_all_banks() -> None:
    counted = []
    for shared in (False, True):
        net = network([*GATED, "nonideality=[gate,dac,adc]"], shared=shared)
        calibrate(net, [images()])
        program(net, 0)
        (layer,) = profile(net, [images()], "noise").layers
        counted.append(layer)
    apart, one = counted
    assert apart.output_conversions == 3 * one.output_conversions
    assert apart.adcs == 3 * one.adcs
    assert (apart.cells, apart.input_conversions, apart.arrays) == (one.cells, one.input_conversions, one.arrays)


def test_training_follows_the_same_gradient() -> None:
    gradients = []
    for shared in (False, True):
        net = network([*GATED, "nonideality=[gate]"], shared=shared).train()
        net(images()).square().mean().backward()
        gradients.append(net[0].kernel.weight.grad)
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["global", "column", "reference"])
def test_what_is_added_before_the_converter_is_compensated_together(kind: str) -> None:
    aging = ["device.retention_tau=1.0e6", "device.retention_sigma=0.2"]
    net = network([*GATED, *aging, "nonideality=[programming,drift,gate]"], shared=True)
    program(net, 0, 0.0)
    fresh = net(images())
    program(net, 0, 3e5)
    aged = net(images())
    compensate(net, kind)
    assert net[0].programmed.compensation.shape[0] == 1
    compensated = net(images())
    assert (compensated - fresh).norm() < 0.7 * (aged - fresh).norm()


def test_a_device_without_a_gate_cannot_share() -> None:
    with pytest.raises(ConfigError, match=r"kernel.shared_lines: needs a device with a third terminal, which Ideal"):
        network(["device=ideal"], shared=True)


def test_the_plan_says_so() -> None:
    (row,) = explain(network([*GATED, "nonideality=[gate]"], shared=True))
    assert row["bank factors"] == "gate, 2 node(s), one converter"
    assert not any(layer.shared for layer in analog_layers(network([*GATED], shared=True, banks=1)).values())
