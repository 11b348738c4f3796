"""Energy of real arrays: what is dissipated, what does not depend on inputs, and how each component scales."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from memristor_plugins.crossbar.convert import analogize, calibrate, program
from memristor_plugins.crossbar.dissipation import read_power, row_sums, source_power
from memristor_plugins.crossbar.geometry import Geometry
from memristor_plugins.crossbar.layout import to_arrays
from memristor_plugins.crossbar.modulated import ModulatedConv2d
from memristor_plugins.crossbar.profile import profile
from memristor_plugins.crossbar.readout import read_out
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.devices.adaptive_2d import Adaptive2D
from memristor_plugins.devices.ideal import Ideal
from memristor_plugins.devices.soft_bounds import SoftBounds
from memristor_plugins.energy.components import BOUNDARIES, by_boundary
from memristor_plugins.energy.crossbar import Crossbar
from memristor_plugins.interfaces.device import Device
from memristor_plugins.interfaces.energy import WorkloadProfile
from memristor_plugins.interfaces.nonideality import Context, Site
from memristor_plugins.kernels.dynamic import Dynamic
from memristor_plugins.kernels.heterosynaptic import Heterosynaptic
from memristor_plugins.mappings.differential import Differential
from memristor_plugins.nonidealities.adc import ADC
from memristor_plugins.nonidealities.dac import DAC
from memristor_plugins.nonidealities.gate import Gate
from memristor_plugins.nonidealities.ir_drop import IRDrop
from memristor_plugins.nonidealities.iv import IV
from memristor_plugins.nonidealities.programming import Programming
from memristor_plugins.nonidealities.sneak import Sneak
from memristor_plugins.wires import source_admittance


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
    power = read_power(row_sums(geometry, v.square()).unsqueeze(0), cells.sum(dim=-1)[None, :, None])
    windows = nn.functional.unfold(v, kernel, dilation, padding, stride)
    # [batch, channel, place, pixel] -> rows with the kernel position first
    windows = windows.unflatten(1, (groups, 4 // groups, -1)).transpose(2, 3).flatten(2, 3)
    expected = torch.einsum("bgrp,kgrc->bk", windows.square(), cells)
    torch.testing.assert_close(power.squeeze(-1), expected, rtol=1e-12, atol=0)


def network(
    device: Device,
    *,
    rows: int = 16,
    adc: int = 6,
    share: int = 1,
    banks: int = 1,
    dac: int | None = 5,
    seed: int = 0,
) -> tuple[nn.Module, Tensor]:
    """A calibrated convolution of 32 rows on arrays of `rows`, then a Linear."""
    torch.manual_seed(seed)
    conv: nn.Module = nn.Conv2d(8, 6, 2) if banks == 1 else ModulatedConv2d(Dynamic(banks=banks), 8, 6, 2)
    digital = nn.Sequential(conv, nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(24, 3))
    effects: dict[str, Any] = {"programming": Programming(), "adc": ADC(adc, percentile=100, share=share)}
    if dac:
        effects["dac"] = DAC(dac, percentile=100)
    analog = analogize(digital.eval(), Stack(device, Differential(rows, 16), effects))
    x = images(4, 8, 5, 5, seed=seed)
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
    # Four of the sixteen bit lines hold no weight: real cells at g_min.
    cells = layer.chip.state.g.double().sum(dim=(0, 1, 2, 4)) + 4 * device.g_min
    volts = x.double() / float(layer.ranges.full_scale_input(x)) * device.read_voltage
    windows = nn.functional.unfold(volts, 2).unflatten(1, (8, 4)).transpose(1, 2).flatten(1, 2)
    joules = float(torch.einsum("brp,r->", windows.square(), cells)) / 4 * device.read_time
    report = TIGHT.estimate(profile(analog, [x[:1], x[1:]], "test"))
    stated = next(e.energy_j for e in report.entries if e.component == "array read")
    assert stated == pytest.approx(joules, rel=1e-6)  # voltages are float32 here; exact ones stand below


def test_zero_input_costs_only_what_does_not_depend_on_inputs() -> None:
    analog, x = network(Ideal())
    lit, dark = (TIGHT.estimate(profile(analog, [images], "test")) for images in (x, torch.zeros_like(x)))
    before, after = lit.by_layer(), dark.by_layer()
    first = {e.component: e.energy_j for e in dark.entries if e.layer == "0"}
    assert first["array read"] == first["word lines"] == 0
    for a, b in zip(lit.entries, dark.entries, strict=True):
        assert (a.layer, a.component, a.latency_s, a.area_m2) == (b.layer, b.component, b.latency_s, b.area_m2)
        if a.component not in ("array read", "word lines"):
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


def test_twice_the_read_voltage_costs_four_times_the_array_read_and_the_lines_charge_only() -> None:
    volts = Ideal().read_voltage
    four = pytest.approx(4, rel=1e-6)
    expected = {"array read": four, "word lines": four}
    assert changed(work(Ideal()), work(Ideal(read_voltage=2 * volts))) == expected
    pulses = Crossbar(leakage=0.0, inputs="pulse_width")
    assert changed(work(Ideal()), work(Ideal(read_voltage=2 * volts)), pulses, pulses) == expected


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


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    rows=st.sampled_from([4, 8, 16]),
    bits=st.integers(3, 7),
    factor=st.sampled_from([0.5, 2.0, 3.0]),
)
def test_every_component_follows_its_formula(seed: int, rows: int, bits: int, factor: float) -> None:
    """Any network: array rows, ADC bits, G_on (with G_off) and read voltage, each alone, change what they should."""
    one = Ideal()
    how = {"seed": seed, "rows": rows, "adc": bits}
    before = work(one, **how)
    stronger = Ideal(g_min=factor * one.g_min, g_max=factor * one.g_max)
    assert changed(before, work(stronger, **how)) == {"array read": pytest.approx(factor, rel=1e-6)}
    square = pytest.approx(factor**2, rel=1e-6)
    higher = Ideal(read_voltage=factor * one.read_voltage)
    assert changed(before, work(higher, **how)) == {"array read": square, "word lines": square}
    assert changed(before, work(one, **(how | {"adc": 2 * bits}))) == {"ADC": pytest.approx(2.0**bits)}
    tiles = 32 // rows
    found = changed(before, work(one, **(how | {"rows": 2 * rows})))
    halves = {"ADC": pytest.approx(0.5), "sample and hold": pytest.approx(0.5)}
    assert found == halves | {"partial sums": pytest.approx((tiles / 2 - 1) / (tiles - 1))}


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


def wired(*, dac: DAC | None = None, sneak: int | None = None, banks: int = 1) -> tuple[nn.Module, Tensor]:
    """A programmed float64 convolution of 32 rows on arrays of 16 with resistive wires."""
    torch.manual_seed(0)
    conv: nn.Module = nn.Conv2d(8, 6, 2) if banks == 1 else ModulatedConv2d(Heterosynaptic(banks=banks), 8, 6, 2)
    effects: dict[str, Any] = {"ir_drop": IRDrop(r_word=40, r_bit=60, r_source=100, r_sink=100)}
    if dac is not None:
        effects["dac"] = dac
    if banks > 1:
        effects["gate"] = Gate(bits=8, nodes=4)
    device = Adaptive2D() if banks > 1 else Ideal(g_max=1e-4)
    analog = analogize(nn.Sequential(conv).double(), Stack(device, Differential(16, 16), effects))
    x = images(3, 8, 5, 5).double()
    if dac is not None:
        calibrate(analog, [x])
    program(analog, power=True)
    return analog, x


def circuit_power(layer: Any, v: Tensor, g: Tensor) -> float:
    """Sum over images, reads and arrays of what the circuit's sources deliver, to cells [planes, groups, rows, lines].

    `source_admittance` itself is checked against every resistor's dissipation in tests/fidelity/test_wires_power.py.
    """
    wires = layer.stack.at(Site.WIRES)
    seen = source_admittance(
        to_arrays(g.double(), layer.stack.mapping, layer.stack.device.g_min),
        r_word=wires.r_word,
        r_bit=wires.r_bit,
        r_source=wires.r_source,
        r_sink=wires.r_sink,
    )[1]
    windows = nn.functional.unfold(v, 2).unflatten(1, (8, 4)).transpose(1, 2).flatten(1, 2)
    total = 0.0
    for tile in range(2):
        lines = windows[:, 16 * tile : 16 * tile + 16].transpose(1, 2).flatten(0, 1)
        for array in seen[0, tile]:
            total += float(torch.einsum("pi,ij,pj->", lines, array, lines))
    return total


def test_array_energy_with_wires_is_what_the_circuit_dissipates() -> None:
    analog, x = wired()
    layer: Any = analog[0]  # type: ignore[index]
    volts = x / float(x.abs().max()) * layer.stack.device.read_voltage
    expected = circuit_power(layer, volts, layer.chip.state.g[:, 0]) / 3
    made = profile(analog, [x], "test")
    assert made.layers[0].power_of == "sources"
    report = TIGHT.estimate(made)
    stated = next(e.energy_j for e in report.entries if e.component == "array read")
    assert stated == pytest.approx(expected * made.read_time, rel=1e-9)
    assert [s for s in report.assumptions if "dissipation of wires" in s]
    assert not [s for s in report.assumptions if "left out" in s]
    # Solved while it was programmed, or for the profile: the same.
    program(analog)
    assert profile(analog, [x], "test").layers[0].v2g == made.layers[0].v2g
    # Less than the same cells without wires dissipate, more than what reaches the converters.
    free, readout = layer.stack.keeping([]), layer.programmed.columns.readout
    power = row_sums(layer.geometry, volts.square()).sum(dim=0)
    cells = read_out(free, layer.chip, 0.0, nodes=None, full_scale=torch.zeros(2)).row_g[0, 0, 0]
    assert float((power * readout.row_g[0, 0, 0]).sum()) / 3 < made.layers[0].v2g < float((power * cells).sum()) / 3


def test_slices_are_driven_one_after_another_through_the_wires() -> None:
    analog, x = wired(dac=DAC(6, percentile=100, slice_bits=2))
    layer: Any = analog[0]  # type: ignore[index]
    dac, context = layer.stack.at(Site.INPUT), Context(layer.stack.device, full_scale=layer.ranges.known("input"))
    parts, _ = dac.slices(dac.apply(x, None, context), context)
    to_volts = layer.stack.device.read_voltage / layer.ranges.full_scale_input()
    expected = sum(circuit_power(layer, part * to_volts, layer.chip.state.g[:, 0]) for part in parts) / 3
    assert len(parts) == 3
    assert profile(analog, [x], "test").layers[0].v2g == pytest.approx(expected, rel=1e-9)


def test_gained_cells_behind_wires_are_weighed_by_their_gates() -> None:
    analog, x = wired(banks=2)
    layer: Any = analog[0]  # type: ignore[index]
    volts = x / float(x.abs().max()) * layer.stack.device.read_voltage
    bank = layer.kernel.modulate(x).bank.detach()
    gains = layer.stack.at(Site.GATE).apply(bank, None, Context(layer.stack.device))
    expected = 0.0
    for image in range(3):
        gate = layer.stack.device.gate_voltage(gains[image]).float().view(-1, 1, 1, 1)
        cells = layer.chip.state.g * layer.stack.device.gain(layer.chip.state, gate)
        expected += sum(circuit_power(layer, volts[image : image + 1], cells[:, k]) for k in range(2)) / 3
    # Four gate voltages are interpolated between.
    assert profile(analog, [x], "test").layers[0].v2g == pytest.approx(expected, rel=1e-4)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), at_once=st.sampled_from([3, 5, 8]), groups=st.integers(1, 2), pad=st.integers(0, 1))
def test_source_power_adds_every_read_up(seed: int, at_once: int, groups: int, pad: int) -> None:
    """Rows of one array that are driven in turn are other reads."""
    geometry = Geometry(4, 6, (2, 3), (2, 1), (pad, pad), (1, 1), groups)
    generator = torch.Generator().manual_seed(seed)
    v = torch.randn(2, 4, 5, 6, generator=generator, dtype=torch.float64)
    tall = -(-geometry.rows // 8)
    root = torch.randn(3, 2, groups, tall, 8, 8, generator=generator, dtype=torch.float64)
    admittance = root @ root.mT
    windows = nn.functional.unfold(v, (2, 3), 1, pad, (2, 1)).unflatten(1, (groups, 4 // groups, -1))
    windows = windows.transpose(2, 3).flatten(2, 3)
    expected = torch.zeros(2, 3, 2, dtype=torch.float64)
    for tile in range(tall):
        for first in range(0, 8, at_once):
            lines = torch.zeros(2, groups, 8, windows.shape[-1], dtype=torch.float64)
            last = min(geometry.rows - 8 * tile, first + at_once, 8)
            if first < last:
                lines[:, :, first:last] = windows[:, :, 8 * tile + first : 8 * tile + last]
            expected += torch.einsum("bgip,kngij,bgjp->bkn", lines, admittance[:, :, :, tile], lines)
    torch.testing.assert_close(source_power(geometry, [v], admittance, 8, at_once), expected, rtol=1e-9, atol=0)


def test_pulses_charge_lines_and_cells_for_as_long_as_the_input_says() -> None:
    device = Ideal()
    analog, x = network(device)
    made = profile(analog, [x], "test")
    layer, inner = made.layers[0], analog[0]  # type: ignore[index]
    dac: Any = inner.stack.at(Site.INPUT)
    codes = dac.apply(x, None, Context(device, full_scale=inner.ranges.known("input"))).double()
    share = nn.functional.unfold(codes / float(inner.ranges.known("input").max()), 2)
    share = share.unflatten(1, (8, 4)).transpose(1, 2).flatten(1, 2)
    cells = inner.chip.state.g.double().sum(dim=(0, 1, 2, 4)) + 4 * device.g_min
    # 31 steps of 2 ns is the longest of 5 bits.
    energy = float(torch.einsum("brp,r->", share, cells)) / 4 * device.read_voltage**2 * 62e-9
    report = Crossbar(leakage=0.0, inputs="pulse_width", pulse_step=2e-9).estimate(made)
    found = {e.component: e for e in report.entries if e.layer == "0"}
    assert found["array read"].energy_j == pytest.approx(energy, rel=1e-6)
    assert found["array read"].latency_s == pytest.approx(layer.reads * 62e-9)
    assert found["DAC"].energy_j == pytest.approx(layer.input_conversions * 40e-15)
    driven = float((share > 0).double().mean()) * layer.input_conversions
    assert found["word lines"].energy_j == pytest.approx(driven * 16 * 1e-15 * device.read_voltage**2, rel=1e-6)
    assert [s for s in report.assumptions if "pulse widths, 62 ns a read" in s]
    bits = torch.stack([(codes / codes.max() * 31).round().long() >> bit & 1 for bit in range(5)])
    assert layer.bit_activity == pytest.approx(float(bits.double().mean()))


def test_cells_that_are_not_ohmic_dissipate_their_own_current() -> None:
    law = IV(model="polynomial", c3=20.0)
    digital = nn.Sequential(nn.Conv2d(8, 6, 2))
    effects: dict[str, Any] = {"dac": DAC(6, percentile=100), "iv": law}
    analog = analogize(digital, Stack(Ideal(), Differential(16, 16), effects))
    x = images(4, 8, 5, 5)
    calibrate(analog, [x])
    program(analog)
    layer: Any = analog[0]  # type: ignore[index]
    context = Context(Ideal(), full_scale=layer.ranges.known("input"))
    volts = layer.stack.at(Site.INPUT).apply(x, None, context).double() / layer.ranges.full_scale_input()
    volts = volts * Ideal().read_voltage
    top = Ideal().read_voltage
    power = volts * volts * (1 + 20 * volts**2) / (1 + 20 * top**2)
    windows = nn.functional.unfold(power, 2).unflatten(1, (8, 4)).transpose(1, 2).flatten(1, 2)
    cells = layer.chip.state.g.double().sum(dim=(0, 1, 2, 4)) + 4 * Ideal().g_min
    expected = float(torch.einsum("brp,r->", windows, cells)) / 4
    assert profile(analog, [x], "test").layers[0].v2g == pytest.approx(expected, rel=1e-6)


def test_lines_that_are_not_selected_leak_whatever_the_input_is() -> None:
    effects: dict[str, Any] = {"dac": DAC(6, percentile=100), "sneak": Sneak(rows_per_read=5)}
    analog = analogize(nn.Sequential(nn.Conv2d(8, 6, 2)), Stack(Ideal(), Differential(16, 16), effects))
    x = images(4, 8, 5, 5)
    calibrate(analog, [x])
    program(analog)
    lit, dark = (profile(analog, [v], "test").layers[0] for v in (x, torch.zeros_like(x)))
    layer: Any = analog[0]  # type: ignore[index]
    cells = float(layer.chip.state.g.double().sum()) + 4 * 32 * Ideal().g_min
    # Four selections of 16 rows: each row waits for three, at half the voltage and a tenth of half the current.
    assert lit.idle_w == dark.idle_w == pytest.approx(16 * 3 * cells * Ideal().read_voltage ** 2 * 0.5 * 0.5 / 10)
    joules = {e.component: e.energy_j for e in TIGHT.estimate(profile(analog, [x], "test")).entries}
    assert joules["idle lines"] == pytest.approx(lit.idle_w * Ideal().read_time)
