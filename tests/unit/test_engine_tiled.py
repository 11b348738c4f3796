"""Arrays with converters of their own, against unfolded inputs cut by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from memristor_plugins.crossbar import sums
from memristor_plugins.crossbar.convert import analogize, calibrate, explain, program
from memristor_plugins.crossbar.geometry import Geometry
from memristor_plugins.crossbar.layer import AnalogLayer
from memristor_plugins.crossbar.layout import reads
from memristor_plugins.crossbar.modulated import ModulatedConv2d
from memristor_plugins.crossbar.noise import NormalSource
from memristor_plugins.crossbar.readout import Readout
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.devices.adaptive_2d import Adaptive2D
from memristor_plugins.devices.ideal import Ideal
from memristor_plugins.kernels.dynamic import Dynamic
from memristor_plugins.kernels.heterosynaptic import Heterosynaptic
from memristor_plugins.mappings.differential import Differential
from memristor_plugins.nonidealities.adc import ADC
from memristor_plugins.nonidealities.dac import DAC
from memristor_plugins.nonidealities.programming import Programming


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def unfolded(x: Tensor, g: Geometry) -> Tensor:
    """[batch, groups, rows, pixels], kernel position first."""
    u = F.unfold(x, g.kernel_size, g.dilation, g.padding, g.stride)
    u = u.view(x.shape[0], g.groups, g.in_channels // g.groups, -1, u.shape[-1])
    return u.transpose(2, 3).flatten(2, 3)


@dataclass(frozen=True)
class Arrays:
    """A small layer's weights [converters, banks, nodes, groups, rows, cols], cut every `rows` rows."""

    geometry: Geometry
    rows: int
    weight: Tensor
    gains: Tensor | None
    variance: Tensor | None = None

    @property
    def cut(self) -> tuple[tuple[int, int], ...]:
        return tuple(reads(self.geometry.rows, self.rows, self.rows))

    @property
    def whole(self) -> Arrays:
        return replace(self, rows=self.geometry.rows)

    def read(
        self,
        x: Tensor,
        convert: Callable[[Tensor], Tensor] | None = None,
        observe: Callable[[Tensor], None] | None = None,
        normals: NormalSource | None = None,
    ) -> Tensor:
        """[converters, batch, height', width', groups, banks, cols]."""
        w = self.weight
        nothing = torch.zeros(w.shape[1:3])
        readout = Readout(w.unsqueeze(0), self.variance, None, nothing, nothing, None)
        columns = sums.columns(self.geometry, self.cut, readout, x.dtype)
        at_read = None if convert is None else lambda partial, index: convert(partial)
        source = normals or NormalSource(torch.Generator())
        # Converters last, so that parts of a batch are put together along it.
        finish = sums.Finish(self.gains, observe, at_read, None, source, lambda t: t.movedim(0, -1))
        return sums.read([x], columns, finish).movedim(-1, 0)


def reference(x: Tensor, a: Arrays, convert: Callable[[Tensor], Tensor]) -> Tensor:
    """The same, each array's sum converted by itself."""
    signal = unfolded(x, a.geometry)
    total = torch.zeros(())
    for first, last in a.cut:
        partial = torch.einsum("bgrp,ckngrq->cbpgknq", signal[:, :, first:last], a.weight[..., first:last, :])
        gains = a.gains if a.gains is not None else x.new_ones(x.shape[0], a.weight.shape[1], 1)
        total = total + convert((partial * gains[None, :, None, None, :, :, None]).sum(dim=-2))
    return total.unflatten(2, a.geometry.output_size(*x.shape[2:]))


@st.composite
def arrays(draw: st.DrawFn) -> tuple[Tensor, Arrays, float]:
    groups = draw(st.integers(1, 3))
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    g = Geometry(
        groups * draw(st.integers(1, 4)),
        groups * draw(st.integers(1, 3)),
        draw(pair),
        draw(pair),
        (draw(st.integers(0, 2)), draw(st.integers(0, 2))),
        (draw(st.integers(1, 2)), draw(st.integers(1, 2))),
        groups,
    )
    converters, banks = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    gained = draw(st.booleans())
    nodes = draw(st.integers(1, 3)) if gained else 1
    batch, seed = draw(st.integers(1, 5)), draw(st.integers(0, 1000))
    x = numbers(batch, g.in_channels, draw(st.integers(5, 8)), draw(st.integers(5, 8)), seed=seed)
    weight = numbers(converters, banks, nodes, groups, g.rows, g.cols, seed=seed + 1)
    gains = numbers(batch, banks, nodes, seed=seed + 2) if gained else None
    rows, step = draw(st.integers(1, 40)), draw(st.sampled_from([0.25, 1.0, 3.0]))
    return x, Arrays(g, rows, weight, gains), step


@given(arrays())
@settings(max_examples=80, deadline=None)
def test_sums_are_converted_one_array_at_a_time(drawn: tuple[Tensor, Arrays, float]) -> None:
    x, a, step = drawn
    seen: list[Tensor] = []

    def convert(partial: Tensor) -> Tensor:
        return (partial / step).round() * step

    y = a.read(x, convert, lambda t: seen.append(t.clone()))
    expected = reference(x, a, convert)
    assert y.shape == expected.shape
    # In float64 a sum lies within 1e-12 of a boundary with negligible probability.
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-9)
    # Each converter saw every partial sum once.
    assert sum(t.numel() for t in seen) == y.numel() * -(-a.geometry.rows // a.rows)
    torch.testing.assert_close(a.whole.read(x, convert), reference(x, a.whole, convert), rtol=0, atol=1e-9)


@given(arrays())
@settings(max_examples=40, deadline=None)
def test_noise_variance_is_that_of_each_array(drawn: tuple[Tensor, Arrays, float]) -> None:
    """Ones in place of normals make the noise its own standard deviation."""

    class Ones(NormalSource):
        def __init__(self) -> None:
            pass

        def add_(self, sums: Tensor, std: Tensor) -> Tensor:
            return sums.add_(std)

    x, a, _ = drawn
    gains = None if a.gains is None else a.gains.abs()
    variance = a.weight.square()
    noisy = Arrays(a.geometry, a.rows, torch.zeros_like(variance), gains, variance)
    # One node's variance is told over its nominal gain squared: the weights of the nodes add up to that gain.
    total = None if gains is None else gains * gains.sum(dim=-1, keepdim=True)
    expected = Arrays(a.geometry, a.rows, variance, total)
    for one, other in ((noisy, expected), (noisy.whole, expected.whole)):
        y = one.read(x, normals=Ones())
        torch.testing.assert_close(y, reference(x.square(), other, torch.sqrt), rtol=1e-6, atol=1e-9)


def test_chunks_of_a_batch_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    g = Geometry(6, 4, (3, 3), padding=(1, 1))
    x, weight, gains = numbers(7, 6, 5, 5), numbers(1, 2, 2, 1, g.rows, 4), numbers(7, 2, 2)
    a = Arrays(g, 10, weight, gains)
    together = a.read(x, lambda t: (t * 4).round() / 4)
    for in_flight in (1, 3 * 49 * 16):
        monkeypatch.setattr(sums, "IN_FLIGHT", in_flight)
        torch.testing.assert_close(a.read(x, lambda t: (t * 4).round() / 4), together, rtol=0, atol=1e-12)


# --- the whole layer ------------------------------------------------------------------------------------------


def layer_of(module: nn.Module, stack: Stack, x: Tensor) -> AnalogLayer:
    layer = analogize(module, stack).double()
    assert isinstance(layer, AnalogLayer)
    calibrate(layer, [x])
    layer.eval()
    layer.program(1)
    return layer


@pytest.mark.parametrize("rows", [1, 7, 16, 27, 36, 200])
@pytest.mark.parametrize("subtract", ["analog", "digital"])
@pytest.mark.parametrize("kind", ["static", "digital factors", "gate"])
def test_a_layer_equals_the_same_arrays_by_hand(rows: int, subtract: str, kind: str) -> None:
    device = Adaptive2D()
    mapping = Differential(rows=rows, subtract=subtract)  # type: ignore[arg-type]
    effects = {"programming": Programming(), "dac": DAC(6), "adc": ADC(7)}
    strategy = {"digital factors": Dynamic(banks=3), "gate": Heterosynaptic(banks=2)}.get(kind)
    torch.manual_seed(0)
    module: nn.Module
    if strategy is None:
        module = nn.Conv2d(8, 6, 3, stride=(2, 1), padding=(1, 0), groups=2)
    else:
        module = ModulatedConv2d(strategy, 8, 6, 3, stride=2, padding=1, groups=2, bias=True)
    x = numbers(5, 8, 7, 6).abs()
    layer = layer_of(module, Stack(device, mapping, effects), x)
    assert layer.plan.kind == ("tiled" if rows < 36 else "boundary")
    chip = layer.chip
    assert chip is not None

    def codes(t: Tensor, full: Tensor, bits: int) -> Tensor:
        low, high = full.double()
        step = high / (2 ** (bits - 1) - 1 if low < 0 else 2**bits - 1)
        return (t.clamp(low, high) / step).round() * step

    g = chip.state.g.double()
    scale = chip.mapped.scale.double()
    planes = [(g[0] - g[1]) * scale] if subtract == "analog" else [g[0] * scale, g[1] * scale]
    signal = unfolded(codes(x, layer.ranges.input, 6), layer.geometry)
    factors = torch.ones(5, layer.banks, dtype=torch.float64)
    if layer.kernel is not None:
        modulation = layer.kernel.modulate(x).bank
        assert modulation is not None
        factors = modulation.detach().double()
    y = torch.zeros((), dtype=torch.float64)
    for sign, plane in zip((1, -1), planes, strict=False):
        for bank in range(layer.banks):
            factor = factors[:, bank, None, None, None]
            for first in range(0, 36, rows):
                part = torch.einsum(
                    "bgrp,grq->bgqp", signal[:, :, first : first + rows], plane[bank, :, first : first + rows]
                )
                if kind == "gate":
                    y = y + sign * codes(part * factor, layer.ranges.sum, 7)
                else:
                    y = y + sign * codes(part, layer.ranges.sum, 7) * factor
    bias = module.bias
    assert isinstance(bias, Tensor)
    expected = y.flatten(1, 2).unflatten(2, layer.geometry.output_size(7, 6)) + bias.detach().double()[:, None, None]
    assert (layer.ranges.sum[0] < 0) == (subtract == "analog")
    measured = layer(x).detach()
    # The engine's ranges are float32: a sum on the edge of a code may fall on the other side, rarely.
    step = float(layer.ranges.sum[1]) / 63
    differs = (measured - expected).abs() > 1e-5 * step
    assert float(differs.double().mean()) < 5e-3
    assert float((measured - expected).abs().max()) <= 2.01 * step


def test_columns_of_an_array_do_not_change_results() -> None:
    conv, x = nn.Conv2d(5, 9, 3), numbers(2, 5, 6, 6).float()
    outputs = []
    for width in (2, 3, 128):
        network = analogize(conv, Stack(Adaptive2D(), Differential(16, width), {"p": Programming(), "adc": ADC(5)}))
        calibrate(network, [x])
        network.eval()
        program(network)
        outputs.append(network(x))
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], outputs[2])


@pytest.mark.parametrize(
    ("effects", "rows", "kind"),
    [
        ({}, 4, "collapsed"),
        ({"programming": Programming()}, 4, "collapsed"),
        ({"dac": DAC()}, 4, "boundary"),
        ({"adc": ADC()}, 27, "boundary"),
        ({"adc": ADC()}, 26, "tiled"),
    ],
)
def test_the_cheapest_exact_plan_is_chosen_and_explained(effects: dict, rows: int, kind: str) -> None:  # type: ignore[type-arg]
    network = analogize(nn.Sequential(nn.Conv2d(3, 4, 3)), Stack(Ideal(), Differential(rows=rows), effects))
    layer = network[0]  # type: ignore[index]
    assert isinstance(layer, AnalogLayer)
    assert layer.plan.kind == kind
    (row,) = explain(network)
    assert row["plan"] == kind
    assert row["matrix"] == "27 x 4"
    assert int(row["arrays"]) == -(-27 // rows)
