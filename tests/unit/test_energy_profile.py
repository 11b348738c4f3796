"""Energy of real arrays: what is dissipated, what does not depend on inputs, and how each component scales."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from memristor_plugins.crossbar.convert import analogize, calibrate, program
from memristor_plugins.crossbar.geometry import Geometry
from memristor_plugins.crossbar.modulated import ModulatedConv2d
from memristor_plugins.crossbar.profile import profile, read_power, row_sums
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.devices.ideal import Ideal
from memristor_plugins.devices.soft_bounds import SoftBounds
from memristor_plugins.energy.components import BOUNDARIES, by_boundary
from memristor_plugins.energy.crossbar import Crossbar
from memristor_plugins.interfaces.device import Device
from memristor_plugins.interfaces.energy import WorkloadProfile
from memristor_plugins.kernels.dynamic import Dynamic
from memristor_plugins.mappings.differential import Differential
from memristor_plugins.nonidealities.adc import ADC
from memristor_plugins.nonidealities.dac import DAC
from memristor_plugins.nonidealities.programming import Programming


def images(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    padding=st.integers(0, 2),
    dilation=st.integers(1, 2),
    groups=st.integers(1, 2),
)
def test_power_is_v2_g_of_every_cell(
    seed: int, kernel: tuple[int, int], stride: tuple[int, int], padding: int, dilation: int, groups: int
) -> None:
    """Random conductances and voltages: every read's v^2 G summed cell by cell, through PyTorch's unfold."""
    geometry = Geometry(4, 6, kernel, stride, (padding, padding), (dilation, dilation), groups)
    generator = torch.Generator().manual_seed(seed)
    v = torch.randn(2, 4, 7, 8, generator=generator, dtype=torch.float64)
    cells = torch.rand(3, groups, geometry.rows, 5, generator=generator, dtype=torch.float64)
    power = read_power(row_sums(geometry, v.square()), cells.sum(dim=-1).unsqueeze(1))
    windows = nn.functional.unfold(v, kernel, dilation, padding, stride)
    # [batch, channel, place, pixel] -> rows with the kernel position first
    windows = windows.unflatten(1, (groups, 4 // groups, -1)).transpose(2, 3).flatten(2, 3)
    expected = torch.einsum("bgrp,kgrc->bk", windows.square(), cells)
    torch.testing.assert_close(power.squeeze(-1), expected, rtol=1e-12, atol=0)


def network(
    device: Device, *, rows: int = 16, adc: int = 6, share: int = 1, banks: int = 1, dac: int | None = 5
) -> tuple[nn.Module, Tensor]:
    """A calibrated convolution of 32 rows on arrays of `rows`, then a Linear."""
    torch.manual_seed(0)
    conv: nn.Module = nn.Conv2d(8, 6, 2) if banks == 1 else ModulatedConv2d(Dynamic(banks=banks), 8, 6, 2)
    digital = nn.Sequential(conv, nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(24, 3))
    effects: dict[str, Any] = {"programming": Programming(), "adc": ADC(adc, percentile=100, share=share)}
    if dac:
        effects["dac"] = DAC(dac, percentile=100)
    analog = analogize(digital.eval(), Stack(device, Differential(rows, 16), effects))
    x = images(4, 8, 5, 5)
    calibrate(analog, [x])
    program(analog)
    return analog, x


def work(device: Device, **how: Any) -> WorkloadProfile:
    analog, x = network(device, **how)
    return profile(analog, [x], "test")


TIGHT = Crossbar(leakage=0.0)


def test_array_energy_is_the_dissipated_power_times_the_read_time() -> None:
    """Ohm's law in every cell of a programmed layer, in float64, against the energy that the report states."""
    device = Ideal()
    analog, x = network(device, dac=None)
    layer: Any = analog[0]  # type: ignore[index]
    cells = layer.chip.state.g.double().sum(dim=(0, 1, 2, 4))
    volts = x.double() / float(layer.ranges.full_scale_input(x)) * device.read_voltage
    windows = nn.functional.unfold(volts, 2).unflatten(1, (8, 4)).transpose(1, 2).flatten(1, 2)
    joules = float(torch.einsum("brp,r->", windows.square(), cells)) / 4 * device.read_time
    report = TIGHT.estimate(profile(analog, [x[:1], x[1:]], "test"))
    stated = next(e.energy_j for e in report.entries if e.component == "array read")
    exact = layer.programmed.columns.readout.row_g.dtype == torch.float64
    assert stated == pytest.approx(joules, rel=1e-9 if exact else 1e-6)


def test_zero_input_costs_only_what_does_not_depend_on_inputs() -> None:
    analog, x = network(Ideal())
    lit, dark = (TIGHT.estimate(profile(analog, [images], "test")) for images in (x, torch.zeros_like(x)))
    before, after = lit.by_layer(), dark.by_layer()
    first = {e.component: e.energy_j for e in dark.entries if e.layer == "0"}
    assert first["array read"] == 0
    for a, b in zip(lit.entries, dark.entries, strict=True):
        assert (a.layer, a.component, a.latency_s, a.area_m2) == (b.layer, b.component, b.latency_s, b.area_m2)
        if a.component != "array read":
            assert a.energy_j == b.energy_j
    assert after["0"] < before["0"]
    assert profile(analog, [torch.zeros_like(x)], "test").layers[0].drive_v2 == 0


def changed(
    before: WorkloadProfile, after: WorkloadProfile, a: Crossbar = TIGHT, b: Crossbar = TIGHT
) -> dict[str, float]:
    """Factor of each component of the convolution that costs anything and changes."""
    old, new = (
        {e.component: e.energy_j for e in chip.estimate(w).entries if e.layer == "0"}
        for chip, w in ((a, before), (b, after))
    )
    factors = {name: new[name] / old[name] for name in old if old[name]}
    assert [name for name in new if not old[name] and new[name]] == []
    return {name: factor for name, factor in factors.items() if factor != pytest.approx(1, rel=1e-6)}


def test_twice_the_conductance_doubles_the_array_read_only() -> None:
    g = Ideal()
    twice = Ideal(g_min=2 * g.g_min, g_max=2 * g.g_max)
    assert changed(work(g), work(twice)) == {"array read": pytest.approx(2, rel=1e-6)}


def test_twice_the_read_voltage_costs_four_times_the_array_read_only() -> None:
    volts = Ideal().read_voltage
    assert changed(work(Ideal()), work(Ideal(read_voltage=2 * volts))) == {"array read": pytest.approx(4, rel=1e-6)}


def test_twice_the_bits_squares_the_levels_of_the_adc_only() -> None:
    assert changed(work(Ideal(), adc=4), work(Ideal(), adc=8)) == {"ADC": pytest.approx(16)}
    assert changed(work(Ideal(), dac=4), work(Ideal(), dac=8)).pop("DAC") == pytest.approx(16)


@pytest.mark.parametrize("rows", [4, 8, 16])
def test_twice_the_rows_halves_conversions_and_adds_less(rows: int) -> None:
    """32 rows: 32 / R sums of each output, of which all but one are added."""
    tiles = 32 // rows
    found = changed(work(Ideal(), rows=rows), work(Ideal(), rows=2 * rows))
    halved = {"ADC": pytest.approx(0.5), "sample and hold": pytest.approx(0.5)}
    assert found == halved | {"partial sums": pytest.approx((tiles / 2 - 1) / (tiles - 1))}


def test_sharing_converters_is_counted() -> None:
    own, shared = work(Ideal()).layers[0], work(Ideal(), share=3).layers[0]
    # Six outputs on two arrays of rows: twelve sums a read, by twelve converters or by four.
    assert (own.converted_lines, own.adcs, own.adc_share) == (12, 12, 1)
    assert (shared.converted_lines, shared.adcs, shared.adc_share) == (12, 4, 3)
    assert own.output_conversions == shared.output_conversions


def test_what_else_a_profile_counts() -> None:
    analog, x = network(Ideal(), banks=2)
    made = profile(analog, [x], "test")
    layer, linear = made.layers
    assert (layer.groups, layer.array_rows, layer.array_columns, layer.reads) == (1, 16, 16, 16)
    assert linear.reads == 1
    # Batch norm and ReLU look at 6 x 16 values, pooling at the same; a normalisation is two operations.
    assert (made.normalisation_ops, made.pooling_ops, made.digital_ops) == (192, 96, 384)
    assert layer.write_j is None
    analog, x = network(Ideal(), dac=None)
    first: Any = analog[0]  # type: ignore[index]
    volts = nn.functional.unfold(x, 2) / float(first.ranges.full_scale_input(x)) * Ideal().read_voltage
    assert profile(analog, [x], "test").layers[0].drive_v2 == pytest.approx(float(volts.square().mean()))
    assert made.ops == made.digital_ops + 2 * sum(p.digital_macs + p.routing_macs for p in made.layers)


def test_programming_costs_the_pulses_that_a_device_took() -> None:
    analog, x = network(SoftBounds())
    layer: Any = analog[0]  # type: ignore[index]
    made = profile(analog, [x], "test")
    assert made.layers[0].write_j == pytest.approx(float(layer.chip.state.energy_j.double().sum()))
    report = Crossbar(programming_interval=1.0, leakage=0.0).estimate(made)
    pulses = next(e.energy_j for e in report.entries if e.component == "programming")
    assert pulses == made.layers[0].write_j


def test_real_layers_add_up_to_the_last_bit_at_every_boundary() -> None:
    report = Crossbar().estimate(work(Ideal(), banks=2))
    assert sum(report.by_layer().values()) == report.total_j
    joules = by_boundary(report)
    assert list(joules) == list(BOUNDARIES)
    assert 0 < joules["array only"] < joules["array and converters"] < joules["full system"] == report.total_j
