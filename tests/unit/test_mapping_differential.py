"""Differential pairs: signed weights as conductances, and back."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from memristor_plugins.devices.adaptive_2d import Adaptive2D
from memristor_plugins.devices.ideal import Ideal
from memristor_plugins.interfaces.device import Device
from memristor_plugins.mappings.differential import Differential

DEVICES: list[Device] = [Ideal(), Ideal(g_min=5e-6), Adaptive2D()]
EVERY = [Differential(subtract=s, scaling=c) for s in ("analog", "digital") for c in ("layer", "column")]  # type: ignore[arg-type]


def weights(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("device", DEVICES, ids=lambda d: f"{type(d).__name__}-{d.g_min:g}")
@pytest.mark.parametrize("mapping", EVERY, ids=lambda m: f"{m.subtract}-{m.scaling}")
@given(st.lists(st.integers(1, 5), min_size=2, max_size=4), st.sampled_from([0.0, 1e-20, 1e-3, 1.0, 1e6]))
@settings(max_examples=20, deadline=None)
def test_conductances_lie_in_range_and_their_currents_are_the_weights(
    mapping: Differential, device: Device, shape: list[int], size: float
) -> None:
    weight = size * weights(*shape)
    mapped = mapping.to_conductance(weight, device)
    assert mapped.g.shape == (2, *shape)
    assert (mapped.g >= device.g_min * (1 - 1e-6)).all()
    assert (mapped.g <= device.g_max * (1 + 1e-6)).all()
    # one cell of each pair stands at the bottom
    assert torch.equal(mapped.g.amin(dim=0), torch.full(shape, device.g_min))
    back = mapping.from_current(mapping.to_effective(mapped.g, mapped.scale))
    torch.testing.assert_close(back, weight, rtol=1e-6, atol=float(weight.abs().max()) * 3e-7)


def test_the_largest_weight_of_layer_or_column_is_stored_at_g_max() -> None:
    weight, device = weights(2, 6, 4), Ideal(g_min=1e-6)
    g = Differential().to_conductance(weight, device).g.amax(dim=0)
    assert (g >= device.g_max * (1 - 1e-6)).sum() == 1
    g = Differential(scaling="column").to_conductance(weight, device).g.amax(dim=0).amax(dim=-2)
    torch.testing.assert_close(g, torch.full((2, 4), device.g_max))


@pytest.mark.parametrize("mapping", EVERY, ids=lambda m: f"{m.subtract}-{m.scaling}")
def test_effective_std_is_that_of_independent_cells(mapping: Differential) -> None:
    device = Adaptive2D()
    mapped = mapping.to_conductance(weights(3, 2), device)
    std = torch.rand(mapped.g.shape, generator=torch.Generator().manual_seed(1)) * 1e-7
    # The map is linear: its coefficients come one cell at a time.
    clean = mapping.to_effective(torch.zeros_like(mapped.g), mapped.scale)
    expected = torch.zeros_like(clean)
    for i in range(std.numel()):
        one = torch.zeros(std.numel())
        one[i] = 1.0
        coefficient = mapping.to_effective(one.view(std.shape), mapped.scale) - clean
        expected += (coefficient * std.flatten()[i]).square()
    torch.testing.assert_close(mapping.effective_std(std, mapped.scale), expected.sqrt())


def test_gradient_towards_the_weights_is_one() -> None:
    for mapping in EVERY:
        weight = weights(4, 3).double().requires_grad_()
        mapped = mapping.to_conductance(weight, Adaptive2D())
        back = mapping.from_current(mapping.to_effective(mapped.g, mapped.scale))
        (grad,) = torch.autograd.grad(back.sum(), weight)
        torch.testing.assert_close(grad, torch.ones_like(grad))


@pytest.mark.parametrize(
    ("rows", "cols", "arrays"), [(128, 64, 1), (129, 64, 2), (128, 65, 2), (1152, 128, 18), (1, 1, 1)]
)
def test_utilisation_counts_whole_arrays(rows: int, cols: int, arrays: int) -> None:
    use = Differential(rows=128, columns=128).utilisation(rows, cols)
    assert use.arrays == arrays
    assert use.cells_used == 2 * rows * cols
    assert use.fraction == pytest.approx(2 * rows * cols / (arrays * 128 * 128))
