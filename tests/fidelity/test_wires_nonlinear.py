"""Cells that are not ohmic between resistive wires, against nodal analysis assembled here and solved with scipy."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import spsolve
from torch import Tensor

from memristor_plugins.crossbar import effective_conductance, solve_nonlinear
from memristor_plugins.devices.ideal import Ideal
from memristor_plugins.devices.stanford_pku import StanfordPKUCell
from memristor_plugins.errors import SimulationError
from memristor_plugins.interfaces.nonideality import Context
from memristor_plugins.nonidealities.iv import IV

Vector = NDArray[np.float64]
V0 = 0.05
WIRES = {"r_word": 30.0, "r_bit": 20.0, "r_source": 100.0, "r_sink": 50.0}


def sinh_law(g: Tensor, u: Tensor) -> Tensor:
    return g * V0 * torch.sinh(u / V0)


def nodal(
    g: Vector, v: Vector, wires: dict[str, float], law: Callable[[Vector, Vector], tuple[Vector, Vector]]
) -> Vector:
    """Output currents: Kirchhoff's current law at every node, Newton's method on the sparse Jacobian.

    Nodes are the 2 n m crossings; unknown are their potentials.
    """
    rows, cols = g.shape
    size = rows * cols
    up, down = np.arange(size).reshape(rows, cols), size + np.arange(size).reshape(rows, cols)
    ends: list[tuple[int, int, float]] = []
    wires_of = np.zeros(2 * size)
    forced = np.zeros(2 * size)
    for i in range(rows):
        first = 1 / (wires["r_word"] + wires["r_source"])
        wires_of[up[i, 0]] += first
        forced[up[i, 0]] += first * v[i]
        ends += [(up[i, c], up[i, c + 1], 1 / wires["r_word"]) for c in range(cols - 1)]
    for c in range(cols):
        wires_of[down[rows - 1, c]] += 1 / (wires["r_bit"] + wires["r_sink"])
        ends += [(down[i, c], down[i + 1, c], 1 / wires["r_bit"]) for i in range(rows - 1)]
    a, b, y = (np.array(column) for column in zip(*ends, strict=True))
    laplace = sparse.coo_matrix((np.r_[y, y, -y, -y], (np.r_[a, b, a, b], np.r_[a, b, b, a])), (2 * size, 2 * size))
    linear = (laplace + sparse.diags(wires_of)).tocsc()
    incidence = sparse.hstack((sparse.identity(size), -sparse.identity(size))).tocsc()
    cells = g.ravel()
    potential: Vector = spsolve((linear + incidence.T @ sparse.diags(cells) @ incidence).tocsc(), forced)
    error = math.inf
    for _ in range(100):
        current, slope = law(cells, incidence @ potential)
        left = linear @ potential + incidence.T @ current - forced
        step = spsolve((linear + incidence.T @ sparse.diags(slope) @ incidence).tocsc(), left)
        potential = potential - step
        if abs(step).max() >= error or not abs(step).max():
            break  # as far as rounding lets it
        error = abs(step).max()
    assert error < 1e-12 * abs(v).max()
    return potential[down[rows - 1]] / (wires["r_bit"] + wires["r_sink"])


def numpy_sinh(g: Vector, u: Vector) -> tuple[Vector, Vector]:
    return g * V0 * np.sinh(u / V0), g * np.cosh(u / V0)


def arrays(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    g = torch.rand(shape, generator=generator, dtype=torch.float64) * 2e-4
    return g * (torch.rand(shape, generator=generator) > 0.2)


def voltages(*shape: int, seed: int = 1) -> Tensor:
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1) * 0.2


@given(st.integers(2, 7), st.integers(2, 7), st.integers(1, 3), st.sampled_from([2.0, 50.0, 1e3]), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_small_arrays(rows: int, cols: int, vectors: int, ohm: float, seed: int) -> None:
    g, v = arrays(2, rows, cols, seed=seed), voltages(2, vectors, rows, seed=seed)
    wires = {"r_word": ohm, "r_bit": 2 * ohm, "r_source": 3.0, "r_sink": 5.0}
    solved = solve_nonlinear(g, v, sinh_law, **wires)
    assert float(solved.residual.max()) <= 1e-12
    for k in range(2):
        expected = np.stack([nodal(g[k].numpy(), one, wires, numpy_sinh) for one in v[k].numpy()])
        # The test's own equations hold currents of segments at 2 ohm: 1e-10 of them.
        assert abs(solved.current[k].numpy() - expected).max() <= 1e-9 * abs(expected).max()


def test_a_larger_array() -> None:
    g, v = arrays(48, 40), voltages(3, 48)
    solved = solve_nonlinear(g, v, sinh_law, **WIRES)
    expected = np.stack([nodal(g.numpy(), one, WIRES, numpy_sinh) for one in v.numpy()])
    assert abs(solved.current.numpy() - expected).max() <= 1e-9 * abs(expected).max()
    # The law matters here: ohmic cells would carry something else.
    ohmic = v @ effective_conductance(g, **WIRES)
    assert float((ohmic - solved.current).abs().max() / solved.current.abs().max()) > 0.05


def test_ohmic_cells_are_those_of_the_exact_solution() -> None:
    g, v = arrays(3, 9, 14), voltages(4, 9)
    solved = solve_nonlinear(g, v, lambda g, u: g * u, **WIRES)
    expected = v @ effective_conductance(g, **WIRES)
    assert float((solved.current - expected).abs().max() / expected.abs().max()) < 1e-11
    assert int(solved.iterations.max()) == 1


@pytest.mark.parametrize("wires", [dict.fromkeys(WIRES, 0.0), WIRES | {"r_bit": 0.0}, WIRES | {"r_word": 0.0}])
def test_wires_without_resistance(wires: dict[str, float]) -> None:
    g, v = arrays(6, 5), voltages(2, 6)
    solved = solve_nonlinear(g, v, sinh_law, **wires)
    if any(wires.values()):
        # A thousandth of an ohm is as good as none at 1e-6.
        near = solve_nonlinear(g, v, sinh_law, **{name: ohm or 1e-3 for name, ohm in wires.items()})
        torch.testing.assert_close(solved.current, near.current, rtol=0, atol=1e-5 * float(near.current.abs().max()))
    else:
        expected = sinh_law(g, v.unsqueeze(-1)).sum(dim=-2)
        torch.testing.assert_close(solved.current, expected, rtol=1e-12, atol=0)


def test_a_steep_law_is_damped_and_converges() -> None:
    """20 times the voltage scale over 10 kohm: exp(20) times the current of an ohmic cell, but for the wires."""
    steep = {"r_word": 1e4, "r_bit": 1e4, "r_source": 0.0, "r_sink": 0.0}
    g, v = torch.full((3, 5), 2e-5, dtype=torch.float64), torch.full((1, 3), 0.2, dtype=torch.float64)

    def law(g: Tensor, u: Tensor) -> Tensor:
        return g * 0.01 * torch.sinh(u / 0.01)

    solved = solve_nonlinear(g, v, law, **steep)
    assert 5 < int(solved.iterations) < 60
    expected = nodal_continued(g.numpy(), v[0].numpy(), steep)
    assert abs(solved.current[0].numpy() - expected).max() <= 1e-9 * abs(expected).max()


def nodal_continued(g: Vector, v: Vector, wires: dict[str, float]) -> Vector:
    """The same circuit by minimising its co-content, which is convex: scipy's trust region, no Newton of ours."""
    from scipy.optimize import root

    rows, cols = g.shape
    line = np.minimum.outer(np.arange(1, cols + 1), np.arange(1, cols + 1)) * wires["r_word"]
    left = np.arange(rows, 0, -1)
    bit = np.minimum.outer(left, left) * wires["r_bit"]

    def drops(x: Vector) -> Vector:
        u = x.reshape(rows, cols) * 0.01
        j = g * 0.01 * np.sinh(u / 0.01)
        left: Vector = (u + j @ line + bit @ j - v[:, None]).ravel()
        return left

    found = np.zeros(rows * cols)
    for share in np.linspace(0.05, 1, 40):
        scaled = v * share
        solution = root(lambda x, s=scaled: drops(x) + np.repeat(v - s, cols), found, method="hybr", tol=1e-14)
        found = solution.x
    assert abs(drops(found)).max() < 1e-12
    return np.asarray((g * 0.01 * np.sinh(found.reshape(rows, cols))).sum(axis=0))


@pytest.mark.parametrize(
    "effect", [IV("sinh", v0=0.05), IV("polynomial", c3=30.0), IV("poole_frenkel", field=3.0), IV("device")]
)
def test_laws_of_the_effect_and_of_devices(effect: IV) -> None:
    device = StanfordPKUCell() if effect.model == "device" else Ideal()
    context = Context(device)
    g = device.g_min + arrays(5, 4) / 2e-4 * (device.g_max - device.g_min)
    v = voltages(2, 5) / 0.2 * device.read_voltage
    law = effect.law(context)
    free = solve_nonlinear(g, v, law, r_word=0.0, r_bit=0.0)
    if effect.model != "device":
        expected = torch.einsum("tvr,rc->vc", effect.inputs(v, context), g)
        torch.testing.assert_close(free.current, expected, rtol=1e-10, atol=0)
    wired = solve_nonlinear(g, v, law, **WIRES)
    assert bool((wired.current.abs() < free.current.abs() + 1e-3 * free.current.abs().max()).all())
    assert not torch.allclose(wired.current, free.current, rtol=1e-3)


def test_float32_and_broadcasting() -> None:
    g, v = arrays(2, 1, 10, 8), voltages(3, 4, 10)
    solved = solve_nonlinear(g, v, sinh_law, **WIRES)
    assert solved.current.shape == (2, 3, 4, 8)
    one = solve_nonlinear(g[1, 0], v[2], sinh_law, **WIRES)
    torch.testing.assert_close(solved.current[1, 2], one.current, rtol=0, atol=1e-11 * float(one.current.abs().max()))
    single = solve_nonlinear(g.float(), v.float(), sinh_law, **WIRES)
    assert single.current.dtype == torch.float32
    difference = (single.current.double() - solved.current).abs().max() / solved.current.abs().max()
    assert float(difference) < 1e-4


def test_what_does_not_converge_names_layer_array_and_vector() -> None:
    g, v = arrays(2, 4, 3), torch.full((2, 1, 4), 0.2, dtype=torch.float64)
    v[0] = 0  # nothing flows in the first array
    with pytest.raises(SimulationError, match=r"layer 'head', array \[1\], input vector 0: the circuit did"):
        solve_nonlinear(g, v, sinh_law, **WIRES, max_iterations=1, name="head")
    with pytest.raises(SimulationError, match="must not fall with the voltage"):
        # A law that turns down has no solution near, or several.
        solve_nonlinear(g, v, lambda g, u: 50 * g * torch.sin(u / 0.004), r_word=1e4, r_bit=1e4)


def test_bad_values_are_told() -> None:
    g, v = arrays(4, 3), voltages(2, 4)
    with pytest.raises(SimulationError, match=r"v must be finite voltages \[..., vectors, 4\]"):
        solve_nonlinear(g, v[:, :3], sinh_law, **WIRES)
    with pytest.raises(SimulationError, match="v must be finite voltages"):
        solve_nonlinear(g, v * math.nan, sinh_law, **WIRES)
    with pytest.raises(SimulationError, match=r"g\[0, 0\] is -1 S"):
        solve_nonlinear(torch.full_like(g, -1.0), v, sinh_law, **WIRES)
    with pytest.raises(SimulationError, match="r_sink must be >= 0 ohm"):
        solve_nonlinear(g, v, sinh_law, r_word=1.0, r_bit=1.0, r_sink=-2.0)


# Mean error over the mean current, and largest over the largest.
LAWS = {
    "default": (IV(), 0.0012, 0.0016),
    "sinh, V_r = v0": (IV(v0=0.1), 0.0063, 0.0086),
    "sinh, V_r = 2 v0": (IV(v0=0.05), 0.0145, 0.0237),
    "polynomial": (IV("polynomial"), 0.00045, 0.0006),
    "poole_frenkel": (IV("poole_frenkel"), 0.0093, 0.0112),
}


@pytest.mark.parametrize("name", LAWS)
def test_the_engines_superposition_errs_as_the_effects_docstring_says(name: str) -> None:
    """What a layer computes under `ir_drop` with `iv`, h(v) @ G_eff, against the circuit; 128 x 128 cells."""
    effect, mean, largest = LAWS[name]
    wires, context = {"r_word": 1.0, "r_bit": 1.0, "r_source": 100.0, "r_sink": 100.0}, Context(Ideal())
    generator = torch.Generator().manual_seed(0)
    g = torch.rand(128, 128, generator=generator, dtype=torch.float64) * 19.9e-6 + 0.1e-6
    v = torch.rand(2, 128, generator=generator, dtype=torch.float64) * 0.1
    v *= torch.rand(v.shape, generator=generator) < 0.5
    exact = solve_nonlinear(g, v, effect.law(context), **wires).current
    approximate = effect.inputs(v, context)[0] @ effective_conductance(g, **wires)
    error = (approximate - exact).abs()
    assert float(error.mean() / exact.mean()) == pytest.approx(mean, rel=0.05)
    assert float(error.max() / exact.max()) == pytest.approx(largest, rel=0.05)
