"""Effective conductances against nodal analysis of the same circuit, assembled here node by node and solved sparse."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu

from memristor_plugins.crossbar import effective_conductance
from memristor_plugins.errors import SimulationError
from memristor_plugins.wires import effective_conductance_fast

Matrix = NDArray[np.float64]


class Circuit:
    """Nodes and resistors; nodes that a wire without resistance joins are one."""

    def __init__(self) -> None:
        self.parent: dict[object, object] = {}
        self.resistors: list[tuple[object, object, float]] = []

    def find(self, node: object) -> object:
        while self.parent.setdefault(node, node) != node:
            node = self.parent[node]
        return node

    def wire(self, a: object, b: object, ohm: float) -> None:
        if ohm == 0:
            self.parent[self.find(a)] = self.find(b)
        else:
            self.resistors.append((a, b, 1 / ohm))

    def solve(self, rows: int, cols: int) -> Matrix:
        """Current into the ground at each bit line's end for one volt at each source."""
        fixed = [self.find(("v", i)) for i in range(rows)] + [self.find(("0", c)) for c in range(cols)]
        nodes = {n: k for k, n in enumerate({self.find(x) for r in self.resistors for x in r[:2]} - set(fixed))}
        known = {n: k for k, n in enumerate(fixed)}
        size = max(1, len(nodes))
        free, given_ = sparse.lil_matrix((size, size)), np.zeros((size, len(fixed)))
        direct = np.zeros((len(fixed), len(fixed)))
        for a, b, y in self.resistors:
            for one, other in ((self.find(a), self.find(b)), (self.find(b), self.find(a))):
                if one in nodes:
                    free[nodes[one], nodes[one]] += y
                    if other in nodes:
                        free[nodes[one], nodes[other]] -= y
                    else:
                        given_[nodes[one], known[other]] += y
                elif other in known:
                    direct[known[one], known[other]] += y
        if not nodes:
            return direct[rows:, :rows].T
        lone = np.asarray(free.diagonal() == 0).nonzero()[0]
        for k in lone:
            free[k, k] = 1.0
        potentials = splu(free.tocsc()).solve(given_[:, :rows])
        return (given_[:, rows:].T @ potentials + direct[rows:, :rows]).T


def nodal(g: Matrix, r_word: float, r_bit: float, r_source: float, r_sink: float) -> Matrix:
    rows, cols = g.shape
    circuit = Circuit()
    for i in range(rows):
        for c in range(cols):
            before = ("v", i) if c == 0 else ("u", i, c - 1)
            circuit.wire(before, ("u", i, c), r_word + (r_source if c == 0 else 0))
            after = ("0", c) if i == rows - 1 else ("w", i + 1, c)
            circuit.wire(("w", i, c), after, r_bit + (r_sink if i == rows - 1 else 0))
    for i in range(rows):
        for c in range(cols):
            if g[i, c] > 0:
                circuit.resistors.append((("u", i, c), ("w", i, c), g[i, c]))
    return circuit.solve(rows, cols)


# Below an ohm the nodal matrix itself is too ill-conditioned to check 1e-10 with.
OHM = st.sampled_from([0.0, 1.0, 50.0, 1e4])


@given(st.integers(1, 7), st.integers(1, 7), OHM, OHM, OHM, OHM, st.integers(0, 10_000))
@settings(max_examples=120, deadline=None)
def test_small_arrays(rows: int, cols: int, r_word: float, r_bit: float, source: float, sink: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    g = torch.rand(2, rows, cols, generator=generator, dtype=torch.float64) * 1e-4
    g = g * (torch.rand(g.shape, generator=generator) > 0.2)
    solved = effective_conductance(g, r_word=r_word, r_bit=r_bit, r_source=source, r_sink=sink)
    for one, array in zip(solved.numpy(), g.numpy(), strict=True):
        expected = nodal(array, r_word, r_bit, source, sink)
        assert abs(one - expected).max() <= 1e-10 * abs(expected).max()


@pytest.mark.parametrize("ohm", [(1.0, 1.0, 100.0, 100.0), (5.0, 0.5, 0.0, 10.0), (0.0, 1.0, 0.0, 0.0)])
def test_a_large_array(ohm: tuple[float, float, float, float]) -> None:
    g = torch.rand(96, 128, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 20e-6
    r_word, r_bit, source, sink = ohm
    solved = effective_conductance(g, r_word=r_word, r_bit=r_bit, r_source=source, r_sink=sink).numpy()
    expected = nodal(g.numpy(), *ohm)
    assert abs(solved - expected).max() <= 1e-10 * abs(expected).max()


def test_rows_and_columns_are_told_apart() -> None:
    g = torch.full((3, 5), 1e-4, dtype=torch.float64)
    along = effective_conductance(g, r_word=1e4, r_bit=0.0)
    down = effective_conductance(g, r_word=0.0, r_bit=1e4)
    # A word line's far columns are starved, alike in every row; a bit line's top rows, alike in every column.
    assert torch.allclose(along, along[:1].expand(3, -1), rtol=1e-12)
    assert (along.diff(dim=1) < 0).all()
    assert torch.allclose(down, down[:, :1].expand(-1, 5), rtol=1e-12)
    assert (down.diff(dim=0) > 0).all()
    # One row, one column, by hand: a divider.
    one = effective_conductance(g[:1, :1], r_word=1e4, r_bit=2e4, r_source=3e4, r_sink=4e4)
    assert float(one) == pytest.approx(1 / (1e4 + 1e4 + 2e4 + 3e4 + 4e4), rel=1e-12)


def test_without_wires_nothing_changes() -> None:
    g = torch.rand(4, 9, dtype=torch.float64)
    assert torch.equal(effective_conductance(g, r_word=0.0, r_bit=0.0), g)
    assert torch.equal(effective_conductance_fast(g, r_word=0.0, r_bit=0.0), g)


@pytest.mark.parametrize("ohm", [(100.0, 130.0, 50.0, 20.0), (0.0, 130.0, 0.0, 20.0), (100.0, 0.0, 0.0, 0.0)])
def test_gradients(ohm: tuple[float, float, float, float]) -> None:
    r_word, r_bit, source, sink = ohm
    g = torch.rand(2, 4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    g[0, 1, 1] = 0.0

    def solve(x: torch.Tensor) -> torch.Tensor:
        return 1e3 * effective_conductance(x * 1e-3, r_word=r_word, r_bit=r_bit, r_source=source, r_sink=sink)

    # A step below zero is no conductance: gradients at zero are looked at from above.
    assert torch.autograd.gradcheck(solve, ((g + 1e-3).requires_grad_(),))


@pytest.mark.parametrize("shape", [(5, 9), (9, 5)])
def test_gradients_are_those_of_either_direction(shape: tuple[int, int]) -> None:
    """Arrays that are solved with word lines and bit lines exchanged, and more word lines than steps that are kept."""
    g = torch.rand(2, *shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 1e-3 + 1e-5

    def solve(x: torch.Tensor) -> torch.Tensor:
        return 1e3 * effective_conductance(x * 1e-3, r_word=70.0, r_bit=20.0, r_source=5.0, r_sink=90.0)

    assert torch.autograd.gradcheck(solve, ((g * 1e3).requires_grad_(),))


@pytest.mark.parametrize("shape", [(3, 11), (11, 3), (40, 1), (1, 40), (70, 67)])
def test_any_shape(shape: tuple[int, int]) -> None:
    g = torch.rand(shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 1e-4
    solved = effective_conductance(g, r_word=3.0, r_bit=11.0, r_source=50.0, r_sink=20.0).numpy()
    expected = nodal(g.numpy(), 3.0, 11.0, 50.0, 20.0)
    assert abs(solved - expected).max() <= 1e-10 * abs(expected).max()


def test_one_large_resistance_in_a_3x5_array() -> None:
    """One cell is a thousandth of the others, so that a swap or a flip of rows or columns shows."""
    g = torch.full((3, 5), 1e-4, dtype=torch.float64)
    g[2, 3] = 1e-7
    solved = effective_conductance(g, r_word=50.0, r_bit=20.0, r_source=10.0, r_sink=30.0)
    expected = nodal(g.numpy(), 50.0, 20.0, 10.0, 30.0)
    assert abs(solved.numpy() - expected).max() <= 1e-10 * abs(expected).max()
    assert divmod(int(solved.argmin()), 5) == (2, 3)


@pytest.mark.parametrize("scale", [1e-4, 1e-1])
def test_wires_that_resist_more_than_all_cells(scale: float) -> None:
    """Megaohms a segment: nearly everything flows through the nearest cells."""
    g = torch.rand(6, 6, generator=torch.Generator().manual_seed(4), dtype=torch.float64) * scale
    g[-1] = 0.0
    solved = effective_conductance(g, r_word=1e6, r_bit=1e6).numpy()
    expected = nodal(g.numpy(), 1e6, 1e6, 0.0, 0.0)
    assert abs(solved - expected).max() <= 1e-10 * abs(expected).max()


@pytest.mark.parametrize(("size", "g_max"), [(128, 20e-6), (256, 20e-6), (128, 1e-3)])
def test_float32_is_right_within_its_stated_tolerance(size: int, g_max: float) -> None:
    g = torch.rand(size, size, generator=torch.Generator().manual_seed(5), dtype=torch.float64) * g_max
    wires = {"r_word": 1.0, "r_bit": 1.0, "r_source": 100.0, "r_sink": 100.0}
    exact, single = effective_conductance(g, **wires), effective_conductance(g.float(), **wires)
    assert single.dtype == torch.float32
    assert float((single.double() - exact).abs().max() / exact.max()) < 1e-4


MEMORY = """
import resource, torch
from memristor_plugins.crossbar import effective_conductance
wires = {"r_word": 1.0, "r_bit": 1.0, "r_source": 100.0, "r_sink": 100.0}
def gradient(size):
    g = (torch.rand(size, size, dtype=torch.float64) * 2e-5).requires_grad_()
    solved = effective_conductance(g, **wires)
    saved = sum(t.numel() for t in solved.grad_fn.next_functions[0][0].saved_tensors)
    assert saved == g.numel(), saved
    solved.sum().backward()
torch.set_num_threads(1)
gradient(64)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
gradient(224)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is told in kilobytes on Linux alone")
def test_the_adjoint_does_not_keep_every_step() -> None:
    """224 steps of 224 x 224 numbers twice over, S and its sources, would be 180 MB."""
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 90_000


def test_batches_dtypes_and_bad_values() -> None:
    g = torch.rand(2, 3, 8, 6, dtype=torch.float64) * 1e-5
    kwargs = {"r_word": 2.0, "r_bit": 3.0, "r_source": 10.0, "r_sink": 5.0}
    solved = effective_conductance(g, **kwargs)
    assert torch.allclose(solved[1, 2], effective_conductance(g[1, 2], **kwargs), rtol=1e-13)
    single = effective_conductance(g.float(), **kwargs)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), solved, rtol=1e-5, atol=0)
    g[1, 0, 4, 5] = float("nan")
    with pytest.raises(SimulationError, match=r"g\[1, 0, 4, 5\] is nan S"):
        effective_conductance(g, **kwargs)
    with pytest.raises(SimulationError, match="r_bit must be >= 0 ohm"):
        effective_conductance(g, r_word=1.0, r_bit=-1.0)


@pytest.mark.parametrize(("ohm", "mean", "largest"), [(1.0, 0.026, 0.021), (5.0, 0.085, 0.066)])
def test_the_approximation_errs_as_its_docstring_says(ohm: float, mean: float, largest: float) -> None:
    g = torch.rand(128, 128, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 19.9e-6 + 0.1e-6
    kwargs = {"r_word": ohm, "r_bit": ohm, "r_source": 100.0, "r_sink": 100.0}
    exact, fast = effective_conductance(g, **kwargs), effective_conductance_fast(g, **kwargs)
    assert 0.5 * mean < float((fast - exact).abs().mean() / exact.mean()) < mean
    assert 0.5 * largest < float((fast - exact).abs().max() / exact.max()) < largest
