"""Weights as a matrix on word lines, and where each array cuts it."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from memristor_plugins.crossbar.chip import gate_nodes
from memristor_plugins.crossbar.geometry import Geometry, interpolation, offset, shifted_rows, tiles


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


@given(geometries(), st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_a_row_kernel_is_the_kernel_of_a_one_column_matrix(g: Geometry, banks: int) -> None:
    rows = numbers(banks, g.groups, g.rows)
    one_column = Geometry(g.in_channels, g.groups, g.kernel_size, groups=g.groups)
    assert torch.equal(g.row_kernel(rows), one_column.to_kernel(rows.unsqueeze(-1)))


@given(geometries(), st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_tiles_hold_every_row_once_in_order(g: Geometry, rows: int) -> None:
    cut = tiles(g, rows)
    channels = g.in_channels // g.groups
    held = []
    for segments in cut:
        for s in segments:
            u, v = s.position
            assert 0 <= u < g.kernel_size[0]
            assert 0 <= v < g.kernel_size[1]
            assert s.row == (u * g.kernel_size[1] + v) * channels + s.start
            held += range(s.row, s.row + s.stop - s.start)
    assert held == list(range(g.rows))
    sizes = [sum(s.stop - s.start for s in segments) for segments in cut]
    assert sizes[:-1] == [rows] * (len(cut) - 1)
    assert 0 < sizes[-1] <= rows


@given(geometries())
@settings(max_examples=40, deadline=None)
def test_shifted_rows_hold_what_each_kernel_position_sees(g: Geometry) -> None:
    x = numbers(2, g.in_channels, 5, 6)
    flat, (hp, wp) = shifted_rows(x, g)
    padded = F.pad(x, (g.padding[1], g.padding[1], g.padding[0], g.padding[0]))
    height, width = g.output_size(5, 6)
    for segments in tiles(g, 1):
        (s,) = segments
        start, (u, v) = offset(s, g, wp), s.position
        seen = flat[start : start + 2 * hp * wp].unflatten(0, (2, hp, wp))
        for i in range(max(height, 0)):
            for j in range(max(width, 0)):
                a, b = i * g.stride[0], j * g.stride[1]
                expected = padded[:, :, a + u * g.dilation[0], b + v * g.dilation[1]]
                assert torch.equal(seen[:, a, b], expected)


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
