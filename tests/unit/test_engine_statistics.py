"""Random effects against their formulae, with fixed seeds. Intervals hold with 1e-6 probability of a false alarm."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from memristor_plugins.api import Context, ModulatedConv2d, analogize, calibrate, compose_stack, program
from memristor_plugins.crossbar.geometry import interpolation
from memristor_plugins.crossbar.profile import profile
from memristor_plugins.kernels.heterosynaptic import Heterosynaptic
from memristor_plugins.kernels.static import Static
from memristor_plugins.models.vgg import VGG
from memristor_plugins.nonidealities._quantise import observed_range, quantise

Z = 4.9  # two-sided normal quantile of 1e-6


@pytest.mark.parametrize("rows", [128, 8])
def test_read_noise_has_the_variance_of_its_sum(rows: int) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(24, 6, bias=False)
    stack = compose_stack(["device=adaptive_2d", "nonideality=[read_noise]", f"mapping.rows={rows}"])
    analog = analogize(layer, stack).eval()
    program(analog)
    x = torch.randn(24)
    n = 40_000
    y = analog(x.expand(n, -1))
    chip = analog.chip
    std = stack.device.read_std(chip.state.g, chip.state, 0.0)[:, 0, 0] * chip.mapped.scale.squeeze()
    expected = (x.square()[:, None] * (std[0] ** 2 + std[1] ** 2)).sum(dim=0)
    measured = y.var(dim=0)
    # The variance of n normals has a relative deviation of sqrt(2 / n).
    assert ((measured / expected - 1).abs() < Z * math.sqrt(2 / n)).all()
    assert ((y.mean(dim=0) - layer(x)).abs() < Z * (expected / n).sqrt() + 1e-6).all()
    correlation = torch.corrcoef(torch.cat((y[:-1, :1], y[1:, :1], y[:-1, 1:2]), dim=1).T)
    assert (correlation.fill_diagonal_(0).abs() < Z / math.sqrt(n)).all()


def test_read_noise_scales_with_the_gain() -> None:
    torch.manual_seed(0)
    layer = ModulatedConv2d(Heterosynaptic(banks=1), 4, 2, 1)
    stack = compose_stack(["device=adaptive_2d", "nonideality=[read_noise]"])
    analog = analogize(layer, stack).eval()
    program(analog)
    x = torch.rand(1, 4, 200, 250)
    reads = torch.stack([analog(x) for _ in range(6)])
    gain = layer.kernel.modulate(x).bank
    readout = analog.read_out(analog.chip, 0.0)
    kernel = analog.geometry.to_kernel(readout.variance[0, :, 0]).view(2, 4, 1, 1)
    expected = nn.functional.conv2d(x.square(), kernel) * gain.square().view(1, 1, 1, 1)
    ratio = reads.var(dim=0) / expected
    n = ratio[0, 0].numel() * 5
    assert ((ratio.mean(dim=(0, 2, 3)) - 1).abs() < Z * math.sqrt(2 / n)).all()


def test_programming_error_of_a_pair_adds_in_squares() -> None:
    stack = compose_stack(["device=adaptive_2d", "device.d2d_range=0", "nonideality=[programming]"])
    layer = nn.Linear(400, 300, bias=False)
    torch.manual_seed(1)
    layer.weight.data.uniform_(-0.5, 0.5)
    layer.weight.data[0, 0] = 1.0  # w_max: no other target comes near g_max or, in both cells, near zero
    analog = analogize(layer, stack).eval()
    program(analog)
    g = analog.chip.state
    error = (g.g - g.target)[:, 0, 0]
    device = stack.device
    inner = g.target[:, 0, 0] > 5 * device.programming_std * device.g_max  # clipping at zero is not in reach
    sample = error[inner]
    sigma = device.programming_std * device.g_max
    assert abs(float(sample.var()) / sigma**2 - 1) < Z * math.sqrt(2 / sample.numel())
    assert abs(float(sample.mean())) < Z * sigma / math.sqrt(sample.numel())


def test_stuck_cells_are_as_many_as_asked() -> None:
    stack = compose_stack(["nonideality=[stuck_at]", "nonidealities.stuck_at.p_on=0.02"])
    effect = stack.nonidealities["stuck_at"]
    n = 400_000
    drawn = effect.sample((n,), generator=torch.Generator().manual_seed(0))
    for code, p in ((1, 0.02), (-1, 0.0005)):
        count = int((drawn == code).sum())
        assert abs(count - n * p) < Z * math.sqrt(n * p * (1 - p))
    g = effect.apply(torch.full((n,), 3e-6), drawn, Context(stack.device))
    assert torch.equal(g[drawn == 1].unique(), torch.tensor([stack.device.g_max]))
    assert torch.equal(g[drawn == 0].unique(), torch.tensor([3e-6]))


def test_zero_strength_is_the_identity() -> None:
    torch.manual_seed(0)
    layer, x = nn.Conv2d(3, 4, 3), torch.rand(2, 3, 6, 6)
    plain = analogize(layer, compose_stack(["device=adaptive_2d"])).eval()
    overrides = [
        "device=adaptive_2d",
        "nonideality=[programming,drift,read_noise,stuck_at]",
        "nonidealities.programming.strength=0",
        "nonidealities.drift.strength=0",
        "nonidealities.read_noise.strength=0",
        "nonidealities.stuck_at.p_on=0",
        "nonidealities.stuck_at.p_off=0",
    ]
    off = analogize(layer, compose_stack(overrides)).eval()
    program(plain, 1, 1e5)
    program(off, 1, 1e5)
    assert torch.equal(plain(x), off(x))


def test_times_lie_on_one_trajectory() -> None:
    stack = compose_stack(["device=adaptive_2d", "nonideality=[programming,drift]"])
    analog = analogize(nn.Linear(50, 40), stack)
    program(analog, 0)
    at = [analog.chip.conductance(stack, stack.context(t)) for t in (0.0, 3600.0, 86400.0, 3600.0)]
    assert torch.equal(at[1], at[3])
    grown = at[0] > stack.device.g_off
    assert (at[1][grown] <= at[0][grown]).all()
    assert (at[2][grown] <= at[1][grown]).all()


# Measured on 1e4 cells at 21 gains: 0.36 % of the largest weight with two nodes.
@pytest.mark.parametrize(("nodes", "bound"), [(2, 4e-3), (3, 4e-4)])
def test_interpolated_cell_gains(nodes: int, bound: float) -> None:
    overrides = ["device=adaptive_2d", "nonideality=[gate]", f"nonidealities.gate.nodes={nodes}"]
    stack = compose_stack([*overrides, "nonidealities.gate.bits=16"])
    device = stack.device
    torch.manual_seed(0)
    layer = ModulatedConv2d(Heterosynaptic(banks=1), 100, 100, 1)
    analog = analogize(layer, stack).eval()
    program(analog)
    state, readout = analog.chip.state, analog.programmed.columns.readout
    worst = 0.0
    for gain in torch.linspace(device.gain_min, 1.0, 21):
        exact = state.g * device.gain(state, device.gate_voltage(gain))
        effective = stack.mapping.to_effective(exact, analog.chip.mapped.scale)[0]
        weights = gain * interpolation(gain.log(), readout.nodes[0].to(gain))
        approximate = (readout.weight[0, 0] * weights.view(1, -1, 1, 1, 1)).sum(dim=1)
        worst = max(worst, float(((approximate - effective).abs().max() / layer.kernel.weight.abs().max()).detach()))
    assert worst < bound, worst


def test_quantise() -> None:
    unsigned = torch.tensor([0.0, 1.0])
    x = torch.linspace(-0.5, 1.5, 2001)
    codes = quantise(x, 3, unsigned).unique()
    torch.testing.assert_close(codes, torch.arange(8) / 7)
    signed = quantise(x, 3, torch.tensor([-1.0, 1.0])).unique()
    torch.testing.assert_close(signed, torch.tensor([-2, -1, 0, 1, 2, 3]) / 3)
    x = torch.tensor([-0.5, 0.2, 0.7, 1.5], requires_grad=True)
    quantise(x, 3, unsigned).sum().backward()
    assert torch.equal(x.grad, torch.tensor([0.0, 1.0, 1.0, 0.0]))
    assert torch.equal(observed_range(torch.tensor([-2.0, 1.0]), 100.0, "auto"), torch.tensor([-2.0, 2.0]))
    assert torch.equal(observed_range(torch.tensor([0.0, 1.0]), 100.0, "auto"), torch.tensor([0.0, 1.0]))
    spread = observed_range(torch.arange(1001.0), 90.0, "unsigned")
    assert spread.tolist() == [0.0, 900.0]


def test_profile_is_the_sum_over_cells_and_reads() -> None:
    torch.manual_seed(0)
    stack = compose_stack(["device=adaptive_2d", "nonideality=[programming,dac,adc]", "mapping.rows=8"])
    analog = analogize(nn.Sequential(nn.Conv2d(2, 3, 3, padding=1, bias=False)), stack)
    x = torch.rand(4, 2, 5, 5)
    calibrate(analog, [x])
    program(analog)
    measured = profile(analog, [x], "test").layers[0]
    layer = analog[0]
    volts = stack.nonidealities["dac"].apply(x, None, Context(stack.device, full_scale=layer.ranges.input))
    volts = volts / layer.ranges.input[1] * stack.device.read_voltage
    columns = nn.functional.unfold(volts, 3, padding=1).view(4, 2, 9, 25).transpose(1, 2).flatten(1, 2)
    # Three pairs stand on an array of 128 bit lines: the others' cells hold g_min.
    rows = layer.chip.state.g.sum(dim=(0, 4))[0, 0] + 122 * stack.device.g_min
    expected = float((columns.square().double() * rows[:, None]).sum()) / 4
    assert measured.v2g == pytest.approx(expected, rel=1e-5)
    assert measured.output_conversions == 25 * 3 * 3
    assert measured.partial_sums == 25 * 3 * 2


def test_vgg16_is_the_published_one() -> None:
    network = VGG(Static(), (3, 32, 32), 10, depth=16)
    convolutions = sum(p.numel() for n, p in network.named_parameters() if n.endswith("kernel.weight"))
    assert convolutions == pytest.approx(14.71e6, rel=1e-3)
    analog = analogize(network, compose_stack())
    program(analog)
    work = profile(analog, [torch.rand(1, 3, 32, 32)], "random")
    assert sum(layer.macs for layer in work.layers[:-1]) == pytest.approx(313.2e6, rel=1e-3)


@pytest.mark.parametrize("depth", [8, 11, 13, 16, 19])
@pytest.mark.parametrize("size", [1, 5, 33])
def test_vgg_takes_any_size(depth: int, size: int) -> None:
    network = VGG(Heterosynaptic(banks=2), (2, size, size + 3), 7, depth=depth, width=0.03).eval()
    assert network(torch.rand(2, 2, size, size + 3)).isfinite().all()
