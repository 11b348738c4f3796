"""Effects of a read: fluctuations that stay for an evaluation, currents that are not ohmic, passive arrays."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator, Tensor, nn

from memristor_plugins.api import (
    AnalogLayer,
    ConfigError,
    NonIdeality,
    SimulationError,
    Stack,
    analogize,
    calibrate,
    program,
)
from memristor_plugins.devices.ideal import Ideal
from memristor_plugins.devices.stanford_pku import StanfordPKUCell
from memristor_plugins.interfaces.device import Device
from memristor_plugins.interfaces.nonideality import Context
from memristor_plugins.mappings.differential import Differential
from memristor_plugins.nonidealities.adc import ADC
from memristor_plugins.nonidealities.dac import DAC
from memristor_plugins.nonidealities.flicker import Flicker
from memristor_plugins.nonidealities.iv import IV
from memristor_plugins.nonidealities.read_noise import ReadNoise
from memristor_plugins.nonidealities.rtn import RTN
from memristor_plugins.nonidealities.sneak import Sneak

Z = 4.9  # two-sided normal quantile of 1e-6
N = 400_000


def generator(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def context(device: Device | None = None, seed: int = 0) -> Context:
    return Context(Ideal() if device is None else device, generator=generator(seed))


def inputs(rows: int, *, signed: bool = False) -> Tensor:
    x = torch.rand(8, rows, generator=generator(5))
    return 2 * x - 1 if signed else x


def layer_on(effects: dict[str, NonIdeality], rows: int = 20, cols: int = 6, **arrays: Any) -> AnalogLayer:
    torch.manual_seed(1)
    stack = Stack(Ideal(), Differential(**arrays), {"dac": DAC(16, "fixed", low=-1.0, high=1.0), **effects})
    layer = analogize(nn.Linear(rows, cols, bias=False), stack).eval()
    assert isinstance(layer, AnalogLayer)
    calibrate(layer, [inputs(rows, signed=True)])
    program(layer)
    return layer


# --- 1/f and telegraph noise -----------------------------------------------------------------------------------------


def test_flicker_has_the_variance_of_its_band() -> None:
    effect, device, g = Flicker(1e-4, 10.0), Ideal(), torch.full((N,), 5e-6)
    sigma = math.sqrt(1e-4 * math.log(10.0 / device.read_time))
    ratio = effect.apply(g, None, context(device)).double() / 5e-6
    assert abs(float(ratio.mean()) - 1) < Z * sigma / math.sqrt(N)
    assert float(ratio.std()) == pytest.approx(sigma, rel=Z / math.sqrt(2 * N))
    # Cells apart, and evaluations apart.
    assert abs(float(torch.corrcoef(ratio.view(2, -1))[0, 1])) < Z / math.sqrt(N / 2)
    again = effect.apply(g, None, context(device, 1)).double()
    assert abs(float(torch.corrcoef(torch.stack((ratio, again)))[0, 1])) < Z / math.sqrt(N)
    assert float(Flicker(1.0, 1e6).apply(g, None, context()).min()) == 0.0


def test_flicker_needs_a_band() -> None:
    with pytest.raises(ConfigError, match="longer than the device's read"):
        Flicker(1e-5, 1e-9).apply(torch.ones(3), None, context())


@pytest.mark.parametrize(("p", "occupancy"), [(0.3, 0.5), (1.0, 0.2), (0.05, 0.9)])
def test_telegraph_noise_has_its_moments(p: float, occupancy: float) -> None:
    effect, g = RTN(p, 0.1, 0.3, occupancy), torch.full((N,), 5e-6)
    state = effect.sample((N,), generator=generator())
    assert state is not None
    share = float((state > 0).double().mean())
    assert abs(share - p) <= Z * math.sqrt(p * (1 - p) / N)
    logs = state[state > 0].double().log()
    assert float(logs.mean()) == pytest.approx(math.log(0.1), abs=Z * 0.3 / math.sqrt(len(logs)))
    assert float(logs.std()) == pytest.approx(0.3, rel=Z / math.sqrt(2 * len(logs)))
    change = effect.apply(g, state, context(seed=2)).double() / 5e-6 - 1
    second = p * 0.01 * math.exp(2 * 0.3**2) * occupancy * (1 - occupancy)
    fourth = float(change.pow(4).mean())
    assert abs(float(change.mean())) < Z * math.sqrt(second / N)
    # The deviation of the traps' own squares is in the fourth moment as measured.
    assert abs(float(change.square().mean()) - second) < Z * math.sqrt(fourth / N)
    # Two levels a cell.
    other = effect.apply(g, state, context(seed=1)).double() / 5e-6 - 1
    assert bool((((change - other).abs() - state.abs()).abs() < 1e-6).logical_or(change == other).all())


@pytest.mark.parametrize("effect", [Flicker(0.0), RTN(0.0), RTN(amplitude=0.0)], ids=["flicker", "no traps", "no step"])
def test_nothing_is_the_identity(effect: NonIdeality) -> None:
    g = torch.rand(1000)
    state = effect.sample(g.shape, generator=generator())
    assert torch.equal(effect.apply(g, state, context()), g)
    x = inputs(20)
    assert torch.equal(layer_on({"it": effect})(x), layer_on({})(x))


@pytest.mark.parametrize("effect", [Flicker(1e-3), RTN(0.5)], ids=["flicker", "rtn"])
def test_fluctuations_stay_for_an_evaluation(effect: NonIdeality) -> None:
    x, layer = inputs(20), layer_on({"it": effect})
    with torch.no_grad():
        first = layer(x)
        assert torch.equal(layer(x), first)
        program(layer, 0, 5.0)
        assert not torch.equal(layer(x), first)
        program(layer, 0, 0.0)
        assert torch.equal(layer(x), first)
    layer.train()
    layer(x).sum().backward()
    assert layer.weight.grad is not None
    assert bool(layer.weight.grad.isfinite().all())


# --- current laws ----------------------------------------------------------------------------------------------------

LAWS = {
    "sinh": (IV("sinh", v0=0.05), lambda u: torch.sinh(u / 0.05) * 0.1 / math.sinh(2)),
    "polynomial": (IV("polynomial", c3=30.0, c5=200.0), lambda u: u * (1 + 30 * u**2 + 200 * u**4) / 1.32),
    "poole_frenkel": (IV("poole_frenkel", field=3.0), lambda u: u * torch.exp(3 * (u.abs().sqrt() - 0.1**0.5))),
}


@pytest.mark.parametrize("subtract", ["analog", "digital"])
@pytest.mark.parametrize("name", LAWS)
def test_a_law_bends_every_input(name: str, subtract: str) -> None:
    effect, law = LAWS[name]
    layer, x = layer_on({"iv": effect}, subtract=subtract), inputs(20, signed=True)
    device, full = layer.stack.device, float(layer.ranges.known("input")[1])
    assert device.read_voltage == 0.1
    volts = x.double() * 0.1 / full
    expected = law(volts) * full / 0.1 @ layer.weight.detach().double().t()
    with torch.no_grad():
        torch.testing.assert_close(layer(x).double(), expected, rtol=0, atol=1e-4 * float(expected.abs().max()))
    # At the read voltage a cell conducts as it was verified.
    top = torch.tensor([0.1, -0.1], dtype=torch.float64)
    torch.testing.assert_close(effect.inputs(top, context(device))[0], top)


def test_weak_laws_are_ohmic_in_the_limit() -> None:
    v = torch.linspace(-0.1, 0.1, 41, dtype=torch.float64)
    for effect in (IV("sinh", v0=1e3), IV("polynomial", c3=0.0), IV("poole_frenkel", field=0.0)):
        torch.testing.assert_close(effect.inputs(v, context())[0], v, rtol=1e-8, atol=0)


@given(st.integers(1, 8), st.floats(0.05, 1.0))
def test_terms_add_up_to_the_voltage(terms: int, share: float) -> None:
    """Lagrange's polynomials reproduce v itself, so an ohmic device is exact whatever the number of terms."""
    effect, ideal = IV("device", terms=terms), context()
    v = torch.linspace(-share, share, 21, dtype=torch.float64) * ideal.device.read_voltage
    torch.testing.assert_close(effect.inputs(v, ideal).sum(dim=0), v, rtol=1e-9, atol=1e-15)


def test_the_devices_own_law_is_followed() -> None:
    device = StanfordPKUCell()
    g = torch.logspace(math.log10(device.g_min), math.log10(device.g_max), 7, dtype=torch.float64)
    v = torch.linspace(-device.read_voltage, device.read_voltage, 101, dtype=torch.float64)
    exact = device.current(g[:, None], v)
    odd = (exact - device.current(g[:, None], -v)) / 2
    errors = []
    for terms in (1, 2, 3):
        effect, here = IV("device", terms=terms), context(device)
        found = torch.einsum("jg,jv->gv", effect.apply(g, None, here), effect.inputs(v, here))
        errors.append(float(((found - odd).abs().amax(dim=1) / odd.abs().amax(dim=1)).max()))
    assert errors[2] < errors[1] < errors[0]
    assert errors[2] < 1e-4


def test_sinh_is_followed_by_three_terms() -> None:
    """The figure of the class: V_r = 2 v0."""
    points = IV("device").voltages(2.0)
    v = torch.linspace(-2, 2, 401, dtype=torch.float64)
    law = Context(type("Law", (), {"read_voltage": 2.0})())
    basis = IV("device").inputs(v, law)
    found = sum(b * math.sinh(p) / p for b, p in zip(basis, points, strict=True))
    assert float((found - v.sinh()).abs().max()) < 1e-3 * math.sinh(2)


def test_read_noise_is_driven_with_the_voltage() -> None:
    """On an ohmic device the law's terms change neither the sums nor their noise."""
    torch.manual_seed(0)

    class Noisy(Ideal):
        def read_std(self, g: Tensor, state: Any, seconds: float) -> Tensor:
            return 0.1 * g

    x = torch.rand(20_000, 9, generator=generator())
    found = []
    for extra in ({}, {"iv": IV("device", terms=3)}):
        stack = Stack(Noisy(), Differential(), {"dac": DAC(12, "max"), "read_noise": ReadNoise(), **extra})
        torch.manual_seed(0)
        layer = analogize(nn.Linear(9, 2, bias=False), stack).eval()
        calibrate(layer, [x])
        program(layer)
        with torch.no_grad():
            found.append((layer(x) - x @ layer.weight.t()).std(dim=0))
    torch.testing.assert_close(found[0], found[1], rtol=2 * Z / math.sqrt(2 * len(x)), atol=0)


# --- passive arrays --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("subtract", ["analog", "digital"])
def test_unselected_cells_offset_every_sum(subtract: str) -> None:
    rows, x = 20, inputs(20)
    sneak = Sneak(4, bias=0.5, selectivity=5.0)
    layer = layer_on({"sneak": sneak}, rows=rows, subtract=subtract, columns=16)
    layer.stack.mapping.rows = 8  # three arrays of 8, 8 and 4 word lines, read four at a time
    program(layer)
    weight, full = layer.weight.detach(), float(layer.ranges.known("input").abs().max())
    # In an array of eight, each half is unselected while the other is read; the last array is read at once.
    leak = 0.1 * full * weight[:, :16].sum(dim=1)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), x @ weight.t() + leak, rtol=0, atol=2e-4)


def test_no_bias_no_leak() -> None:
    x = inputs(20)
    torch.testing.assert_close(layer_on({"sneak": Sneak(bias=0.0)})(x), layer_on({})(x), rtol=0, atol=0)


def test_few_word_lines_a_read_are_converted_by_themselves() -> None:
    layer = layer_on({"sneak": Sneak(4, bias=0.0), "adc": ADC(12, "max")})
    assert layer.plan.row_tiles == 5
    assert "4 at a time" in layer.plan.reason


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "effect"), [("iv", IV()), ("sneak", Sneak())])
def test_what_needs_a_voltage_needs_a_dac(name: str, effect: NonIdeality) -> None:
    with pytest.raises(SimulationError, match=rf"nonideality={name} .* add dac: nonideality=\[{name},dac\]"):
        Stack(Ideal(), Differential(), {name: effect})


def test_a_polynomial_stays_positive() -> None:
    with pytest.raises(ConfigError, match="negative"):
        IV("polynomial", c3=-200.0).inputs(torch.ones(2), context())
