"""Every kernel strategy on arrays: exact where the stack is ideal, in each plan; one batch of whole stacks."""

from __future__ import annotations

import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from memristor_plugins import registry
from memristor_plugins.api import analogize, calibrate, compose_stack, program
from memristor_plugins.build import build
from memristor_plugins.compose import compose
from memristor_plugins.crossbar.gating import split
from memristor_plugins.crossbar.layer import AnalogLayer
from memristor_plugins.crossbar.modulated import ModulatedConv2d
from memristor_plugins.crossbar.profile import profile
from memristor_plugins.devices.adaptive_2d import Adaptive2D
from memristor_plugins.errors import SimulationError
from memristor_plugins.interfaces.kernel import ConvSpec, Kernel, KernelStrategy, Modulation
from memristor_plugins.interfaces.nonideality import Context
from memristor_plugins.kernels.condconv import CondConv
from memristor_plugins.kernels.dynamic import Dynamic
from memristor_plugins.kernels.heterosynaptic import Heterosynaptic
from memristor_plugins.kernels.kernel_warehouse import KernelWarehouse
from memristor_plugins.kernels.odconv import ODConv
from memristor_plugins.kernels.squeeze_excite import SqueezeExcite
from memristor_plugins.kernels.static import Static
from memristor_plugins.kernels.weight_net import WeightNet
from memristor_plugins.nonidealities.dac import DAC

NAMES = registry.names("kernel")
EXACT = ["nonidealities.dac.bits=16", "nonidealities.dac.range=max", "nonidealities.adc.bits=16"]
EXACT += ["nonidealities.adc.range=max"]
# Smaller than the cells of a warehouse, which are 8 rows high.
CUT = ["nonideality=[dac,adc]", *EXACT, "mapping.rows=6", "mapping.columns=16"]
PLANS = {
    "collapsed": ["nonideality=[]"],
    "boundary": ["nonideality=[dac,adc]", *EXACT, "mapping.rows=256"],
    "tiled": CUT,
    "tiled, each current converted": [*CUT, "mapping.subtract=digital"],
    "tiled, offset": ["mapping=offset", *CUT],
}


def strategy(name: str, *options: str) -> KernelStrategy:
    made: KernelStrategy = build(compose("train", [f"kernel={name}", *options]).kernel, "kernel", "kernel")
    return made


def images(count: int = 6, channels: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    level = torch.rand(count, channels, 1, 1, generator=generator)
    return level * torch.rand(count, channels, 9, 8, generator=generator)


def network(made: KernelStrategy) -> nn.Sequential:
    """Two layers of a stage, annealed, with settled norms, in eval mode."""
    torch.manual_seed(0)
    kernel = made.for_network()
    net = nn.Sequential(
        ModulatedConv2d(kernel, 8, 16, 3, padding=1, stride=2, bias=True),
        nn.ReLU(),
        ModulatedConv2d(kernel, 16, 16, 3, padding=1),
    )
    for module in net.modules():
        if isinstance(module, Kernel):
            module.set_epoch(1000)
    for _ in range(30):
        net(images())
    return net.eval()


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("name", NAMES)
def test_ideal_arrays_compute_the_digital_network(name: str, plan: str) -> None:
    digital, x = network(strategy(name)), images()
    analog = analogize(digital, compose_stack(PLANS[plan])).eval()
    calibrate(analog, [x])
    program(analog)
    assert {layer.plan.kind for layer in analog if isinstance(layer, AnalogLayer)} == {plan.split(",")[0]}
    with torch.no_grad():
        error = (analog(x) - digital(x)).abs().max() / digital(x).abs().max()
    assert float(error) < (1e-5 if plan == "collapsed" else 2e-3)


@pytest.mark.filterwarnings("ignore:nonideality=.*gate.* has no effect")
@pytest.mark.parametrize("stack", ["headline", "adaptive_2d_basic"])
@pytest.mark.parametrize("name", NAMES)
def test_a_strategy_trains_and_evaluates_one_batch_on_a_whole_stack(name: str, stack: str) -> None:
    digital, x = network(strategy(name)), images()
    analog = analogize(digital, compose_stack([f"stack={stack}"]))
    calibrate(analog, [x])
    analog.train()(x).square().mean().backward()
    for parameter, value in analog.named_parameters():
        assert value.grad is not None, parameter
        assert bool(value.grad.isfinite().all()), parameter
    trained = [v.grad for n, v in analog.named_parameters() if n.endswith("weight") and "norm" not in n]
    assert all(float(g.abs().max()) > 0 for g in trained)  # type: ignore[union-attr]
    program(analog.eval(), 1, 3600.0)
    with torch.no_grad():
        y, expected = analog(x), digital(x)
        error = float((y - expected).std() / expected.std())
        assert 0.01 < error < 0.6
        assert not torch.equal(y[0], y[1])


SEVERAL = {"weight_net of two banks": WeightNet(4, 2), "a warehouse of twice the cells": KernelWarehouse(budget=2)}
SEVERAL |= {"gated attention": Dynamic(3, gate=True)}


@pytest.mark.parametrize("name", [*NAMES, *SEVERAL])
def test_training_gradients_are_the_digital_networks_where_nothing_errs(name: str) -> None:
    digital, x = network(SEVERAL[name] if name in SEVERAL else strategy(name)), images()
    analog = analogize(digital, compose_stack(["device=adaptive_2d"]))
    for module in analog.modules():
        module.training = isinstance(module, AnalogLayer)
    upstream = torch.randn(digital(x).shape, generator=torch.Generator().manual_seed(1))
    (digital(x) * upstream).sum().backward()
    (analog(x) * upstream).sum().backward()
    for (n, a), (_, b) in zip(analog.named_parameters(), digital.named_parameters(), strict=True):
        assert a.grad is not None
        assert b.grad is not None
        error = float((a.grad - b.grad).abs().max() / b.grad.abs().max().clamp_min(1e-6))
        assert error < 1e-3, n


def test_position_factors_go_through_the_converters_of_the_rows() -> None:
    """A coarse DAC rounds factor times input, row by row: against products computed one by one."""
    digital = network(ODConv(banks=2))
    stack = compose_stack(["nonideality=[dac]", "nonidealities.dac.bits=3", "nonidealities.dac.range=max"])
    layer = analogize(digital[0], stack).eval()
    assert isinstance(layer, AnalogLayer)
    x = images()
    calibrate(layer, [x])
    program(layer)
    with torch.no_grad():
        m = digital[0].kernel(x)
        padded = nn.functional.pad(x * m.input[:, :, None, None], (1, 1, 1, 1))
        rows = nn.functional.unfold(padded, 3, stride=2).unflatten(1, (8, 9)) * m.position.flatten(1)[:, None, :, None]
        assert float(layer.ranges.input[1]) == pytest.approx(float(rows.max()), rel=1e-6)
        full = layer.ranges.input
        driven = DAC(3, range="max").apply(rows, None, Context(stack.device, full_scale=full)).flatten(1, 2)
        kernels = torch.einsum("bk,koihw->boihw", m.bank, digital[0].kernel.weight).flatten(2)
        expected = torch.bmm(kernels, driven).view(6, 16, 5, 4) * m.output[:, :, None, None]
        expected = expected + digital[0].bias.view(1, -1, 1, 1)
        torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-5)
        # Rounding the input alone is something else.
        assert float((layer(x) - digital[0](x)).abs().max()) > 1e-3


class Joint(Kernel):
    """A kernel that gives what it is told to."""

    def __init__(self, spec: ConvSpec, factors: dict[str, Tensor], declared: frozenset[str]) -> None:
        super().__init__(spec, 2)
        nn.init.normal_(self.weight)
        self.given, self.factors = factors, declared

    def modulate(self, x: Tensor) -> Modulation:
        return Modulation(**self.given)


class Gives(KernelStrategy):
    """Builds `Joint`."""

    banks = 2

    def __init__(self, factors: dict[str, Tensor], declared: set[str]) -> None:
        self.given, self.declared = factors, frozenset(declared)

    def build(self, spec: ConvSpec) -> Kernel:
        return Joint(spec, self.given, self.declared)


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        (
            {"joint"},
            r"layer 'layer': Joint modulates by 'joint', which stationary arrays cannot realise; .*column",
        ),
        ({"drive", "bank"}, r"modulates by bank, drive together, which arrays are not simulated for"),
        ({"position", "column"}, r"modulates by column, position together"),
    ],
)
def test_what_arrays_cannot_realise_is_refused_with_what_they_can(factors: set[str], message: str) -> None:
    with pytest.raises(SimulationError, match=message):
        analogize(ModulatedConv2d(Gives({}, factors), 4, 4, 3), compose_stack([]))


def test_a_factor_that_was_not_declared_is_refused() -> None:
    conv = ModulatedConv2d(Gives({"position": torch.rand(2, 3, 3)}, {"bank"}), 4, 4, 3)
    layer = analogize(conv, compose_stack([])).eval()
    program(layer)
    with pytest.raises(SimulationError, match=r"Joint modulates by 'position', which is not in its `factors`"):
        layer(torch.rand(2, 4, 5, 5))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 6), st.floats(0.05, 1.0))
def test_gains_and_digital_factors_multiply_to_any_coefficients(seed: int, banks: int, gain_min: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    size = torch.exp(3 * torch.randn(20, banks, generator=generator, dtype=torch.float64))
    bank = size * torch.randn(20, banks, generator=generator, dtype=torch.float64).sign()
    bank[0, 0] = 0.0
    of = split(bank, gain_min)
    assert of.wanted is not None
    assert of.digital is not None
    assert of.shared is not None
    torch.testing.assert_close(of.wanted * of.digital, bank, rtol=1e-5, atol=1e-30)
    assert float(of.wanted.min()) >= gain_min - 1e-6
    assert float(of.wanted.max()) <= 1 + 1e-6
    reaches = (bank.abs().amin(dim=1) >= gain_min * bank.abs().amax(dim=1)) & (bank.sign() == bank[:, :1].sign()).all(1)
    assert torch.equal(of.shared[1:], reaches[1:])


@pytest.mark.parametrize("made", [Dynamic(3, gate=True), CondConv(3, gate=True), ODConv(3, gate=True)])
def test_any_bank_strategy_may_stand_under_the_gate(made: KernelStrategy) -> None:
    """Gate effects act on it; an ideal gate changes nothing."""
    digital, x = network(made), images()
    outputs = {}
    effects = ["", "gate", "gate,gate_noise,gate_crosstalk"]
    for chosen in effects:
        stack = compose_stack(["device=adaptive_2d", f"nonideality=[{chosen}]"])
        analog = analogize(digital, stack).eval()
        program(analog)
        with torch.no_grad():
            outputs[chosen] = analog(x)
        layer = analog[0]
        assert isinstance(layer, AnalogLayer)
        assert layer.plan.gate == "cells"
        p = profile(analog, [x], "test").layers[0]
        assert p.gate_updates == 3
        assert p.gate_cells == p.cells
    with torch.no_grad():
        torch.testing.assert_close(outputs[""], digital(x), rtol=1e-4, atol=1e-5)
    scale = float(outputs[""].std())
    for chosen in effects[1:]:
        assert 0.001 < float((outputs[chosen] - outputs[""]).std()) / scale < 0.5


def test_a_gate_is_charged_for_what_it_leaves_to_digital_arithmetic() -> None:
    """Images whose coefficients all reach: one multiplication an output. The others: one for every bank."""
    given = {"bank": torch.tensor([[0.5, 0.5], [0.9, 0.3], [0.9, 0.01], [0.2, -0.2]])}
    kernel = Gives(given, {"bank"})
    conv = ModulatedConv2d(kernel, 4, 6, 3)
    conv.kernel.gate = True
    analog = analogize(nn.Sequential(conv), compose_stack(["device=adaptive_2d"])).eval()
    program(analog)
    p = profile(analog, [torch.rand(4, 4, 6, 5)], "test").layers[0]
    outputs = 4 * 3 * 6
    assert p.outputs == outputs
    assert p.factor_multiplies == outputs * 2 / 4
    assert p.bank_multiplies == outputs * 2 * 2 / 4
    assert p.partial_sums == p.output_conversions - outputs - outputs * 2 / 4


def test_gate_of_a_device_without_one_is_told() -> None:
    with pytest.warns(UserWarning, match=r"kernel.gate=true has no effect on Ideal.*applied digitally"):
        analogize(ModulatedConv2d(Dynamic(2, gate=True), 4, 4, 3), compose_stack([]))


COUNTS: dict[str, tuple[KernelStrategy, tuple[float, float], tuple[int, int]]] = {
    # strategy, (factor, bank) multiplications, (cells, arrays) of a 3x3 layer of 8 to 16 channels: 72 pixels in, 20 out
    "static": (Static(), (0, 0), (72 * 16, 1)),
    "condconv": (CondConv(3), (0, 20 * 16 * 3), (3 * 72 * 16, 3)),
    "odconv": (ODConv(3), (72 * 8 + 20 * 72 + 20 * 16, 20 * 16 * 3), (3 * 72 * 16, 3)),
    "squeeze_excite": (SqueezeExcite(), (72 * 8, 0), (72 * 16, 1)),
    "weight_net": (WeightNet(4, 2), (20 * 16 * 2 * 2, 0), (2 * 72 * 16, 4)),
    "kernel_warehouse": (KernelWarehouse(), (0, 20 * 9 * 9 * 8), (9 * 8 * 16, 9)),
    "heterosynaptic": (Heterosynaptic(3), (0, 0), (3 * 72 * 16, 3)),
}


@pytest.mark.parametrize("name", COUNTS)
def test_digital_factors_cells_and_arrays_are_counted(name: str) -> None:
    made, (factors, banks), (weights, arrays) = COUNTS[name]
    torch.manual_seed(0)
    net = nn.Sequential(ModulatedConv2d(made.for_network(), 8, 16, 3, padding=1, stride=2)).eval()
    analog = analogize(net, compose_stack(["device=adaptive_2d"])).eval()
    program(analog)
    p = profile(analog, [images()], "test").layers[0]
    assert (p.factor_multiplies, p.bank_multiplies) == (factors, banks)
    assert (p.cells, p.arrays) == (2 * weights, arrays)
    assert p.outputs == 20 * 16
    # Every converted sum is added, but the first of each output.
    assert p.partial_sums + p.outputs == p.output_conversions - banks * (p.banks - 1) / p.banks
    assert p.macs == 20 * weights


@pytest.mark.parametrize("made", [ODConv(2), KernelWarehouse(), WeightNet()])
def test_power_is_that_of_what_the_rows_are_given(made: KernelStrategy) -> None:
    """v^2 G summed cell by cell from the layer's own drive."""
    digital, x = network(made), images()
    layer = analogize(digital[0], compose_stack(["device=adaptive_2d", "nonideality=[programming]"])).eval()
    assert isinstance(layer, AnalogLayer)
    program(layer)
    assert layer.chip is not None
    p = profile(layer, [x], "test").layers[0]
    with torch.no_grad():
        driven = layer.arrangement.drive(x, layer.kernel(x))  # type: ignore[misc]
        g = layer.geometry
        rows = nn.functional.unfold(driven, g.kernel_size, padding=g.padding, stride=g.stride)
        size = g.kernel_size[0] * g.kernel_size[1]
        rows = rows.unflatten(1, (g.groups, -1, size)).transpose(2, 3).flatten(2, 3)  # kernel position first
        cells = layer.chip.state.g.double().sum(dim=(0, 1, -1))  # [groups, rows]
        mapping, lines = layer.stack.mapping, layer.chip.state.g.shape[-1]
        empty = -lines * mapping.planes % mapping.columns  # bit lines without a weight: real cells at g_min
        cells = cells + layer.banks * empty * layer.stack.device.g_min
        v = rows.double() * layer.stack.device.read_voltage / float(driven.abs().max())
        expected = torch.einsum("bgrp,gr->", v.square(), cells) / len(x)
    assert p.v2g == pytest.approx(float(expected), rel=1e-4)


def test_devices_gate_range_is_what_splits() -> None:
    device = Adaptive2D()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer = analogize(ModulatedConv2d(Dynamic(2, gate=True), 4, 4, 1), compose_stack(["device=adaptive_2d"])).eval()
    seen = []
    layer.observer = lambda _, reading: seen.append(reading.bank)
    program(layer)
    layer.kernel.set_epoch(99)
    with torch.no_grad():
        layer.kernel.routing.expand.bias.copy_(torch.tensor([0.0, -8.0]))
        layer(torch.rand(3, 4, 2, 2))
    assert float(seen[0].gains.sum(dim=-1)[:, 1].max()) == pytest.approx(device.gain_min, rel=1e-4)
