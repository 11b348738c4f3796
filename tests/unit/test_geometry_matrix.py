"""Weights as a matrix on word lines, and where each array cuts it."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from memristor_plugins.crossbar.geometry import Geometry, interpolation, segments
from memristor_plugins.crossbar.layout import from_arrays, reads, to_arrays
from memristor_plugins.crossbar.readout import gate_nodes
from memristor_plugins.mappings.differential import Differential


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    groups = draw(st.integers(1, 3))
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    return Geometry(
        groups * draw(st.integers(1, 4)),
        groups * draw(st.integers(1, 3)),
        draw(pair),
        draw(pair),
        (draw(st.integers(0, 2)), draw(st.integers(0, 2))),
        (draw(st.integers(1, 2)), draw(st.integers(1, 2))),
        groups,
    )


@given(geometries(), st.lists(st.integers(1, 3), max_size=2))
@settings(max_examples=60, deadline=None)
def test_matrix_times_unfolded_input_is_the_convolution(g: Geometry, lead: list[int]) -> None:
    weight = numbers(*lead, g.out_channels, g.in_channels // g.groups, *g.kernel_size)
    matrix = g.to_matrix(weight)
    x = numbers(2, g.in_channels, 6, 7, seed=1)
    u = F.unfold(x, g.kernel_size, g.dilation, g.padding, g.stride)
    places = g.kernel_size[0] * g.kernel_size[1]
    # [batch, groups, rows, pixels], kernel position first
    u = u.view(2, g.groups, -1, places, u.shape[-1]).transpose(2, 3).flatten(2, 3)
    out = torch.einsum("bgrp,...grc->...bgcp", u, matrix)
    options = (None, g.stride, g.padding, g.dilation, g.groups)
    flat = weight.reshape(-1, *weight.shape[-4:])
    for one, kernel in zip(out.reshape(-1, *out.shape[-4:]), flat, strict=True):
        expected = F.conv2d(x, kernel, *options)
        torch.testing.assert_close(one.reshape(expected.shape), expected, rtol=1e-10, atol=1e-12)
    assert expected.shape[2:] == g.output_size(6, 7)


@given(geometries(), st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_kernels_of_a_matrix_are_its_weights_group_outermost(g: Geometry, banks: int) -> None:
    weight = numbers(banks, g.out_channels, g.in_channels // g.groups, *g.kernel_size)
    kernel = g.to_kernel(g.to_matrix(weight))
    back = kernel.view(g.groups, banks, g.cols, *kernel.shape[1:]).transpose(0, 1)
    assert torch.equal(back.reshape(weight.shape), weight)


@given(geometries(), st.integers(1, 40), st.integers(1, 40))
def test_reads_hold_every_row_once_in_order(g: Geometry, array: int, at_once: int) -> None:
    cut = reads(g.rows, array, at_once)
    assert [row for first, last in cut for row in range(first, last)] == list(range(g.rows))
    assert all(last - first <= min(array, at_once) for first, last in cut)
    assert all(first // array == (last - 1) // array for first, last in cut)  # no read reaches into two arrays
    channels, (_, kw) = g.in_channels // g.groups, g.kernel_size
    for first, last in cut:
        rows = [
            (s.position[0] * kw + s.position[1]) * channels + channel
            for s in segments(g, first, last)
            for channel in range(s.start, s.stop)
        ]
        assert rows == list(range(first, last))


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 9), st.integers(2, 9), st.integers(1, 2))
def test_arrays_hold_every_cell_once_with_pairs_side_by_side(
    rows: int, lines: int, tall: int, wide: int, banks: int
) -> None:
    mapping = Differential(rows=tall, columns=wide)
    g = torch.arange(1.0, 2 * banks * rows * lines + 1).view(2, banks, rows, lines)
    arrays = to_arrays(g, mapping, padding=-1.0)
    assert arrays.shape[-2:] == (tall, wide)
    assert sorted(arrays[arrays >= 0].tolist()) == g.flatten().tolist()
    assert torch.equal(from_arrays(arrays, mapping, rows, lines, 2), g)
    assert torch.equal(arrays[:, 0, 0, 0, :2], g[:, :, 0, 0].T)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_interpolation_is_exact_at_nodes_and_for_polynomials(count: int) -> None:
    nodes = gate_nodes(0.25, count)
    torch.testing.assert_close(interpolation(nodes, nodes), torch.eye(count, dtype=torch.float64), atol=1e-12, rtol=0)
    u = torch.linspace(-1.5, 0, 50, dtype=torch.float64)
    coefficients = interpolation(u, nodes)
    torch.testing.assert_close(coefficients.sum(dim=-1), torch.ones(50, dtype=torch.float64), atol=1e-12, rtol=0)
    for degree in range(count):
        torch.testing.assert_close(coefficients @ nodes**degree, u**degree, atol=1e-11, rtol=0)


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_gate_nodes_lie_within_the_reach_of_the_gate(count: int) -> None:
    nodes = gate_nodes(0.25, count)
    low = torch.tensor(0.25).log()
    assert nodes.numel() == count == nodes.unique().numel()
    assert (nodes > low).all()
    assert (nodes < 0).all()
    # Chebyshev: symmetric about the middle of the range
    torch.testing.assert_close(nodes + nodes.flip(0), torch.full_like(nodes, float(low)))
