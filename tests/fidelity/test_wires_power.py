"""Power that sources of resistive arrays deliver, against the dissipation of every resistor, solved independently."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from memristor_plugins.errors import SimulationError
from memristor_plugins.wires import effective_conductance, source_admittance

Vector = NDArray[np.float64]


def dissipation(g: Vector, v: Vector, r_word: float, r_bit: float, r_source: float, r_sink: float) -> float:
    """Sum of (difference of voltages)^2 / R over cells, segments, drivers and terminations; dense nodal analysis.

    All resistances > 0. Nodes: word line u[i, c], then bit line w[i, c].
    """
    rows, cols = g.shape
    size = 2 * rows * cols
    matrix, right = np.zeros((size, size)), np.zeros(size)
    resistors: list[tuple[int | None, int | None, float, float]] = []  # node, node or None, siemens, fixed voltage

    def u(i: int, c: int) -> int:
        return i * cols + c

    def w(i: int, c: int) -> int:
        return rows * cols + i * cols + c

    for i in range(rows):
        for c in range(cols):
            resistors.append((u(i, c), w(i, c), g[i, c], 0.0))
            if c:
                resistors.append((u(i, c - 1), u(i, c), 1 / r_word, 0.0))
            else:
                resistors.append((u(i, 0), None, 1 / (r_source + r_word), v[i]))
            if i < rows - 1:
                resistors.append((w(i, c), w(i + 1, c), 1 / r_bit, 0.0))
            else:
                resistors.append((w(i, c), None, 1 / (r_bit + r_sink), 0.0))
    for a, b, y, fixed in resistors:
        assert a is not None
        matrix[a, a] += y
        if b is None:
            right[a] += y * fixed
        else:
            matrix[b, b] += y
            matrix[a, b] -= y
            matrix[b, a] -= y
    x = np.linalg.solve(matrix, right)
    return float(sum(y * (x[a] - (fixed if b is None else x[b])) ** 2 for a, b, y, fixed in resistors))


OHM = st.sampled_from([0.5, 1.0, 50.0, 1e4])


@given(st.integers(1, 9), st.integers(1, 9), OHM, OHM, OHM, OHM, st.integers(0, 10_000))
@settings(max_examples=80, deadline=None)
def test_delivered_power_is_what_every_resistor_dissipates(
    rows: int, cols: int, r_word: float, r_bit: float, source: float, sink: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    g = torch.rand(2, rows, cols, generator=generator, dtype=torch.float64) * 1e-4
    g = g * (torch.rand(g.shape, generator=generator) > 0.2)
    v = torch.rand(rows, generator=generator, dtype=torch.float64) - 0.3
    _, admittance = source_admittance(g, r_word=r_word, r_bit=r_bit, r_source=source, r_sink=sink)
    for array, seen in zip(g, admittance, strict=True):
        expected = dissipation(array.numpy(), v.numpy(), r_word, r_bit, source, sink)
        assert float(v @ seen @ v) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("ohm", [(1.0, 1.0, 100.0, 100.0), (5.0, 0.5, 1.0, 10.0)])
def test_a_large_array(ohm: tuple[float, float, float, float]) -> None:
    generator = torch.Generator().manual_seed(0)
    g = torch.rand(40, 32, generator=generator, dtype=torch.float64) * 20e-6
    v = torch.rand(40, generator=generator, dtype=torch.float64) * 0.1
    r_word, r_bit, r_source, r_sink = ohm
    _, seen = source_admittance(g, r_word=r_word, r_bit=r_bit, r_source=r_source, r_sink=r_sink)
    assert float(v @ seen @ v) == pytest.approx(dissipation(g.numpy(), v.numpy(), *ohm), rel=1e-9)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_symmetric_positive_and_below_the_cells_without_wires(rows: int, cols: int, seed: int) -> None:
    g = torch.rand(rows, cols, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 1e-3
    effective, seen = source_admittance(g, r_word=3.0, r_bit=7.0, r_source=50.0, r_sink=20.0)
    same = effective_conductance(g, r_word=3.0, r_bit=7.0, r_source=50.0, r_sink=20.0)
    torch.testing.assert_close(effective, same, rtol=1e-12, atol=0)
    assert torch.equal(seen, seen.mT)
    assert float(torch.linalg.eigvalsh(seen).min()) >= -1e-15
    # What flows in at a source flows out at the bit lines and at the other sources, which stand at ground.
    torch.testing.assert_close(seen.sum(dim=-1), effective.sum(dim=-1), rtol=1e-9, atol=1e-18)
    assert bool((seen.diagonal() < g.sum(dim=-1)).all())


def test_without_resistance_it_is_the_cells_own() -> None:
    g = torch.rand(2, 4, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    effective, seen = source_admittance(g, r_word=0.0, r_bit=0.0)
    assert torch.equal(effective, g)
    torch.testing.assert_close(seen, torch.diag_embed(g.sum(dim=-1)), rtol=1e-14, atol=0)


def test_a_divider_by_hand_and_bad_values() -> None:
    g = torch.full((1, 1, 1), 1e-4, dtype=torch.float64)
    _, seen = source_admittance(g, r_word=1e4, r_bit=2e4, r_source=3e4, r_sink=4e4)
    assert float(seen) == pytest.approx(1 / (1e4 + 1e4 + 2e4 + 3e4 + 4e4), rel=1e-12)
    with pytest.raises(SimulationError, match="r_sink must be >= 0 ohm"):
        source_admittance(g, r_word=1.0, r_bit=1.0, r_sink=-1.0)
