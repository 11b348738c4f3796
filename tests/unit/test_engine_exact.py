"""The engine against the digital layer and against an independent, naive computation."""

from __future__ import annotations

import copy
import pickle
from statistics import mean

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from memristor_plugins.api import ModulatedConv2d, SimulationError, analogize, calibrate, compose_stack, program
from memristor_plugins.crossbar.convert import analog_layers, set_mode
from memristor_plugins.crossbar.geometry import Geometry, interpolation
from memristor_plugins.kernels.dynamic import Dynamic
from memristor_plugins.kernels.heterosynaptic import Heterosynaptic
from memristor_plugins.kernels.static import Static
from memristor_plugins.models.vgg import VGG

LAYERS = {
    "conv": lambda: nn.Conv2d(6, 8, 3, padding=1),
    "strided": lambda: nn.Conv2d(6, 8, 3, stride=2, padding=1),
    "dilated": lambda: nn.Conv2d(6, 8, 3, dilation=2, bias=False),
    "grouped": lambda: nn.Conv2d(6, 8, 3, groups=2, padding=2),
    "depthwise": lambda: nn.Conv2d(6, 6, 3, groups=6),
    "rectangular": lambda: nn.Conv2d(6, 8, (1, 3), padding=(0, 1)),
    "static": lambda: ModulatedConv2d(Static(), 6, 8, 3, padding=1),
    "dynamic": lambda: ModulatedConv2d(Dynamic(banks=3), 6, 8, 3, padding=1),
    "heterosynaptic": lambda: ModulatedConv2d(Heterosynaptic(banks=3), 6, 8, 3, padding=1, bias=True),
}


def relative(a: Tensor, b: Tensor) -> float:
    return float(((a - b).norm() / b.norm()).detach())


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("subtract", ["analog", "digital"])
def test_ideal_stack_is_the_digital_layer(name: str, subtract: str) -> None:
    torch.manual_seed(0)
    digital = LAYERS[name]().eval()
    x = torch.randn(3, 6, 9, 7)
    analog = analogize(digital, compose_stack([f"mapping.subtract={subtract}", "mapping.rows=16"])).eval()
    program(analog, chip=3)
    assert relative(analog(x), digital(x)) < 1e-5


def test_ideal_network_is_the_digital_network() -> None:
    torch.manual_seed(0)
    network = VGG(Heterosynaptic(banks=2), (3, 16, 16), 10, width=0.125).eval()
    x = torch.randn(4, 3, 16, 16)
    analog = analogize(network, compose_stack())
    program(analog)
    assert relative(analog(x), network(x)) < 1e-5
    ranges = {k for k in analog.state_dict() if k.endswith(("ranges.input", "ranges.sum"))}
    assert set(analog.state_dict()) - ranges == set(network.state_dict())
    analog.load_state_dict(network.state_dict())
    program(analog)
    for copied in (copy.deepcopy(analog), pickle.loads(pickle.dumps(analog))):
        program(copied)
        assert torch.equal(copied(x), analog(x))


def naive(layer: nn.Conv2d, x: Tensor, rows: int, low: float, high: float, bits: int) -> Tensor:
    """Unfold, cut rows in kernel-position-major order, round each array's sum, add."""
    step = high / (2 ** (bits - 1) - 1)
    kh, kw = layer.kernel_size
    per = layer.in_channels // layer.groups
    outs = []
    for group in range(layer.groups):
        part = x[:, group * per : (group + 1) * per]
        columns = F.unfold(part, (kh, kw), layer.dilation, layer.padding, layer.stride)
        columns = columns.view(len(x), per, kh * kw, -1).transpose(1, 2).flatten(1, 2)
        weight = layer.weight[group * (layer.out_channels // layer.groups) :][: layer.out_channels // layer.groups]
        matrix = weight.permute(0, 2, 3, 1).flatten(1)
        total = torch.zeros(len(x), matrix.shape[0], columns.shape[-1])
        for first in range(0, matrix.shape[1], rows):
            partial = matrix[:, first : first + rows] @ columns[:, first : first + rows]
            total += (partial.clamp(low, high) / step).round() * step
        outs.append(total)
    return torch.cat(outs, dim=1)


@settings(max_examples=40, deadline=None)
@given(
    channels=st.integers(1, 9),
    outputs=st.integers(1, 5),
    groups=st.integers(1, 2),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.integers(1, 2),
    padding=st.integers(0, 2),
    rows=st.integers(1, 20),
    seed=st.integers(0, 10**6),
)
def test_tiled_plan_against_unfold(
    channels: int,
    outputs: int,
    groups: int,
    kernel: tuple[int, int],
    stride: int,
    padding: int,
    rows: int,
    seed: int,
) -> None:
    generator = torch.Generator().manual_seed(seed)
    layer = nn.Conv2d(channels * groups, outputs * groups, kernel, stride, padding, groups=groups, bias=False)
    layer.weight.data = torch.randn(layer.weight.shape, generator=generator)
    x = torch.randn(2, channels * groups, 6, 5, generator=generator)
    bits = 4
    stack = compose_stack(["nonideality=[adc]", f"nonidealities.adc.bits={bits}", f"mapping.rows={rows}"])
    analog = analogize(layer, stack).eval()
    analog.ranges.input.copy_(torch.tensor([-1.0, 1.0]))
    analog.ranges.sum.copy_(torch.tensor([-3.0, 3.0]))
    program(analog)
    got = analog(x).flatten(2)
    want = naive(layer, x, rows, -3.0, 3.0, bits)
    # A sum within float error of a rounding boundary may fall on either side: one step of one array at most.
    off = (got - want).abs() > 1e-4
    assert off.float().mean() < 0.01


@given(seed=st.integers(0, 10**6), groups=st.integers(1, 3), lead=st.integers(1, 3))
@settings(max_examples=20, deadline=None)
def test_matrix_and_kernel_are_one(seed: int, groups: int, lead: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    geometry = Geometry(4 * groups, 3 * groups, (3, 2), padding=(1, 1), groups=groups)
    weight = torch.randn(lead, 3 * groups, 4, 3, 2, generator=generator)
    x = torch.randn(2, 4 * groups, 6, 5, generator=generator)
    together = geometry.convolve(x, geometry.to_kernel(geometry.to_matrix(weight)))
    split = together.unflatten(1, (groups, lead, 3))
    for bank in range(lead):
        alone = F.conv2d(x, weight[bank], padding=1, groups=groups).unflatten(1, (groups, 3))
        torch.testing.assert_close(split[:, :, bank], alone)


def test_interpolation_is_exact_at_nodes_and_for_lines() -> None:
    nodes = torch.tensor([-1.2, -0.3], dtype=torch.float64)
    assert torch.allclose(interpolation(nodes, nodes), torch.eye(2, dtype=torch.float64))
    u = torch.linspace(-1.4, 0, 7, dtype=torch.float64)
    assert torch.allclose(interpolation(u, nodes) @ (2 * nodes + 1), 2 * u + 1)


def test_a_chip_is_its_seed() -> None:
    torch.manual_seed(0)
    network = VGG(Heterosynaptic(banks=2), (1, 8, 8), 10, width=0.0625).eval()
    analog = analogize(network, compose_stack(["stack=adaptive_2d_basic"]))
    x = torch.rand(8, 1, 8, 8)
    calibrate(analog, [x])
    before = torch.random.get_rng_state()
    program(analog, 5, 1.0)
    first = {n: layer.chip.state.g.clone() for n, layer in analog_layers(analog).items()}
    analog(x[:1])
    for layer in reversed(list(analog_layers(analog).values())):
        layer.forget_chip()
        layer.program(5, 3600.0)
    assert all(torch.equal(layer.chip.state.g, first[n]) for n, layer in analog_layers(analog).items())
    program(analog, 6, 1.0)
    assert all(not torch.equal(layer.chip.state.g, first[n]) for n, layer in analog_layers(analog).items())
    assert torch.equal(torch.random.get_rng_state(), before)


def test_training_forward_and_chip_see_the_same_errors() -> None:
    """Without noise that is drawn anew, a training step and a chip differ by their draws alone: equal in size."""
    torch.manual_seed(0)
    network = nn.Sequential(ModulatedConv2d(Heterosynaptic(banks=4), 16, 32, 3, padding=1)).eval()
    # Stuck cells are few and large: their share of the error varies too much from draw to draw to compare.
    effects = "[programming,read_noise,gate,dac,adc]"
    analog = analogize(network, compose_stack(["device=adaptive_2d", f"nonideality={effects}"]))
    x = torch.rand(8, 16, 8, 8)
    calibrate(analog, [x])
    chips, steps = [], []
    with torch.no_grad():
        for draw in range(6):
            program(analog.eval(), draw)
            chips.append(relative(analog(x), network(x)))
            analog.train()
            analog[0].step = draw
            steps.append(relative(analog(x), network(x)))
    assert 0.05 < mean(chips) < 0.3
    assert abs(mean(steps) / mean(chips) - 1) < 0.12


def test_gradient_is_straight_through() -> None:
    torch.manual_seed(0)
    digital = nn.Conv2d(5, 4, 3)
    overrides = ["device=adaptive_2d", "nonideality=[programming,stuck_at]"]
    analog = analogize(digital, compose_stack(overrides)).train()
    x = torch.randn(3, 5, 6, 6)
    out = analog(x)
    upstream = torch.randn_like(out)
    (out * upstream).sum().backward()
    (digital(x) * upstream).sum().backward()
    torch.testing.assert_close(analog.weight.grad, digital.weight.grad)
    analog.step = 1
    assert not torch.equal(analog(x), out)
    analog.step = 0
    assert torch.equal(analog(x), out)


@pytest.mark.parametrize(("value", "word"), [(float("nan"), "nan"), (-1.0, "-")])
def test_bad_conductances_name_the_layer(value: float, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from memristor_plugins.devices.adaptive_2d import Adaptive2D

    monkeypatch.setattr(Adaptive2D, "conductance", lambda self, state, seconds: state.g.fill_(value))
    analog = analogize(nn.Sequential(nn.Linear(3, 2)), compose_stack(["device=adaptive_2d", "nonideality=[drift]"]))
    with pytest.raises(SimulationError, match=r"layer '0', chip 4.*\[plane, bank, group, row, column\]"):
        program(analog, 4)


def test_unprogrammed_and_uncalibrated_warn() -> None:
    analog = analogize(nn.Linear(4, 3), compose_stack(["nonideality=[dac,adc]"])).eval()
    x = torch.randn(5, 4)
    with pytest.warns(UserWarning, match="chip 0|not calibrated") as caught:
        analog(x)
    messages = sorted(str(w.message) for w in caught)
    assert len(messages) == 3
    assert "runs on chip 0" in "".join(messages)
    analog(x)  # silent from now on
    other = analogize(nn.Linear(4, 3), compose_stack(["nonideality=[dac,adc]"]))
    other.load_state_dict(analog.state_dict())
    assert torch.equal(other.ranges.sum, analog.ranges.sum)


def test_order_of_effects_never_matters() -> None:
    names = ["adc", "stuck_at", "programming", "dac", "drift"]
    torch.manual_seed(0)
    digital, x = nn.Conv2d(4, 4, 3), torch.rand(2, 4, 6, 6)
    outputs = []
    for order in (names, names[::-1]):
        analog = analogize(digital, compose_stack(["device=adaptive_2d", f"nonideality=[{','.join(order)}]"]))
        calibrate(analog, [x])
        program(analog.eval(), 2, 100.0)
        outputs.append(analog(x))
    assert torch.equal(*outputs)


def test_gate_without_third_terminal_is_refused() -> None:
    with pytest.raises(SimulationError, match=r"gate.*Ideal.*adaptive_2d"):
        compose_stack(["nonideality=[gate]"])


def test_modes_do_not_disturb_each_other() -> None:
    torch.manual_seed(0)
    digital = nn.Conv2d(2, 2, 3)
    analog = analogize(digital, compose_stack(["device=adaptive_2d", "nonideality=[programming]"])).eval()
    x = torch.randn(1, 2, 5, 5)
    set_mode(analog, "digital")
    torch.testing.assert_close(analog(x), digital(x))
