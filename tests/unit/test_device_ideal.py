"""The ideal cell: what is written is what is read, at all times."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from memristor_plugins.devices.ideal import Ideal
from memristor_plugins.errors import ConfigError


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(
    shape=st.lists(st.integers(0, 4), max_size=4).map(tuple),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seconds=st.floats(0, 1e9),
)
@settings(deadline=None)
def test_holds_its_target_exactly_and_for_ever(shape: tuple[int, ...], dtype: torch.dtype, seconds: float) -> None:
    device, generator = Ideal(), seeded()
    before = generator.get_state()
    target = torch.rand(shape, generator=seeded(1), dtype=dtype) * device.g_max
    for state in (
        device.program(target, generator=generator),
        device.hold(target, generator=generator),
        device.program(target, generator=generator, cells=device.fabricate(shape, generator=generator)),
    ):
        g = device.conductance(state, seconds)
        read = device.read(g, state, generator=generator, seconds=seconds)
        for value in (state.g, state.target, g, read):
            assert value.dtype == dtype
            assert torch.equal(value, target)
        assert torch.equal(device.read_std(g, state, seconds), torch.zeros(shape, dtype=dtype))
    assert torch.equal(generator.get_state(), before), "an ideal cell draws nothing"


def test_is_ohmic_at_any_voltage() -> None:
    g, v = torch.tensor([[1e-6], [2e-6]]), torch.tensor([-0.5, 0.0, 0.5])
    assert torch.equal(Ideal().current(g, v), g * v)


def test_no_conductance_is_negative() -> None:
    assert Ideal().program(torch.tensor([-1e-6, 0.0]), generator=seeded()).g.tolist() == [0.0, 0.0]


def test_gradient_passes_at_zero_too() -> None:
    target = torch.tensor([0.0, 1e-6], requires_grad=True)
    (gradient,) = torch.autograd.grad(Ideal().program(target, generator=seeded()).g.sum(), target)
    assert gradient.tolist() == [1.0, 1.0]


def test_has_no_gate() -> None:
    device = Ideal()
    assert not device.gated
    assert device.gain_min == 1.0
    with pytest.raises(NotImplementedError, match="Ideal has no gate"):
        device.nominal_gain(torch.tensor(0.0))


@pytest.mark.parametrize("g_min", [20e-6, 30e-6])
def test_refuses_an_empty_range(g_min: float) -> None:
    with pytest.raises(ConfigError, match=r"device\.g_min: must be below g_max = 2e-05 S"):
        Ideal(g_min=g_min)
