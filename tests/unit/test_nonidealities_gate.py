"""The third terminal: which gains its driver sets, and how far the engine's interpolation lies from each cell's own."""

import math

import pytest
import torch
from torch import Tensor, nn

from memristor_plugins.crossbar.convert import analogize, program
from memristor_plugins.crossbar.geometry import interpolation
from memristor_plugins.crossbar.layer import AnalogLayer
from memristor_plugins.crossbar.modulated import ModulatedConv2d
from memristor_plugins.crossbar.readout import gate_nodes
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.devices.adaptive_2d import Adaptive2D
from memristor_plugins.devices.ideal import Ideal
from memristor_plugins.errors import SimulationError
from memristor_plugins.interfaces.nonideality import Context
from memristor_plugins.kernels.heterosynaptic import Heterosynaptic
from memristor_plugins.mappings.differential import Differential
from memristor_plugins.nonidealities.gate import Gate
from memristor_plugins.nonidealities.programming import Programming

DEVICES = [Adaptive2D(), Adaptive2D(beta=-0.3)]


@pytest.mark.parametrize("device", DEVICES, ids=lambda d: f"beta={d.beta}")
@pytest.mark.parametrize("bits", [1, 3, 6])
def test_the_driver_sets_equidistant_voltages(device: Adaptive2D, bits: int) -> None:
    gains = torch.linspace(device.gain_min, 1.0, 5000)
    set_gains = Gate(bits).apply(gains, None, Context(device))
    low, high = device.gate_range
    codes = (device.gate_voltage(set_gains.unique().double()) - low) / (high - low) * (2**bits - 1)
    torch.testing.assert_close(codes, codes.round(), rtol=0, atol=1e-3)
    assert codes.round().tolist() == list(range(2**bits))
    # Each gain becomes the one whose voltage is nearest.
    step = abs(high - low) / (2**bits - 1)
    volts = (device.gate_voltage(set_gains) - device.gate_voltage(gains)).abs()
    assert float(volts.max()) <= step / 2 * (1 + 1e-3)
    # Beyond the reach a driver saturates.
    beyond = Gate(bits).apply(torch.tensor([device.gain_min / 2, 1.5]), None, Context(device))
    torch.testing.assert_close(beyond, torch.tensor([device.gain_min, 1.0]))


def test_the_gradient_passes_straight_through_the_driver() -> None:
    gains = torch.tensor([0.3, 0.5, 0.99], requires_grad=True)
    y = Gate(3).apply(gains, None, Context(DEVICES[0]))
    torch.testing.assert_close(y.detach(), Gate(3).apply(gains.detach(), None, Context(DEVICES[0])))
    assert torch.autograd.grad(y.sum(), gains)[0].tolist() == [1, 1, 1]


def test_a_device_without_a_gate_is_refused() -> None:
    with pytest.raises(SimulationError, match="third terminal, which Ideal has not"):
        Gate().apply(torch.ones(1), None, Context(Ideal()))


def interpolation_error(device: Adaptive2D, nodes: int) -> tuple[Tensor, Tensor]:
    """Interpolated less exact conductance over g_max, and exact gain, of 20,000 written cells at 41 gains."""
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(20_000, generator=generator, dtype=torch.float64)
    state = device.program(target * (device.g_max - device.g_min) + device.g_min, generator=generator)
    gains = torch.exp(torch.linspace(math.log(device.gain_min), 0, 41, dtype=torch.float64))
    exact = torch.stack([device.gain(state, device.gate_voltage(s)) for s in gains], dim=1)
    at = gate_nodes(device.gain_min, nodes)
    own = torch.stack([device.gain(state, device.gate_voltage(u.exp())) / u.exp() for u in at], dim=1)
    approximate = gains * (own @ interpolation(gains.log(), at).T)
    return state.g[:, None] * (approximate - exact) / device.g_max, exact


# Measured on the default device, largest and root mean square over g_max:
#   1 node 15.4 % and 5.0 %; 2 nodes 0.61 % and 0.145 %; 3 nodes 0.0165 % and 0.0034 %; 4 nodes 0.0004 %.
@pytest.mark.parametrize(
    ("nodes", "largest", "rms"), [(1, 0.16, 0.055), (2, 6.5e-3, 2e-3), (3, 1.8e-4, 5e-5), (4, 4.2e-6, 1.5e-6)]
)
@pytest.mark.parametrize("device", DEVICES, ids=lambda d: f"beta={d.beta}")
def test_interpolated_conductances_lie_within_a_stated_error(
    device: Adaptive2D, nodes: int, largest: float, rms: float
) -> None:
    error, _ = interpolation_error(device, nodes)
    worst, typical = float(error.abs().max()), float(error.square().mean().sqrt())
    assert worst < largest
    assert typical < rms
    # The bound is no more than it must be.
    assert worst > largest / 2


@pytest.mark.parametrize("nodes", [1, 2, 3])
def test_a_layer_interpolates_each_cell_of_its_chip(nodes: int) -> None:
    """The engine's output under a gate, against conductances computed cell by cell at each image's own voltage."""
    device = Adaptive2D()
    torch.manual_seed(0)
    conv = ModulatedConv2d(Heterosynaptic(banks=2), 8, 4, 1)
    stack = Stack(device, Differential(), {"gate": Gate(bits=5, nodes=nodes), "programming": Programming()})
    layer = analogize(conv, stack).eval()
    assert isinstance(layer, AnalogLayer)
    program(layer, 3)
    x = torch.rand(6, 8, 1, 1, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        y = layer(x)[..., 0, 0]
        wanted = conv.kernel.modulate(x).bank
    assert wanted is not None
    gains = Gate(bits=5).apply(wanted, None, Context(device))
    chip = layer.chip
    assert chip is not None
    for image in range(6):
        own = device.gain(chip.state, device.gate_voltage(gains[image]).view(1, 2, 1, 1, 1))
        effective = stack.mapping.to_effective(chip.state.g * own, chip.mapped.scale)[0, :, 0]
        expected = x[image, :, 0, 0] @ effective.sum(dim=0)
        error = (y[image] - expected).abs().max() / expected.abs().max()
        assert float(error) < {1: 0.2, 2: 5e-3, 3: 2e-4}[nodes]


def test_a_gate_without_banks_to_set_has_no_effect_and_says_so_once() -> None:
    stack = Stack(Adaptive2D(), Differential(), {"gate": Gate()})
    network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Conv2d(3, 2, 3))
    with pytest.warns(UserWarning, match="no layer has bank factors") as told:
        analogize(network, stack)
    assert len(told) == 1
