"""Every mapping under the whole engine: plans, converters, wires, gates, training, compensation, cost."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from memristor_plugins.api import (
    ModulatedConv2d,
    SimulationError,
    analogize,
    calibrate,
    compensate,
    compose_stack,
    program,
)
from memristor_plugins.crossbar.profile import profile
from memristor_plugins.energy.crossbar import Crossbar
from memristor_plugins.kernels.heterosynaptic import Heterosynaptic

SIZE = ["mapping.rows=16", "mapping.columns=24"]
# Those with a digital reference, or none, run under every plan; unit columns where an ADC converts each array's sums.
ANYWHERE = {
    "one-sided": ["mapping=differential"],
    "two-sided": ["mapping=differential", "mapping.sides=two", "mapping.scaling=array"],
    "pairs converted": ["mapping=differential", "mapping.subtract=digital", "mapping.scaling=column"],
    "offset": ["mapping=offset", "mapping.scaling=column"],
    "sliced": ["mapping=bit_sliced", "mapping.slices=5", "mapping.bits=4"],
    "sliced pairs converted": ["mapping=bit_sliced", "mapping.slices=5", "mapping.bits=4", "mapping.subtract=digital"],
    "sliced offset": ["mapping=bit_sliced", "mapping.slices=10", "mapping.bits=2", "mapping.base=offset"],
}
UNIT = {
    "unit column": ["mapping=offset", "mapping.reference=column", "mapping.scaling=array"],
    "sliced unit column": [
        "mapping=bit_sliced", "mapping.slices=5", "mapping.bits=4", "mapping.base=offset", "mapping.reference=column",
    ],
}  # fmt: skip
ALL = ANYWHERE | UNIT
FULL = "programming,read_noise,drift,stuck_at,ir_drop,dac,adc"


def network() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(4, 10, 3, padding=1), nn.ReLU(), nn.Conv2d(10, 6, 3, groups=2), nn.Flatten(), nn.Linear(96, 7)
    )
    return layers, torch.rand(5, 4, 6, 6)


def on(name: str, *overrides: str) -> tuple[nn.Module, nn.Module, torch.Tensor]:
    digital, x = network()
    analog = analogize(digital, compose_stack([*ALL[name], *SIZE, *overrides])).eval()
    calibrate(analog, [x])
    program(analog)
    return digital, analog, x


@pytest.mark.parametrize("name", ANYWHERE)
@pytest.mark.parametrize("effects", ["", "ir_drop"])
def test_ideal_cells_compute_the_digital_layer(name: str, effects: str) -> None:
    wires = [f"nonidealities.ir_drop.{r}=0" for r in ("r_word", "r_bit", "r_source", "r_sink")] if effects else []
    digital, analog, x = on(name, "device=ideal", f"nonideality=[{effects}]", *wires)
    with torch.no_grad():
        torch.testing.assert_close(analog(x), digital(x), rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("device", ["ideal", "adaptive_2d"])
def test_fine_converters_compute_the_digital_layer(name: str, device: str) -> None:
    fine = [f"nonidealities.{c}.{o}" for c in ("dac", "adc") for o in ("bits=16", "range=max")]
    digital, analog, x = on(name, f"device={device}", "nonideality=[dac,adc]", *fine)
    with torch.no_grad():
        wanted = digital(x)
        assert float((analog(x) - wanted).abs().max()) < 2e-3 * float(wanted.abs().max())


@pytest.mark.parametrize("name", UNIT)
def test_unit_columns_need_a_converter_for_each_array(name: str) -> None:
    with pytest.raises(SimulationError, match="reference=digital"):
        on(name, "device=ideal", "nonideality=[]")


@pytest.mark.parametrize("name", ALL)
def test_the_whole_stack_runs_trains_and_costs(name: str) -> None:
    digital, analog, x = on(name, "device=adaptive_2d", f"nonideality=[{FULL}]")
    with torch.no_grad():
        wanted = digital(x)
        near = float((analog(x) - wanted).norm() / wanted.norm())
    assert near < 0.8
    report = Crossbar().estimate(profile(analog, [x], "test"))
    assert report.total_j > 0
    program(analog, 0, 86400.0)
    compensate(analog, "column")
    with torch.no_grad():
        assert bool(analog(x).isfinite().all())
    analog.train()
    analog(x).square().sum().backward()
    for parameter in analog.parameters():
        assert parameter.grad is not None
        assert bool(parameter.grad.isfinite().all())
    assert float(analog[0].weight.grad.abs().sum()) > 0  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ALL)
def test_gates_scale_banks_on_every_mapping(name: str) -> None:
    torch.manual_seed(0)
    layer, x = ModulatedConv2d(Heterosynaptic(banks=3), 4, 5, 3, padding=1), torch.rand(6, 4, 8, 8)
    fine = [f"nonidealities.{c}.{o}" for c in ("dac", "adc") for o in ("bits=16", "range=max")]
    stack = compose_stack([*ALL[name], *SIZE, "device=adaptive_2d", "nonideality=[dac,adc]", *fine])
    analog = analogize(layer, stack).eval()
    calibrate(analog, [x])
    program(analog)
    with torch.no_grad():
        wanted = layer(x)
        assert float((analog(x) - wanted).abs().max()) < 5e-3 * float(wanted.abs().max())


def test_cost_counts_the_cells_and_conversions_of_each() -> None:
    """Same layer, same stack: planes and groups multiply cells and conversions."""
    found = {}
    for name in ("one-sided", "pairs converted", "offset", "unit column", "sliced"):
        _, analog, x = on(name, "device=ideal", "nonideality=[dac,adc]")
        found[name] = profile(analog, [x], "test").layers[0]
    # 36 x 10 weights at 36 positions on 16 x 24 arrays: three tiles of rows.
    sums = 36 * 3
    assert {name: layer.output_conversions for name, layer in found.items()} == {
        "one-sided": sums * 10,
        "pairs converted": sums * 20,
        "offset": sums * 10,
        "unit column": sums * 11,
        "sliced": sums * 50,
    }
    assert {name: layer.cells / 360 for name, layer in found.items()} == {
        "one-sided": 2, "pairs converted": 2, "offset": 1, "unit column": 1, "sliced": 10,
    }  # fmt: skip
    # 12, 12, 24, 23 and 2 outputs side by side on an array.
    assert {name: layer.arrays for name, layer in found.items()} == {
        "one-sided": 3, "pairs converted": 3, "offset": 3, "unit column": 3, "sliced": 15,
    }  # fmt: skip
    # Word lines are driven on every array.
    assert found["sliced"].input_conversions == 5 * found["offset"].input_conversions == 5 * 36 * 36


def test_bit_serial_inputs_cost_a_conversion_a_slice() -> None:
    layers = {}
    for bits in ("null", "2"):
        _, analog, x = on("one-sided", "device=ideal", "nonideality=[dac,adc]", f"nonidealities.dac.slice_bits={bits}")
        layers[bits] = profile(analog, [x], "test").layers[0]
    assert layers["2"].output_conversions == 4 * layers["null"].output_conversions
    assert layers["2"].input_conversions == 4 * layers["null"].input_conversions
    assert (layers["null"].input_bits, layers["2"].input_bits) == (8, 2)
    # Each slice spans the whole read voltage.
    assert layers["2"].v2g > layers["null"].v2g
