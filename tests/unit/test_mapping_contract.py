"""What every mapping promises: exact on an ideal cell, linear, and laid out on whole arrays."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from math import ceil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from memristor_plugins.crossbar.layout import from_arrays, to_arrays
from memristor_plugins.devices.adaptive_2d import Adaptive2D
from memristor_plugins.devices.ideal import Ideal
from memristor_plugins.errors import ConfigError
from memristor_plugins.interfaces.device import Device
from memristor_plugins.interfaces.mapping import Mapping
from memristor_plugins.mappings.bit_sliced import BitSliced
from memristor_plugins.mappings.differential import Differential
from memristor_plugins.mappings.offset import Offset

DEVICES: list[Device] = [Ideal(), Ideal(g_min=5e-6), Adaptive2D()]


def every(rows: int, columns: int, slices: int, bits: int) -> Iterator[tuple[str, Mapping]]:
    """All combinations of options that there are."""
    for scaling in ("layer", "column", "array"):
        for sides in ("one", "two"):
            for subtract in ("analog", "digital"):
                name = f"{scaling}-{sides}-{subtract}"
                yield f"differential-{name}", Differential(rows, columns, subtract, scaling, sides)  # type: ignore[arg-type]
                yield (
                    f"sliced-{name}",
                    BitSliced(rows, slices * columns + 1, slices, bits, "differential", subtract, scaling, sides),  # type: ignore[arg-type]
                )
        for reference in ("digital", "column"):
            try:
                plain = Offset(rows, columns, reference, scaling)  # type: ignore[arg-type]
            except ConfigError:
                continue
            yield f"offset-{scaling}-{reference}", plain
            yield (
                f"sliced-offset-{scaling}-{reference}",
                BitSliced(rows, slices * columns + 1, slices, bits, "offset", scaling=scaling, reference=reference),  # type: ignore[arg-type]
            )


ALL = dict(every(rows=3, columns=5, slices=3, bits=2))
each_mapping = pytest.mark.parametrize("name", ALL)


def weights(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def rounding(mapping: Mapping) -> float:
    """Largest error of a weight over the largest weight, as the mapping's docstring states it."""
    if not isinstance(mapping, BitSliced):
        return 0.0
    bits = mapping.slices * mapping.bits
    one_sided = isinstance(mapping.base, Differential) and mapping.base.sides == "one"
    return 0.5 / (2**bits - 1) if one_sided else 0.5 / (2 ** (bits - 1) - 1)


def recovered(mapping: Mapping, weight: Tensor, device: Device) -> Tensor:
    mapped = mapping.to_conductance(weight, device)
    back = mapping.from_current(mapping.to_effective(mapped.g, mapped.scale))
    return back if mapped.offset is None else back - mapped.offset


@each_mapping
@given(
    shape=st.lists(st.integers(1, 8), min_size=2, max_size=4),
    size=st.sampled_from([0.0, 1e-20, 1e-3, 1.0, 1e6]),
    device=st.sampled_from(DEVICES),
)
@settings(max_examples=15, deadline=None)
def test_an_ideal_cell_holds_the_weights(name: str, shape: list[int], size: float, device: Device) -> None:
    mapping, weight = ALL[name], size * weights(*shape)
    g = mapping.to_conductance(weight, device).g
    assert g.shape == (mapping.planes, *shape[:-1], mapping.lines(shape[-1]))
    assert g.dtype == weight.dtype
    rounded = 1e-6 * (device.g_max - device.g_min)
    assert float(g.min()) >= device.g_min - rounded
    assert float(g.max()) <= device.g_max + rounded
    worst = (float(weight.abs().max()) or 1.0) * (rounding(mapping) + 1e-6)  # the scale of zeros alone is 1
    assert float((recovered(mapping, weight, device) - weight).abs().max()) <= worst


@each_mapping
def test_a_weight_of_zero_is_exact(name: str) -> None:
    weight = weights(7, 6).double()
    weight[::2] = 0
    back = recovered(ALL[name], weight, Ideal(g_min=1e-6))
    assert float(back[::2].abs().max()) < 1e-14


@each_mapping
def test_sums_are_linear_and_their_deviation_is_that_of_independent_cells(name: str) -> None:
    mapping = ALL[name]
    mapped = mapping.to_conductance(weights(4, 5).double(), Adaptive2D())
    zero = mapping.to_effective(torch.zeros_like(mapped.g), mapped.scale)
    assert not zero.any()
    one_cell = torch.eye(mapped.g.numel(), dtype=torch.float64).view(-1, *mapped.g.shape)
    by_cell = torch.stack([mapping.to_effective(cell, mapped.scale) for cell in one_cell])
    whole = mapping.to_effective(mapped.g, mapped.scale)
    torch.testing.assert_close(torch.einsum("n,n...->...", mapped.g.flatten(), by_cell), whole)
    std = torch.rand(mapped.g.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 1e-7
    expected = torch.einsum("n,n...->...", std.flatten().square(), by_cell.square()).sqrt()
    torch.testing.assert_close(mapping.effective_std(std, mapped.scale), expected)
    a, b = torch.randn(2, *whole.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    together = mapping.from_current(2 * a - 3 * b)
    torch.testing.assert_close(together, 2 * mapping.from_current(a) - 3 * mapping.from_current(b))


@each_mapping
@given(rows=st.integers(1, 10), cols=st.integers(1, 12))
@settings(max_examples=10, deadline=None)
def test_utilisation_counts_the_arrays_that_the_layout_fills(name: str, rows: int, cols: int) -> None:
    mapping, device = ALL[name], Ideal(g_min=1e-6)
    g = mapping.to_conductance(weights(2, rows, cols), device).g
    arrays = to_arrays(g, mapping, device.g_min)
    use = mapping.utilisation(rows, cols)
    assert arrays.shape == (2, ceil(rows / 3), arrays.shape[2], 3, mapping.columns)
    assert use.arrays == arrays.shape[1] * arrays.shape[2]
    assert use.cells_used == rows * cols * mapping.planes
    assert use.cells_total == arrays[0].numel()
    assert torch.equal(from_arrays(arrays, mapping, rows, mapping.lines(cols), mapping.planes), g)


@pytest.mark.parametrize("name", [n for n in ALL if n.startswith(("differential-array", "offset-array"))])
def test_each_array_uses_the_whole_range(name: str) -> None:
    mapping, device = ALL[name], Ideal(g_min=1e-6)
    # Sizes that differ between arrays by orders of magnitude, outputs falling in both directions.
    weight = weights(2, 7, 9) * torch.logspace(0, -4, 7).unsqueeze(-1) * torch.logspace(0, -4, 9)
    mapped = mapping.to_conductance(weight, device)
    away = (to_arrays(mapped.g, mapping, device.g_min) - (device.g_min + device.g_max) / 2).abs()
    half = (device.g_max - device.g_min) / 2
    torch.testing.assert_close(away.amax(dim=(-2, -1)), torch.full_like(away[..., 0, 0], half))
    lines = mapped.g.shape[-1]
    for top in range(0, 7, 3):
        for left in range(0, lines, mapping.columns // mapping.planes):
            scale = mapped.scale.expand(*mapped.g.shape[1:])[
                0, top : top + 3, left : left + mapping.columns // mapping.planes
            ]
            assert (scale == scale[0, 0]).all()


@pytest.mark.parametrize("sides", ["one", "two"])
def test_sides_of_a_pair(sides: str) -> None:
    device = Ideal(g_min=4e-6)
    plus, minus = Differential(sides=sides).to_conductance(weights(6, 5).double(), device).g  # type: ignore[arg-type]
    if sides == "one":
        assert (torch.minimum(plus, minus) == device.g_min).all()
    else:
        torch.testing.assert_close(plus + minus, torch.full_like(plus, device.g_min + device.g_max))


def test_a_unit_column_stands_last_in_each_array() -> None:
    device = Ideal(g_min=2e-6)
    mapping = Offset(4, 3, reference="column")
    g = mapping.to_conductance(weights(6, 5), device).g
    assert mapping.lines(5) == 8
    assert mapping.output_lines(5) == [0, 1, 3, 4, 6]
    middle = torch.full((6,), (device.g_min + device.g_max) / 2)
    for line in (2, 5, 7):
        torch.testing.assert_close(g[0, :, line], middle)


def test_digits_are_those_of_the_code() -> None:
    device, weight = Ideal(g_min=1e-6), torch.tensor([[1.0], [0.0], [-0.7], [100 / 255]]).double()
    g = BitSliced(8, 8, slices=4, bits=2).to_conductance(weight, device).g[..., 0]
    digits = ((g - device.g_min) / (device.g_max - device.g_min) * 3).round().int().unflatten(0, (4, 2))
    assert digits[:, 0].T.tolist() == [[3, 3, 3, 3], [0, 0, 0, 0], [0, 0, 0, 0], [1, 2, 1, 0]]  # 100 = 1 2 1 0
    assert digits[:, 1].T.tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [2, 3, 0, 2], [0, 0, 0, 0]]  # round(178.5) = 178
    offset = BitSliced(8, 8, slices=2, bits=4, base="offset").to_conductance(weight[:3], device).g[..., 0]
    codes = ((offset - device.g_min) / (device.g_max - device.g_min) * 15).round().int()
    assert (16 * codes[0] + codes[1]).tolist() == [255, 128, 128 - 89]  # 127 codes on either side of 128


@pytest.mark.parametrize(
    ("build", "option"),
    [
        (lambda: Offset(8, 8, "column", "column"), "mapping.scaling"),
        (lambda: Offset(8, 1, "column"), "mapping.columns"),
        (lambda: BitSliced(slices=9, bits=3), "mapping.slices"),
        (lambda: BitSliced(slices=1, bits=1, base="offset"), "mapping.slices"),
        (lambda: BitSliced(columns=7, slices=4), "mapping.columns"),
        (lambda: BitSliced(columns=7, slices=4, base="offset", reference="column"), "mapping.columns"),
        (lambda: BitSliced(base="offset", reference="column", scaling="column"), "mapping.scaling"),
    ],
)
def test_what_cannot_be_built_names_the_nearest(build: object, option: str) -> None:
    with pytest.raises(ConfigError, match="nearest valid value") as caught:
        build()  # type: ignore[operator]
    assert caught.value.option == option


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"base": "offset", "subtract": "digital"}, "subtract=digital"),
        ({"base": "offset", "sides": "two"}, "sides=two"),
        ({"reference": "column"}, "reference=column"),
    ],
)
def test_an_option_of_the_other_base_warns_once(options: dict[str, str], word: str) -> None:
    with pytest.warns(UserWarning, match=f"mapping.{word} has no effect") as caught:
        BitSliced(**options)  # type: ignore[arg-type]
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        BitSliced(base="offset")


def test_gradient_towards_the_weights_is_one() -> None:
    for name, mapping in ALL.items():
        if isinstance(mapping, BitSliced):
            continue  # rounded: the engine's gradients pass straight through
        weight = weights(4, 3).double().requires_grad_()
        (grad,) = torch.autograd.grad(recovered(mapping, weight, Adaptive2D()).sum(), weight)
        torch.testing.assert_close(grad, torch.ones_like(grad), msg=name)
