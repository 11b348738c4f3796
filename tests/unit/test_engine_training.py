"""A training step: a fresh chip, straight-through gradients, no global randomness."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from memristor_plugins.crossbar.convert import analogize, calibrate, program
from memristor_plugins.crossbar.layer import AnalogLayer
from memristor_plugins.crossbar.modulated import ModulatedConv2d
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.devices.adaptive_2d import Adaptive2D
from memristor_plugins.devices.ideal import Ideal
from memristor_plugins.interfaces.kernel import KernelStrategy
from memristor_plugins.interfaces.nonideality import NonIdeality
from memristor_plugins.kernels.dynamic import Dynamic
from memristor_plugins.kernels.heterosynaptic import Heterosynaptic
from memristor_plugins.mappings.differential import Differential
from memristor_plugins.nonidealities.adc import ADC
from memristor_plugins.nonidealities.dac import DAC
from memristor_plugins.nonidealities.gate import Gate
from memristor_plugins.nonidealities.programming import Programming
from memristor_plugins.nonidealities.read_noise import ReadNoise
from memristor_plugins.nonidealities.stuck_at import StuckAt

LINEAR: dict[str, NonIdeality] = {
    "programming": Programming(),
    "stuck_at": StuckAt(0.05, 0.05),
    "read_noise": ReadNoise(),
}
EVERY = LINEAR | {"dac": DAC(6, percentile=100), "adc": ADC(6, percentile=100), "gate": Gate(6)}


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def layer_of(module: nn.Module, effects: dict[str, NonIdeality], x: Tensor, mapping: Differential) -> AnalogLayer:
    layer = analogize(module, Stack(Adaptive2D(), mapping, effects)).train()
    assert isinstance(layer, AnalogLayer)
    if "adc" in effects:
        calibrate(layer, [x])
    return layer


def gradients(layer: nn.Module, x: Tensor, upstream: Tensor) -> dict[str, Tensor]:
    layer.zero_grad()
    (layer(x) * upstream).sum().backward()
    return {n: p.grad.clone() for n, p in layer.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("subtract", ["analog", "digital"])
@pytest.mark.parametrize("strategy", [None, Dynamic(banks=2), Heterosynaptic(banks=2)])
def test_gradient_of_the_weights_is_that_of_the_clean_layer(subtract: str, strategy: KernelStrategy | None) -> None:
    torch.manual_seed(0)
    digital: nn.Module = nn.Conv2d(6, 4, 3, groups=2)
    if strategy is not None:
        digital = ModulatedConv2d(strategy, 6, 4, 3, groups=2, bias=True)
    x, upstream = numbers(3, 6, 6, 6), numbers(3, 4, 4, 4, seed=1) - 0.5
    layer = layer_of(digital, LINEAR, x, Differential(8, subtract=subtract))  # type: ignore[arg-type]
    clean, noisy = gradients(digital, x, upstream), gradients(layer, x, upstream)
    name = "weight" if strategy is None else "kernel.weight"
    torch.testing.assert_close(noisy[name], clean[name], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(noisy["bias"], clean["bias"])
    assert clean.keys() == noisy.keys()
    if strategy is not None:
        # The routing sees the errors of this chip, so its gradient is another one; but it has one.
        routed = [n for n in noisy if "expand" in n]
        assert all(float(noisy[n].abs().max()) > 0 for n in routed)


def test_gradient_of_the_input_passes_through_the_noisy_weights() -> None:
    digital = nn.Linear(10, 5)
    layer = layer_of(digital, {"programming": Programming()}, numbers(1, 10), Differential())
    x = numbers(4, 10).requires_grad_()
    y = layer(x)
    (grad,) = torch.autograd.grad(y.sum(), x)
    with torch.no_grad():
        noisy = torch.stack([layer(row) for row in torch.eye(10)]) - digital.bias
    torch.testing.assert_close(grad, noisy.sum(dim=1).expand(4, 10), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(noisy.T, digital.weight, atol=1e-3)


@pytest.mark.parametrize("name", list(LINEAR))
def test_each_step_is_fresh_and_reproducible(name: str) -> None:
    x = numbers(2, 6, 5, 5)
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(6, 4, 3), nn.Conv2d(4, 6, 1), nn.Conv2d(6, 4, 1))
    network = analogize(module, Stack(Adaptive2D(), Differential(), {name: LINEAR[name]})).train()
    layer = network[0]  # type: ignore[index]

    def run(seed: int, step: int, rank: int) -> Tensor:
        layer.seed, layer.step, layer.rank = seed, step, rank
        y: Tensor = layer(x).detach()
        return y

    keys = [(0, 0, 0), (0, 1, 0), (0, 0, 1), (0, 10, 0), (1, 0, 0), (1, 1, 1)]
    outputs = [run(*key) for key in keys]
    assert len({float(y.sum()) for y in outputs}) == len(keys)
    torch.manual_seed(123)
    assert all(torch.equal(run(*key), y) for key, y in zip(reversed(keys), reversed(outputs), strict=True))


def test_layers_of_one_shape_draw_apart() -> None:
    digital = nn.Linear(30, 30, bias=False)
    twins = analogize(
        nn.ModuleList([digital, nn.Linear(30, 30, bias=False)]), Stack(Adaptive2D(), Differential(), LINEAR)
    )
    twins[1].load_state_dict(twins[0].state_dict())  # type: ignore[index]
    x = numbers(5, 30)
    assert not torch.allclose(twins[0](x), twins[1](x), atol=1e-3)  # type: ignore[index]


def test_no_global_generator_is_touched() -> None:
    x = numbers(4, 6, 6, 6)
    layer = layer_of(ModulatedConv2d(Heterosynaptic(banks=2), 6, 4, 3), EVERY, x, Differential(16))
    before = torch.random.get_rng_state()
    calibrate(layer, [x])
    layer.train()
    layer(x).sum().backward()
    layer.eval()
    program(layer, 3, 60.0)
    layer(x)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("subtract", ["analog", "digital"])
@pytest.mark.parametrize("rows", [6, 100])
def test_converters_err_as_much_in_training_as_on_the_arrays(subtract: str, rows: int) -> None:
    torch.manual_seed(0)
    digital, x = nn.Conv2d(8, 16, 3), numbers(16, 8, 8, 8)
    stack = Stack(Ideal(), Differential(rows, subtract=subtract), {"adc": ADC(7, percentile=100)})  # type: ignore[arg-type]
    layer = analogize(digital, stack)
    calibrate(layer, [x])
    with torch.no_grad():
        clean = digital(x)
        layer.eval()
        program(layer)
        arrays = (layer(x) - clean).std()
        step = (layer.train()(x) - clean).std()
    assert float(step / arrays) == pytest.approx(1, abs=1e-6)


def test_a_pair_with_two_converters_is_calibrated_by_its_first_batch() -> None:
    stack = Stack(Ideal(), Differential(subtract="digital"), {"adc": ADC()})
    network = analogize(nn.Sequential(nn.Linear(4, 3)), stack)
    with pytest.warns(UserWarning, match=r"layer '0': .* call calibrate\(module, batches\)"):
        network(numbers(2, 4))
    network(numbers(2, 4))


@pytest.mark.parametrize("subtract", ["analog", "digital"])
def test_read_noise_of_a_step_has_the_variance_of_its_chip(subtract: str) -> None:
    """One multiply of each of 1e5 pixels, by hand: sum of x^2 sigma^2 over both cells of every pair, times gain^2."""
    device = Adaptive2D()
    effects: dict[str, NonIdeality] = {"read_noise": ReadNoise(strength=3)}
    layer = layer_of(
        ModulatedConv2d(Heterosynaptic(banks=1), 4, 2, 1),
        effects,
        torch.empty(0),
        Differential(subtract=subtract),  # type: ignore[arg-type]
    )
    x = numbers(1, 4, 1, 1).expand(1, 4, 250, 400)
    with torch.no_grad():
        y = layer(x)[0].flatten(1)
        assert layer.kernel is not None
        gain = layer.kernel.modulate(x).bank
        clean = layer.kernel.weight[0, :, :, 0, 0] @ x[0, :, 0, 0]
    assert gain is not None
    mapped = stack_pair(layer, device)
    std = 3 * device.read_std(mapped[0], layer_state(layer, device), 0.0) * mapped[1]
    expected = gain.item() ** 2 * (x[0, :, 0, 0, None].square() * std.square().sum(dim=0)).sum(dim=0)
    n = y.shape[1]
    assert ((y.var(dim=1) / expected - 1).abs() < 4.5 * math.sqrt(2 / n)).all()
    assert ((y.mean(dim=1) - gain.item() * clean).abs() < 4.5 * (expected / n).sqrt()).all()
    assert abs(float(torch.corrcoef(y)[0, 1])) < 4.5 / math.sqrt(n)


def stack_pair(layer: AnalogLayer, device: Adaptive2D) -> tuple[Tensor, float]:
    """Conductances [plane, rows, cols] by hand, and weight units per siemens."""
    assert layer.kernel is not None
    w = layer.kernel.weight.detach()[0, :, :, 0, 0].T
    span, top = device.g_max - device.g_min, float(w.abs().max())
    return device.g_min + span * torch.stack((w.clamp_min(0), (-w).clamp_min(0))) / top, top / span


def layer_state(layer: AnalogLayer, device: Adaptive2D):  # type: ignore[no-untyped-def]
    g, _ = stack_pair(layer, device)
    return device.hold(g, generator=torch.Generator().manual_seed(0))


def test_training_uses_what_acts_in_training_and_evaluation_everything() -> None:
    digital, x = nn.Linear(20, 5), numbers(3, 20)
    layer = layer_of(digital, {"programming": Programming()}, x, Differential())
    layer.train_stack = layer.stack.keeping([])
    assert torch.equal(layer(x), digital(x)) or torch.allclose(layer(x), F.linear(x, digital.weight, digital.bias))
    layer.eval()
    program(layer)
    assert not torch.allclose(layer(x), digital(x), atol=1e-3)
