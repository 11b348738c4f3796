"""What goes on which arrays, and that nothing stays digital, or is computed around its arrays, unsaid."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from memristor_plugins.crossbar.convert import analog_layers, analogize, calibrate, program
from memristor_plugins.crossbar.layer import AnalogLayer
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.devices.adaptive_2d import Adaptive2D
from memristor_plugins.devices.ideal import Ideal
from memristor_plugins.errors import ConfigError, SimulationError
from memristor_plugins.mappings.differential import Differential
from memristor_plugins.nonidealities.dac import DAC
from memristor_plugins.nonidealities.programming import Programming

PLAIN = Stack(Ideal(), Differential(16, 16))
OTHER = Stack(Adaptive2D(), Differential(8, 8), {"programming": Programming()})
THIRD = Stack(Adaptive2D(), Differential(4, 4))


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)),
        nn.Flatten(),
        nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 2)),
    )


def placed(module: nn.Module, overrides: Mapping[str, Stack | None]) -> dict[str, Stack]:
    return {name: layer.stack for name, layer in analog_layers(analogize(module, PLAIN, overrides=overrides)).items()}


def test_the_first_pattern_that_matches_is_taken() -> None:
    assert placed(network(), {"0.0": None, "0.*": OTHER, "2.[0-1]": THIRD}) == {
        "0.2": OTHER,
        "2.0": THIRD,
        "2.2": PLAIN,
    }
    assert placed(network(), {"2.2": None, "*": OTHER}) == {"0.0": OTHER, "0.2": OTHER, "2.0": OTHER}


def test_a_layer_that_is_kept_digital_is_the_copied_layer() -> None:
    digital = network()
    converted = analogize(digital, PLAIN, overrides={"2.*": None})
    kept = converted.get_submodule("2.0")
    assert type(kept) is nn.Linear
    assert kept is not digital.get_submodule("2.0")
    x = torch.rand(2, 3, 6, 6)
    program(converted.eval())
    torch.testing.assert_close(converted(x), digital.eval()(x))


def test_a_pattern_may_name_any_name_of_a_shared_layer() -> None:
    shared = nn.Linear(4, 4)
    module = nn.ModuleDict({"first": shared, "second": nn.Sequential(shared), "third": nn.Linear(4, 4)})
    assert placed(module, {"second.0": OTHER}) == {"first": OTHER, "third": PLAIN}
    assert placed(module, {"second.*": None}) == {"third": PLAIN}


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("2.3", "overrides: '2.3' matches no layer; the nearest is '2.2'"),
        ("classifier", "'classifier' matches no layer; the nearest is '"),
        ("2", r"'2' is a module with layers, not a layer; '2\.\*' are its layers"),
        ("0.1", "'0.1' matches no layer; the nearest is '"),  # a ReLU
    ],
)
def test_a_pattern_that_matches_nothing_is_an_error(pattern: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        analogize(network(), PLAIN, overrides={"0.*": OTHER, pattern: None})


def test_a_pattern_that_others_leave_nothing_warns_once() -> None:
    with pytest.warns(UserWarning, match=r"'0\.2' has no effect, as patterns before it") as caught:
        assert placed(network(), {"0.*": OTHER, "0.2": None})["0.2"] is OTHER
    assert len(caught) == 1


@pytest.mark.parametrize(("module", "overrides"), [(nn.ReLU(), {}), (nn.Linear(2, 2), {"layer": None})], ids=str)
def test_a_network_of_which_nothing_is_converted_warns(module: nn.Module, overrides: dict[str, None]) -> None:
    with pytest.warns(UserWarning, match="no layer was put on arrays") as caught:
        analogize(module, PLAIN, overrides=overrides)
    assert len(caught) == 1


# --- layers that are not what they seem -----------------------------------------------------------------------------


class Standardised(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight - self.weight.mean(), self.bias)


REFUSED: list[tuple[nn.Module, str]] = [
    (Standardised(2, 2, 3), "layer 'body.0': Standardised overrides forward of Conv2d"),
    (nn.utils.parametrizations.spectral_norm(nn.Linear(2, 2)), "weight of ParametrizedLinear is computed"),
    (nn.utils.spectral_norm(nn.Linear(2, 2)), "weight of Linear is computed"),
    (nn.LazyLinear(2), "LazyLinear has no shape yet; run one forward pass"),
    (nn.MultiheadAttention(4, 2), "MultiheadAttention uses the weights of its projections without calling a layer"),
]


@pytest.mark.parametrize(("layer", "message"), REFUSED, ids=lambda v: type(v).__name__)
def test_a_layer_that_arrays_would_compute_otherwise_is_refused_and_can_be_kept(layer: nn.Module, message: str) -> None:
    module = nn.Sequential()
    module.add_module("body", nn.Sequential(layer))
    module.add_module("head", nn.Linear(2, 2))
    with pytest.raises(SimulationError, match=message) as caught:
        analogize(module, PLAIN)
    assert "\n" not in str(caught.value)
    assert placed(module, {"body.0*": None}) == {"head": PLAIN}


def test_a_layer_that_computed_its_weight_is_refused_after_a_forward_too() -> None:
    """Such a weight cannot be copied: torch's own message would name neither layer nor remedy."""
    layer = nn.utils.spectral_norm(nn.Linear(2, 2))
    layer(torch.ones(1, 2))
    with pytest.raises(SimulationError, match="layer '0': the weight of Linear is computed"):
        analogize(nn.Sequential(layer), PLAIN)


@pytest.mark.parametrize("module", [nn.LSTM(2, 2), nn.GRUCell(2, 2), nn.Bilinear(2, 2, 2)], ids=str)
def test_products_that_stay_digital_are_told_unless_that_is_meant(module: nn.Module) -> None:
    body = nn.ModuleDict({"cell": module, "head": nn.Linear(2, 2)})
    with pytest.warns(UserWarning, match="layer 'cell': .* is not simulated and stays digital") as caught:
        analogize(body, PLAIN)
    assert len(caught) == 1
    assert placed(body, {"cell": None}) == {"head": PLAIN}


@pytest.mark.filterwarnings(
    "ignore:`torch.jit.script` is deprecated", "ignore:.*torch.jit", "ignore::DeprecationWarning"
)
def test_compiled_networks_and_converted_ones_are_refused() -> None:
    with pytest.raises(SimulationError, match="module '0': OptimizedModule is compiled"):
        analogize(nn.Sequential(torch.compile(nn.Sequential(nn.Linear(2, 2)))), PLAIN)  # type: ignore[call-overload]
    with pytest.raises(SimulationError, match="ScriptModule is compiled"):
        analogize(nn.Sequential(torch.jit.script(nn.Sequential(nn.Linear(2, 2)))), PLAIN)
    with pytest.raises(SimulationError, match="layer '0' stands on arrays already"):
        analogize(analogize(nn.Sequential(nn.Linear(2, 2)), PLAIN), PLAIN)


class Tied(nn.Module):
    def __init__(self, first: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, nn.Linear(4, 4, bias=False)
        self.second.weight = first.weight  # type: ignore[assignment]


def test_tied_weights_are_told() -> None:
    with pytest.warns(UserWarning, match="layers 'first' and 'second' share one weight; each of") as caught:
        converted = analogize(Tied(nn.Linear(4, 4)), PLAIN)
    assert len(caught) == 1
    assert converted.first.weight is converted.second.weight  # type: ignore[union-attr]
    with pytest.warns(UserWarning, match=r"layer 'second': its weight is also 'first.weight' \(Embedding\)") as caught:
        analogize(Tied(nn.Embedding(4, 4)), PLAIN)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        analogize(nn.Sequential(Tied(nn.Embedding(4, 4)), nn.Linear(2, 2)), PLAIN, overrides={"0.*": None})


def test_hooks_that_do_not_go_along_are_told() -> None:
    module = nn.Sequential(nn.Linear(2, 2))
    module[0].register_forward_hook(lambda *_: None)
    with pytest.warns(UserWarning, match="layer '0': its hooks are not carried over"):
        analogize(module, PLAIN)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")  # of the digital network
def test_torch_takes_no_shortcut_round_the_arrays_of_a_transformer() -> None:
    """In eval mode without gradients, torch's encoder reads the weights of its Linears and calls none of them."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    digital = nn.TransformerEncoder(layer, 2).eval()
    stack = Stack(Adaptive2D(), Differential(), {"programming": Programming(strength=5)})
    converted = analogize(digital, stack, overrides={"*self_attn*": None})
    names = [f"layers.{n}.linear{m}" for n in (0, 1) for m in (1, 2)]
    assert list(analog_layers(converted)) == names
    program(converted)
    called: list[str] = []
    for name, analog in analog_layers(converted).items():

        def tell(x: Tensor, name: str = name, run: Callable[[Tensor], Tensor] = analog.forward) -> Tensor:
            called.append(name)
            return run(x)

        # Not a hook, at whose sight torch itself gives the shortcut up.
        analog.forward = tell  # type: ignore[method-assign]
    x, hidden = torch.randn(3, 5, 8), torch.zeros(3, 5, dtype=torch.bool)
    hidden[0, 3:] = True
    with torch.no_grad():
        y = converted(x, src_key_padding_mask=hidden)
        assert called == names
        assert float((y - digital(x, src_key_padding_mask=hidden))[1:].abs().max()) > 1e-3


class Bypass(nn.Module):
    """Takes the weight of a layer instead of calling it."""

    def __init__(self) -> None:
        super().__init__()
        self.called, self.taken = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(self.called(x), self.taken.weight)


def test_calibration_tells_of_a_layer_that_nobody_called() -> None:
    converted = analogize(Bypass(), Stack(Ideal(), Differential(), {"dac": DAC()}))
    with pytest.warns(UserWarning, match="layer 'taken' was not called: no range of it is calibrated") as caught:
        calibrate(converted, [torch.rand(2, 4)])
    assert len(caught) == 1
    assert isinstance(converted.called, AnalogLayer)
    assert converted.called.calibrated
