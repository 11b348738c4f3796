"""Without an effect the analog network is the digital one; each effect of zero strength is none at all."""

import copy
import pickle
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from memristor_plugins.crossbar.convert import analog_layers, analogize, calibrate, program, running
from memristor_plugins.crossbar.layer import AnalogLayer
from memristor_plugins.crossbar.modulated import ModulatedConv2d
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.devices.adaptive_2d import Adaptive2D
from memristor_plugins.devices.ideal import Ideal
from memristor_plugins.errors import SimulationError
from memristor_plugins.interfaces.device import Device
from memristor_plugins.interfaces.kernel import ConvSpec, Kernel, KernelStrategy, Modulation
from memristor_plugins.interfaces.nonideality import NonIdeality
from memristor_plugins.kernels.dynamic import Dynamic
from memristor_plugins.kernels.heterosynaptic import Heterosynaptic
from memristor_plugins.kernels.static import Static
from memristor_plugins.mappings.differential import Differential
from memristor_plugins.models.vgg import VGG
from memristor_plugins.nonidealities.adc import ADC
from memristor_plugins.nonidealities.dac import DAC
from memristor_plugins.nonidealities.drift import Drift
from memristor_plugins.nonidealities.gate import Gate
from memristor_plugins.nonidealities.programming import Programming
from memristor_plugins.nonidealities.read_noise import ReadNoise
from memristor_plugins.nonidealities.stuck_at import StuckAt

STRATEGIES: list[KernelStrategy] = [Static(), Dynamic(banks=3), Heterosynaptic(banks=2)]
# The devices hold any target exactly when no effect is switched on.
DEVICES: list[Device] = [Ideal(), Adaptive2D()]
SMALL = Differential(rows=7, columns=8)


def images(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def on_chip(digital: nn.Module, stack: Stack, x: Tensor, chip: int = 0, seconds: float = 0.0) -> Tensor:
    network = analogize(digital, stack).eval()
    program(network, chip, seconds)
    with torch.no_grad():
        y: Tensor = network(x)
    return y


def assert_same(y: Tensor, expected: Tensor) -> None:
    """Within 1e-5 of the largest output: single outputs may cancel to nothing."""
    assert float((y - expected).abs().max()) <= 1e-5 * float(expected.abs().max())


@st.composite
def convolutions(draw: st.DrawFn) -> nn.Conv2d:
    groups = draw(st.integers(1, 3))
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    torch.manual_seed(draw(st.integers(0, 1000)))
    return nn.Conv2d(
        groups * draw(st.integers(1, 4)),
        groups * draw(st.integers(1, 4)),
        draw(pair),
        stride=draw(pair),
        padding=draw(st.tuples(st.integers(0, 2), st.integers(0, 2))),
        dilation=draw(st.tuples(st.integers(1, 2), st.integers(1, 2))),
        groups=groups,
        bias=draw(st.booleans()),
    )


@pytest.mark.parametrize("device", DEVICES, ids=lambda d: type(d).__name__)
@pytest.mark.parametrize("subtract", ["analog", "digital"])
@given(convolutions())
@settings(max_examples=20, deadline=None)
def test_a_convolution(device: Device, subtract: str, conv: nn.Conv2d) -> None:
    x = images(2, conv.in_channels, 7, 6)
    stack = Stack(device, Differential(rows=5, columns=6, subtract=subtract))  # type: ignore[arg-type]
    with torch.no_grad():
        expected = conv(x)
    assert_same(on_chip(conv, stack, x), expected)
    # Training on a sampled chip without effects is the digital layer as well.
    assert_same(analogize(conv, stack).train()(x).detach(), expected)


@pytest.mark.parametrize("lead", [(), (4,), (2, 3), (0,)])
def test_a_linear_of_any_leading_shape(lead: tuple[int, ...]) -> None:
    linear = nn.Linear(20, 6)
    x = images(*lead, 20)
    y = on_chip(linear, Stack(Ideal(), SMALL), x)
    assert y.shape == (*lead, 6)
    if x.numel():
        assert_same(y, linear(x).detach())


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("device", DEVICES, ids=lambda d: type(d).__name__)
@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1, "groups": 2}, {"dilation": 2, "bias": True}])
def test_a_modulated_convolution(strategy: KernelStrategy, device: Device, options: dict[str, int]) -> None:
    conv = ModulatedConv2d(strategy, 6, 4, 3, **options)  # type: ignore[arg-type]
    x = images(3, 6, 8, 8)
    expected = conv(x).detach()
    assert_same(on_chip(conv, Stack(device, SMALL), x), expected)
    assert_same(analogize(conv, Stack(device, SMALL))(x).detach(), expected)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("device", DEVICES, ids=lambda d: type(d).__name__)
def test_a_whole_vgg8_and_its_digital_mode(strategy: KernelStrategy, device: Device) -> None:
    network = VGG(strategy, (3, 8, 8), 10, depth=8, width=0.06).eval()
    x = images(4, 3, 8, 8)
    expected = network(x).detach()
    assert_same(on_chip(network, Stack(device, Differential()), x), expected)
    converted = analogize(network, Stack(device, Differential(), {"programming": Programming(), "dac": DAC()}))
    with running(converted, "digital"):
        assert_same(converted(x).detach(), expected)
    assert {layer.mode for layer in analog_layers(converted).values()} == {"analog"}


class OutputAndInput(KernelStrategy):
    """Output- and input-channel factors, none of them one."""

    banks = 2

    def build(self, spec: ConvSpec) -> Kernel:
        return _OutputAndInput(spec)


class _OutputAndInput(Kernel):
    def __init__(self, spec: ConvSpec) -> None:
        super().__init__(spec, 2)
        nn.init.normal_(self.weight)

    def modulate(self, x: Tensor) -> Modulation:
        mean = x.mean(dim=(2, 3))
        return Modulation(
            bank=torch.stack((mean[:, 0], -mean[:, 1]), dim=1),
            output=mean.sum(dim=1, keepdim=True) * torch.arange(1, self.spec.out_channels + 1),
            input=1 + mean,
        )


def test_factors_on_channels_are_realised_too() -> None:
    conv = ModulatedConv2d(OutputAndInput(), 3, 5, 3)
    x = images(4, 3, 6, 6)
    for device in DEVICES:
        assert_same(on_chip(conv, Stack(device, SMALL), x), conv(x).detach())
        assert_same(analogize(conv, Stack(device, SMALL))(x).detach(), conv(x).detach())


class Position(KernelStrategy):
    banks = 1

    def build(self, spec: ConvSpec) -> Kernel:
        return _Position(spec)


class _Position(Kernel):
    def __init__(self, spec: ConvSpec) -> None:
        super().__init__(spec, 1)
        nn.init.ones_(self.weight)

    def modulate(self, x: Tensor) -> Modulation:
        return Modulation(position=x.new_ones(len(x), *self.spec.kernel_size))


def test_a_factor_that_arrays_cannot_realise_is_refused() -> None:
    network = analogize(nn.Sequential(ModulatedConv2d(Position(), 2, 2, 3)), Stack(Ideal(), SMALL)).eval()
    with pytest.raises(SimulationError, match="layer '0': _Position modulates by 'position'"):
        network(images(1, 2, 4, 4))


# --- each effect at zero strength ---------------------------------------------------------------------------

NONE: dict[str, NonIdeality] = {
    "programming": Programming(strength=0),
    "read_noise": ReadNoise(strength=0),
    "drift": Drift(strength=0),
    "stuck_at": StuckAt(p_on=0, p_off=0),
}


@pytest.mark.parametrize("name", [*NONE, "all"])
@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda s: type(s).__name__)
def test_an_effect_of_zero_strength_changes_no_bit(name: str, strategy: KernelStrategy) -> None:
    conv = ModulatedConv2d(strategy, 6, 4, 3)
    x = images(3, 6, 8, 8)
    effects = NONE if name == "all" else {name: NONE[name]}
    plain = on_chip(conv, Stack(Adaptive2D(), SMALL), x)
    assert torch.equal(on_chip(conv, Stack(Adaptive2D(), SMALL, effects), x, seconds=1e6), plain)


def test_drift_at_time_zero_changes_no_bit() -> None:
    conv, x = nn.Conv2d(4, 5, 3), images(2, 4, 6, 6)
    stack = Stack(Adaptive2D(), SMALL, {"drift": Drift()})
    assert torch.equal(on_chip(conv, stack, x), on_chip(conv, Stack(Adaptive2D(), SMALL), x))
    assert not torch.equal(on_chip(conv, stack, x, seconds=1e5), on_chip(conv, stack, x))


def test_every_device_effect_is_none_on_an_ideal_device() -> None:
    conv, x = nn.Conv2d(4, 5, 3), images(2, 4, 6, 6)
    effects = {"programming": Programming(), "read_noise": ReadNoise(), "drift": Drift()}
    plain = on_chip(conv, Stack(Ideal(), SMALL), x)
    assert torch.equal(on_chip(conv, Stack(Ideal(), SMALL, effects), x, seconds=1e6), plain)


def test_a_gate_does_nothing_to_a_layer_without_gains() -> None:
    conv, x = nn.Conv2d(4, 5, 3), images(2, 4, 6, 6)
    stack = Stack(Adaptive2D(), SMALL, {"gate": Gate()})
    with pytest.warns(UserWarning, match="nonideality=\\[gate\\] has no effect"):
        y = on_chip(conv, stack, x)
    assert torch.equal(y, on_chip(conv, Stack(Adaptive2D(), SMALL), x))


def test_a_fine_gate_with_alike_complete_cells_is_exact() -> None:
    """Every weight of one size: each used cell has a complete filament, so its own gain is the nominal one."""
    device = Adaptive2D(d2d_beta=0, d2d_range=0, g_max=float(Adaptive2D().on_conductance(torch.tensor(2.0))) * 0.99999)
    conv = ModulatedConv2d(Heterosynaptic(banks=2), 4, 3, 3)
    nn.init.ones_(conv.kernel.weight)
    x = images(3, 4, 6, 6)
    y = on_chip(conv, Stack(device, SMALL, {"gate": Gate(bits=16, nodes=1)}), x)
    # The other cell of each pair stands at g_min, whose own gain is larger: an offset below g_min / g_max.
    torch.testing.assert_close(y, conv(x).detach(), rtol=2 * device.g_min / device.g_max, atol=0)


@pytest.mark.parametrize("mapping", [SMALL, Differential(rows=7, columns=8, subtract="digital"), Differential()])
def test_converters_approach_the_identity_as_bits_grow(mapping: Differential) -> None:
    conv, x = nn.Conv2d(4, 5, 3, padding=1), images(4, 4, 8, 8)
    expected = conv(x).detach()
    errors = []
    for bits in (4, 8, 12, 16):
        network = analogize(
            conv, Stack(Ideal(), mapping, {"dac": DAC(bits, percentile=100), "adc": ADC(bits, percentile=100)})
        )
        calibrate(network, [x])
        network.eval()
        program(network)
        errors.append(float((network(x).detach() - expected).abs().max() / expected.abs().max()))
    assert errors[-1] < 2e-4
    for coarse, fine in pairwise(errors):
        assert fine < coarse / 8  # 16 in theory


# --- parameters, checkpoints, copies --------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda s: type(s).__name__)
def test_state_dict_keeps_the_digital_keys_but_for_ranges(strategy: KernelStrategy) -> None:
    digital = VGG(strategy, (3, 4, 4), 3, width=0.02)
    analog = analogize(digital, Stack(Ideal(), SMALL, {"dac": DAC()}))
    before, after = digital.state_dict(), analog.state_dict()
    extra = [k for k in after if k not in before]
    assert list(before) == [k for k in after if k in before]
    assert {".".join(k.split(".")[-2:]) for k in extra} == {"ranges.input", "ranges.sum"}
    assert all(torch.equal(after[k], before[k]) for k in before)
    assert [n for n, _ in digital.named_parameters()] == [n for n, _ in analog.named_parameters()]


def test_checkpoints_interchange() -> None:
    digital, other = (VGG(Dynamic(banks=2), (3, 4, 4), 3, width=0.02) for _ in range(2))
    stack = Stack(Ideal(), SMALL, {"dac": DAC(16, percentile=100), "adc": ADC(16, percentile=100)})
    analog, x = analogize(digital, stack), images(4, 3, 4, 4)
    calibrate(analog, [x])
    other.load_state_dict({k: v for k, v in analog.state_dict().items() if ".ranges." not in k})
    torch.testing.assert_close(other.eval()(x), digital.eval()(x))

    saved = copy.deepcopy(analog.state_dict())
    again = analogize(VGG(Dynamic(banks=2), (3, 4, 4), 3, width=0.02), stack)
    again.load_state_dict(saved)
    assert all(layer.calibrated for layer in analog_layers(again).values())
    for network in (analog.eval(), again.eval()):
        program(network, 5)
    assert torch.equal(again(x), analog(x))

    # A digital checkpoint brings other weights: ranges of the old ones are no use.
    again.load_state_dict(other.state_dict())
    assert not any(layer.calibrated for layer in analog_layers(again).values())
    assert all(layer.chip is None for layer in analog_layers(again).values())


def test_analogize_leaves_its_argument_alone() -> None:
    digital = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2)).eval()
    kept = copy.deepcopy(digital.state_dict())
    analog = analogize(digital, Stack(Ideal(), SMALL))
    with torch.no_grad():
        for p in analog.parameters():
            p.zero_()
    assert [type(m) for m in digital] == [nn.Conv2d, nn.ReLU, nn.Flatten, nn.Linear]
    assert all(torch.equal(v, kept[k]) for k, v in digital.state_dict().items())


@pytest.mark.parametrize("training", [False, True])
def test_conversion_keeps_train_and_eval(training: bool) -> None:
    analog = analogize(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout()).train(training), Stack(Ideal(), SMALL))
    assert {m.training for m in analog.modules()} == {training}


def test_a_shared_layer_stands_on_one_set_of_arrays_under_all_its_names() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(3, 3)
            self.b = self.a
            self.inner = nn.Sequential(self.a, nn.ReLU())

    analog = analogize(Tied(), Stack(Ideal(), SMALL))
    assert isinstance(analog.a, AnalogLayer)
    assert analog.a is analog.b
    assert analog.inner[0] is analog.a  # type: ignore[index]
    assert list(analog_layers(analog)) == ["a"]


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.Bilinear(2, 2, 3), "'0': Bilinear is not simulated"),
        (nn.LSTM(2, 2), "'0': LSTM is not simulated"),
    ],
)
def test_a_layer_that_cannot_be_simulated_is_named(layer: nn.Module, message: str) -> None:
    with pytest.warns(UserWarning, match=message):
        analogize(nn.Sequential(layer), Stack(Ideal(), SMALL))


@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
def test_copies_run_on_the_same_chip_with_the_same_noise(how: str) -> None:
    effects = {"programming": Programming(), "read_noise": ReadNoise(), "dac": DAC(), "gate": Gate()}
    network = VGG(Heterosynaptic(banks=2), (3, 4, 4), 3, width=0.02).eval()
    network = analogize(network, Stack(Adaptive2D(), SMALL, effects))  # type: ignore[assignment]
    x = images(4, 3, 4, 4)
    calibrate(network, [x])
    program(network, 3, 10.0)
    other = copy.deepcopy(network) if how == "deepcopy" else pickle.loads(pickle.dumps(network))
    first = network(x)
    assert torch.equal(other(x), first)
    assert torch.equal(other(x), network(x))
    assert not torch.equal(network(x), first)
