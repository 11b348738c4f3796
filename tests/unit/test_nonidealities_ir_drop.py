"""Wires within a layer: physical arrays, their planes and padding, gates, noise, training."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from memristor_plugins.api import analogize, calibrate, compose_stack, program
from memristor_plugins.crossbar import effective_conductance
from memristor_plugins.crossbar.layer import AnalogLayer
from memristor_plugins.crossbar.modulated import ModulatedConv2d
from memristor_plugins.kernels.heterosynaptic import Heterosynaptic

OHM = {"r_word": 20.0, "r_bit": 5.0, "r_source": 100.0, "r_sink": 50.0}
SET = [f"nonidealities.ir_drop.{name}={ohm:g}" for name, ohm in OHM.items()]
SMALL = ["mapping.rows=16", "mapping.columns=7"]


def layer_on(module: nn.Module, *overrides: str) -> AnalogLayer:
    layer = analogize(module, compose_stack(["device=adaptive_2d", *SMALL, *overrides])).eval()
    assert isinstance(layer, AnalogLayer)
    return layer


def test_a_layer_reads_its_physical_arrays_by_hand() -> None:
    """20 rows on 16-row arrays, 5 outputs as pairs on 7 bit lines: three pairs an array and one bit line unused."""
    torch.manual_seed(0)
    linear = nn.Linear(20, 5, bias=False)
    layer = layer_on(linear, "nonideality=[programming,ir_drop]", *SET)
    program(layer, 2)
    assert layer.chip is not None
    g, low = layer.chip.state.g[:, 0, 0].double(), layer.stack.device.g_min
    x = torch.rand(3, 20)
    expected = torch.zeros(3, 5, dtype=torch.float64)
    for first in (0, 16):
        for pair in (0, 3):
            array = torch.full((16, 7), low, dtype=torch.float64)
            rows = min(16, 20 - first)
            for k in range(min(3, 5 - pair)):
                array[:rows, 2 * k] = g[0, first : first + rows, pair + k]
                array[:rows, 2 * k + 1] = g[1, first : first + rows, pair + k]
            v = torch.zeros(3, 16, dtype=torch.float64)
            v[:, :rows] = x[:, first : first + rows]
            current = v @ effective_conductance(array, **OHM)
            for k in range(min(3, 5 - pair)):
                expected[:, pair + k] += current[:, 2 * k] - current[:, 2 * k + 1]
    expected = expected * layer.chip.mapped.scale.squeeze().double()
    torch.testing.assert_close(layer(x).double(), expected, rtol=1e-4, atol=1e-6)
    # The wires matter here: without them a hundredth of the output is elsewhere.
    plain = layer_on(linear, "nonideality=[programming]")
    program(plain, 2)
    wired, free = layer(x).detach(), plain(x).detach()
    assert float((wired - free).norm() / free.norm()) > 0.01


def test_without_resistance_it_is_the_identity() -> None:
    torch.manual_seed(0)
    conv, x = nn.Conv2d(3, 4, 3), torch.rand(2, 3, 6, 6)
    none = [f"nonidealities.ir_drop.{name}=0" for name in OHM]
    layers = [layer_on(conv, "nonideality=[programming]"), layer_on(conv, "nonideality=[programming,ir_drop]", *none)]
    for layer in layers:
        program(layer, 1)
    assert torch.equal(layers[0](x), layers[1](x))


def test_reads_cost_nothing_and_the_plan_stays() -> None:
    layer = layer_on(nn.Conv2d(3, 4, 3), "nonideality=[programming,ir_drop]", *SET)
    assert layer.plan.kind == "collapsed"


@pytest.mark.parametrize(("nodes", "bound"), [(1, 0.2), (2, 0.02), (3, 2e-3), (4, 3e-4)])
def test_gated_banks_are_solved_at_several_gains_and_interpolated(nodes: int, bound: float) -> None:
    torch.manual_seed(0)
    module = ModulatedConv2d(Heterosynaptic(banks=2), 12, 6, 1)
    overrides = ["nonideality=[programming,gate,ir_drop]", "nonidealities.gate.bits=16", *SET]
    x = torch.rand(8, 12, 2, 2)
    outputs = []
    for count in (nodes, 8):
        layer = layer_on(module, *overrides, f"nonidealities.gate.nodes={count}")
        program(layer, 3)
        outputs.append(layer(x))
    error = (outputs[0] - outputs[1]).abs().max() / outputs[1].abs().max()
    assert float(error.detach()) < bound


@pytest.mark.parametrize("how", ["fast", "exact"])
def test_training_runs_on_wires_and_gradients_pass(how: str) -> None:
    torch.manual_seed(0)
    conv, x = nn.Conv2d(4, 6, 3), torch.rand(2, 4, 8, 8)
    effects = "nonideality=[programming,ir_drop,read_noise,dac,adc]"
    layer = layer_on(conv, effects, *SET, f"nonidealities.ir_drop.training={how}")
    calibrate(layer, [x])
    layer.train()
    layer(x).sum().backward()
    assert layer.weight.grad is not None
    assert float(layer.weight.grad.abs().sum()) > 0


def test_noise_is_attenuated_with_its_cell() -> None:
    """Against Monte Carlo over the cells of one array, solved exactly each time."""
    torch.manual_seed(0)
    layer = layer_on(nn.Linear(12, 3, bias=False), "nonideality=[ir_drop,read_noise]", *SET)
    program(layer, 0)
    assert layer.programmed is not None
    assert layer.chip is not None
    device = layer.stack.device
    x, g = torch.rand(12).double(), layer.chip.state.g[:, 0, 0].double()
    array = torch.full((16, 7), device.g_min, dtype=torch.float64)
    array[:12, :6] = g.permute(1, 2, 0).flatten(1)
    std = torch.zeros_like(array)
    std[:12, :6] = device.read_std(g, layer.chip.state, 0.0).double().permute(1, 2, 0).flatten(1)
    samples = array + std * torch.randn(4000, 16, 7, dtype=torch.float64)
    current = torch.nn.functional.pad(x, (0, 4)) @ effective_conductance(samples.clamp_min(0), **OHM)
    exact = (current[:, 0:6:2] - current[:, 1:6:2]).std(dim=0) * float(layer.chip.mapped.scale)
    variance = layer.read_out(layer.chip, 0.0).variance
    assert variance is not None
    stated = (x.square() @ variance[0, 0, 0, 0].double()).sqrt()
    # The deviation of 4,000 samples is right within 4.4 % (3.9 sigma); the neglected coupling stays below that.
    torch.testing.assert_close(stated, exact, rtol=0.06, atol=0)


def test_every_read_of_a_passive_array_is_a_circuit_of_its_own() -> None:
    """By hand: 20 rows on 8-row arrays, read three at a time; the others conduct a fifth at half the voltage."""
    torch.manual_seed(0)
    linear = nn.Linear(20, 3, bias=False)
    arrays = ["mapping.rows=8", "mapping.columns=7", "mapping.subtract=digital"]
    sneak = ["nonidealities.sneak.rows_per_read=3", "nonidealities.sneak.selectivity=5"]
    stack = ["nonideality=[programming,ir_drop,sneak,dac]", "nonidealities.dac.bits=16", *arrays, *sneak, *SET]
    layer, x = layer_on(linear, *stack), torch.rand(4, 20)
    calibrate(layer, [x])
    program(layer, 2)
    assert layer.chip is not None
    full = float(layer.ranges.known("input").abs().max())
    g, low = layer.chip.state.g[:, 0, 0].double(), layer.stack.device.g_min
    expected = torch.zeros(4, 3, dtype=torch.float64)
    for first in (0, 8, 16):
        rows = min(8, 20 - first)
        array = torch.full((8, 7), low, dtype=torch.float64)
        array[:rows, :6] = g[:, first : first + rows].permute(1, 2, 0).flatten(1)
        for start in range(0, rows, 3):
            some = slice(start, min(rows, start + 3))
            circuit, v = array / 5, torch.full((4, 8), 0.5 * full, dtype=torch.float64)
            circuit[some], v[:, some] = array[some], x[:, first + start : first + some.stop].double()
            # A last read of fewer rows still selects three word lines; those that hold no weight are not driven.
            spare = slice(some.stop, min(8, start + 3))
            circuit[spare], v[:, spare] = array[spare], 0.0
            current = v @ effective_conductance(circuit, **OHM)
            expected += current[:, 0:6:2] - current[:, 1:6:2]
    expected = expected * layer.chip.mapped.scale.squeeze().double()
    torch.testing.assert_close(layer(x).double(), expected, rtol=1e-4, atol=1e-4)


def test_padding_cells_leak_too() -> None:
    """One cell a weight: what 4 padding cells at g_min leak stays in every sum."""
    linear, x = nn.Linear(4, 3, bias=False), torch.rand(4, 4)
    effects = ["nonideality=[sneak,dac]", "nonidealities.dac.bits=16", "nonidealities.sneak.rows_per_read=4"]
    layer = layer_on(linear, "mapping=offset", "mapping.rows=8", *effects)
    calibrate(layer, [x])
    program(layer, 0)
    assert layer.chip is not None
    full, scale = float(layer.ranges.known("input").abs().max()), float(layer.chip.mapped.scale)
    leak = 4 * layer.stack.device.g_min * 0.5 / 10 * full * scale
    with torch.no_grad():
        torch.testing.assert_close(layer(x), linear(x) + leak, rtol=0, atol=1e-4)
