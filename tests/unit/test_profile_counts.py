"""What a profile counts, against counts by hand."""

import pytest
import torch
from torch import Tensor, nn

from memristor_plugins.crossbar.convert import analogize, calibrate, program
from memristor_plugins.crossbar.layer import AnalogLayer
from memristor_plugins.crossbar.modulated import ModulatedConv2d
from memristor_plugins.crossbar.profile import profile
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.devices.adaptive_2d import Adaptive2D
from memristor_plugins.interfaces.kernel import KernelStrategy
from memristor_plugins.interfaces.nonideality import Context, NonIdeality
from memristor_plugins.kernels.dynamic import Dynamic
from memristor_plugins.kernels.heterosynaptic import Heterosynaptic
from memristor_plugins.mappings.differential import Differential
from memristor_plugins.nonidealities.adc import ADC
from memristor_plugins.nonidealities.dac import DAC
from memristor_plugins.nonidealities.gate import Gate
from memristor_plugins.nonidealities.programming import Programming

DEVICE = Adaptive2D()


def images(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def power_by_hand(layer: AnalogLayer, x: Tensor, gated: bool) -> float:
    """Sum of v^2 G over every read, word line and cell, averaged over images: five nested loops."""
    g, chip = layer.geometry, layer.chip
    assert chip is not None
    assert layer.kernel is not None
    held = chip.state.g.double()  # [planes, banks, groups, rows, cols]
    gains = torch.ones(len(x), layer.banks, dtype=torch.float64)
    own = torch.ones_like(held).expand(len(x), *held.shape)
    if gated:
        bank = layer.kernel.modulate(x).bank
        assert bank is not None
        gains = Gate(bits=5).apply(bank.detach(), None, Context(DEVICE)).double()
        volts = DEVICE.gate_voltage(gains)
        own = torch.stack([DEVICE.gain(chip.state, v.float().view(1, -1, 1, 1, 1)).double() for v in volts])
    v = DAC(5, percentile=100).apply(x, None, Context(DEVICE, full_scale=layer.ranges.input))
    v = v.double() / float(layer.ranges.input.abs().max()) * DEVICE.read_voltage
    padded = nn.functional.pad(v, (g.padding[1], g.padding[1], g.padding[0], g.padding[0]))
    height, width = g.output_size(*x.shape[2:])
    per = g.in_channels // g.groups
    total = 0.0
    for image in range(len(x)):
        cells = (held * own[image]).sum(dim=(0, 1, 4))  # [groups, rows]
        # Three lines of two planes take two arrays of four bit lines: two of a bank's and group's cells hold no weight.
        cells = cells + layer.banks * 2 * DEVICE.g_min
        for i in range(height):
            for j in range(width):
                for group in range(g.groups):
                    for row in range(g.rows):
                        place, channel = divmod(row, per)
                        u, w = divmod(place, g.kernel_size[1])
                        at = i * g.stride[0] + u, j * g.stride[1] + w
                        total += float(padded[image, group * per + channel, *at] ** 2 * cells[group, row])
    return total / len(x)


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("subtract", ["analog", "digital"])
def test_dissipated_power_and_counts_of_a_grouped_strided_layer(gated: bool, subtract: str) -> None:
    torch.manual_seed(0)
    strategy: KernelStrategy = Heterosynaptic(banks=2) if gated else Dynamic(banks=2)
    conv = ModulatedConv2d(strategy, 4, 6, 3, stride=2, padding=1, groups=2)
    effects: dict[str, NonIdeality] = {"programming": Programming(), "dac": DAC(5, percentile=100), "adc": ADC(6)}
    if gated:
        effects["gate"] = Gate(bits=5, nodes=4)
    network = analogize(nn.Sequential(conv), Stack(DEVICE, Differential(8, 4, subtract), effects))  # type: ignore[arg-type]
    x = images(3, 4, 5, 6) * (images(3, 4, 5, 6) > 0.3)
    calibrate(network, [x])
    program(network)
    layer = network[0]  # type: ignore[index]
    assert isinstance(layer, AnalogLayer)
    expected = power_by_hand(layer, x, gated)
    p = profile(network, [x[:2], x[2:]], "test").layers[0]
    # Under a gate, what cells without a weight hold is interpolated between four gate voltages.
    assert p.v2g == pytest.approx(expected, rel=1e-4 if gated else 1e-5)

    positions, rows, outputs, converters = 9, 18, 6, 1 if subtract == "analog" else 2
    assert (p.rows, p.cols, p.banks, p.planes, p.row_tiles, p.positions) == (rows, outputs, 2, 2, 3, positions)
    assert p.macs == positions * rows * outputs * 2
    # One kernel mixed for each image, then one convolution.
    assert p.digital_macs == min(p.macs, positions * rows * outputs + 2 * rows * outputs)
    assert p.cells == rows * outputs * 2 * 2
    assert p.arrays == 2 * 2 * 3 * 2  # banks, groups, row tiles, column tiles of 6 bit lines on 4
    assert p.outputs == positions * outputs
    assert p.output_conversions == p.outputs * 2 * 3 * converters
    assert p.input_conversions == positions * rows * 2 * 2 * 2  # groups, column tiles, banks
    # Additions: all sums of an output but the first; digital factors bring those over banks themselves.
    assert p.partial_sums == p.output_conversions - p.outputs * (1 if gated else 2)
    assert p.bank_multiplies == (0 if gated else p.outputs * 2)
    assert p.gate_updates == (2 if gated else 0)
    assert (p.input_bits, p.output_bits, p.gate_bits) == (5, 6, 5 if gated else None)
    assert p.routing_macs == 4 * 8 + 8 * 2

    # Products of an input that is not zero, one by one.
    v = DAC(5, percentile=100).apply(x, None, Context(DEVICE, full_scale=layer.ranges.input))
    driven = nn.functional.unfold((v != 0).float(), 3, padding=1, stride=2).sum() / 3
    assert p.nonzero_macs == pytest.approx(float(driven) * 3 * 2)


def test_gate_steps_are_those_from_image_to_image() -> None:
    torch.manual_seed(0)
    conv = ModulatedConv2d(Heterosynaptic(banks=2), 4, 3, 1)
    network = analogize(nn.Sequential(conv), Stack(DEVICE, Differential(), {"gate": Gate(bits=16)}))
    network.eval()
    program(network)
    x = images(5, 4, 3, 3)
    bank = conv.kernel.modulate(x).bank
    assert bank is not None
    steps = DEVICE.gate_voltage(bank.detach().double()).diff(dim=0).square().mean()
    for batches in ([x], [x[:2], x[2:3], x[3:]]):
        p = profile(network, batches, "test").layers[0]
        assert p.gate_v2 == pytest.approx(float(steps), rel=2e-2)


def test_digital_operations_count_what_stays_digital() -> None:
    network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2))
    analog = analogize(network, Stack(DEVICE, Differential())).eval()
    program(analog)
    work = profile(analog, [images(2, 2, 6, 6), images(3, 2, 6, 6)], "test")
    assert work.images == 5
    assert work.digital_ops == 48 * 2 + 48
    assert [layer.name for layer in work.layers] == ["0", "4"]
    assert work.layers[1].macs == 48 * 2
    # Hooks are gone: another run counts nothing.
    assert not any(m._forward_hooks for m in analog.modules())
    assert all(layer.observer is None for layer in analog if isinstance(layer, AnalogLayer))  # type: ignore[union-attr]
