"""Layers under torch.compile: the same result as eagerly, and a warning where there is no compiler."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor, nn

from memristor_plugins.crossbar import codes
from memristor_plugins.crossbar.codes import Uniform, add_codes
from memristor_plugins.crossbar.convert import analogize, calibrate, program
from memristor_plugins.crossbar.layer import AnalogLayer
from memristor_plugins.crossbar.modulated import ModulatedConv2d
from memristor_plugins.crossbar.noise import NormalSource
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.devices.adaptive_2d import Adaptive2D
from memristor_plugins.interfaces.nonideality import NonIdeality
from memristor_plugins.kernels.heterosynaptic import Heterosynaptic
from memristor_plugins.mappings.differential import Differential
from memristor_plugins.nonidealities.adc import ADC
from memristor_plugins.nonidealities.dac import DAC
from memristor_plugins.nonidealities.gate import Gate
from memristor_plugins.nonidealities.programming import Programming
from memristor_plugins.nonidealities.read_noise import ReadNoise


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def works() -> bool:
    """A trivial function compiles on this machine."""
    kernel = codes._Compiled()
    kernel.kernel = torch.compile(lambda x: x + 1, fullgraph=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return kernel(torch.zeros(4)) is not None


needs_compiler = pytest.mark.skipif(not works(), reason="torch.compile does not work here (no C++ compiler)")
TO = Uniform(-2.0, 2.0, 2.0 / 127, compiled=True, merged=True)


@needs_compiler
@pytest.mark.parametrize(("banks", "gained", "noisy"), [(1, False, False), (1, False, True), (3, True, True)])
def test_codes_are_the_same_as_eagerly(banks: int, gained: bool, noisy: bool) -> None:
    batch, pixels, converters, lines, nodes = 5, 40, 2, 21, 2 if gained else 1
    gains = numbers(batch, banks, nodes, seed=9).abs() if gained else None
    squares = numbers(batch, pixels, converters, banks, nodes, lines, seed=8).square() * 1e-2 if noisy else None
    totals = []
    for to in (TO, TO._replace(compiled=False)):
        normals, total = NormalSource(torch.Generator().manual_seed(3)), None
        for read in range(3):
            raw = numbers(batch, pixels, converters, banks, nodes, lines, seed=read)
            noise = None if squares is None else squares.clone()
            total = add_codes(total, raw, noise, gains, normals, to)
        assert total is not None
        totals.append(total.sum(dim=-2))
    compiled, eager = totals
    assert not codes.compiled_pass.failed
    assert compiled.shape == eager.shape
    assert torch.equal(compiled, compiled.round())
    # Noise is rounded in another order, so that a sum within 1e-6 of a boundary may take the code beside it.
    assert float((compiled != eager).float().mean()) < (2e-4 if noisy or gained else 1e-9)
    assert float((compiled - eager).abs().max()) <= 1


EFFECTS: dict[str, NonIdeality] = {"programming": Programming(), "read_noise": ReadNoise(), "dac": DAC(), "adc": ADC()}


def pair(module: nn.Module, effects: dict[str, NonIdeality], x: Tensor, rows: int) -> list[AnalogLayer]:
    """The same layer eagerly and compiled, with the same ranges."""
    found = []
    for compiled in (False, True):
        layer = analogize(module, Stack(Adaptive2D(), Differential(rows), effects), compile=compiled)
        assert isinstance(layer, AnalogLayer)
        assert layer.compiled is compiled
        found.append(layer)
    calibrate(found[0], [x])
    found[1].load_state_dict(found[0].state_dict())
    return found


@needs_compiler
@pytest.mark.parametrize("kind", ["static", "gate"])
def test_a_compiled_layer_gives_the_eager_result(kind: str) -> None:
    torch.manual_seed(0)
    x = numbers(6, 8, 16, 16).abs()
    module: nn.Module = nn.Conv2d(8, 24, 3, padding=1)
    effects = EFFECTS
    if kind == "gate":
        module, effects = ModulatedConv2d(Heterosynaptic(banks=2), 8, 24, 3, padding=1), EFFECTS | {"gate": Gate()}
    layers = pair(module, effects, x, 32)
    outputs, trained = [], []
    for layer in layers:
        layer.eval()
        program(layer, 3)
        with torch.inference_mode():
            outputs.append(layer(x))
        layer.train()
        inputs = x.clone().requires_grad_()
        layer(inputs).square().sum().backward()
        assert inputs.grad is not None
        trained.append((inputs.grad, layer.weights.grad))
    assert not codes.compiled_pass.failed
    step = float(layers[0].ranges.sum[1]) / 127
    changed = (outputs[0] - outputs[1]).abs()
    assert float((changed > 1e-4 * step).float().mean()) < 2e-3
    assert float(changed.max()) <= 2.01 * step
    for one, other in zip(*trained, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-3, atol=2e-3 * float(one.abs().max()))


def test_a_converter_that_overrides_its_law_is_not_fused() -> None:
    class Halving(ADC):
        def apply_(self, x: Tensor, state: object, context: object) -> Tensor:
            return x * 0.5

    torch.manual_seed(0)
    digital, x = nn.Linear(32, 6, bias=False), numbers(4, 32)
    layer = analogize(digital, Stack(Adaptive2D(), Differential(8), {"adc": Halving()})).eval()
    calibrate(layer, [x])
    program(layer)
    with torch.inference_mode():
        torch.testing.assert_close(layer(x), 0.5 * digital(x), rtol=1e-4, atol=1e-5)


def test_without_a_compiler_a_layer_runs_eagerly_and_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Tensor:
        raise RuntimeError("No working C++ compiler found\nlong explanation")

    torch.manual_seed(0)
    x = numbers(6, 8, 16, 16).abs()
    eager, layer = pair(nn.Conv2d(8, 24, 3, padding=1), {"dac": DAC(), "adc": ADC()}, x, 16)
    fresh = codes._Compiled()
    fresh.kernel = refuse
    monkeypatch.setattr(codes, "compiled_pass", fresh)
    for one in (eager, layer):
        one.eval()
        program(one)
    with torch.inference_mode():
        with pytest.warns(UserWarning, match="compile=true: torch.compile does not work here.*: No working C") as told:
            y = layer(x)
        assert len(told) == 1
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            layer(x)
        assert torch.equal(y, eager(x))
