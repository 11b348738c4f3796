"""Training steps that read whole columns: what they keep of the arrays, and what they leave to the other reading."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from memristor_plugins.api import compose_stack
from memristor_plugins.crossbar.convert import analogize, calibrate
from memristor_plugins.crossbar.layer import AnalogLayer
from memristor_plugins.crossbar.modulated import ModulatedConv2d
from memristor_plugins.crossbar.whole import coefficients, noise_of
from memristor_plugins.interfaces.kernel import ConvSpec, Kernel, KernelStrategy, Modulation
from memristor_plugins.kernels.condconv import CondConv
from memristor_plugins.kernels.dynamic import Dynamic
from memristor_plugins.kernels.heterosynaptic import Heterosynaptic
from memristor_plugins.kernels.odconv import ODConv
from memristor_plugins.kernels.static import Static
from memristor_plugins.kernels.weight_net import WeightNet

STRATEGIES: dict[str, KernelStrategy] = {
    "static": Static(),
    "gated": Heterosynaptic(banks=3),
    "gated, shared": Heterosynaptic(banks=3, shared_lines=True),
    "digital factors": Dynamic(banks=3),
    "sigmoids": CondConv(banks=3),
}
SMALL_ARRAYS = ["device=adaptive_2d", "mapping.rows=16", "mapping.columns=16"]


def images(count: int = 6, side: int = 7) -> Tensor:
    return torch.rand(count, 8, side, side, generator=torch.Generator().manual_seed(1))


def layer_of(
    strategy: KernelStrategy, stack: list[str], *, groups: int = 1, whole: bool = True, padding: int = 1
) -> AnalogLayer:
    torch.manual_seed(0)
    layer = analogize(ModulatedConv2d(strategy, 8, 6, 3, padding=padding, groups=groups), compose_stack(stack))
    assert isinstance(layer, AnalogLayer)
    calibrate(layer, [images(32)])
    layer.whole = whole
    return layer.train()


def reads_whole(layer: AnalogLayer, x: Tensor | None = None) -> bool:
    layer(images() if x is None else x)
    assert layer.programmed is not None
    return not layer.programmed.columns.kernels


@pytest.mark.parametrize("mapping", ["differential", "offset", "bit_sliced"])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("name", STRATEGIES)
def test_without_errors_it_is_the_digital_layer_and_so_are_gradients(name: str, groups: int, mapping: str) -> None:
    layer = layer_of(STRATEGIES[name], [*SMALL_ARRAYS, f"mapping={mapping}"], groups=groups)
    x = images().requires_grad_()
    error = layer.stack.mapping.weight_error
    found = {}
    for mode in ("digital", "analog"):
        layer.mode = mode  # type: ignore[assignment]
        layer.zero_grad()
        x.grad = None
        y = layer(x)
        y.square().mean().backward()
        found[mode] = [y.detach(), x.grad, *(p.grad for p in layer.parameters() if p.grad is not None)]
    assert reads_whole(layer)
    assert len(found["digital"]) == len(found["analog"])
    for ours, theirs in zip(found["analog"], found["digital"], strict=True):
        assert ours is not None
        assert theirs is not None
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=(1e-5 + 10 * error) * float(theirs.abs().max()))


@pytest.mark.parametrize("name", ["static", "gated, shared"])
def test_a_column_of_one_conversion_is_converted_as_on_the_arrays(name: str) -> None:
    stack = ["device=adaptive_2d", "nonideality=[programming,dac,adc]", "nonidealities.adc.bits=6"]
    whole, each = (layer_of(STRATEGIES[name], stack, whole=w)(images()) for w in (True, False))
    # Sums that lie on the edge of a code may be rounded either way.
    assert float((whole - each).abs().gt(1e-4).float().mean()) < 1e-3


@pytest.mark.parametrize("subtract", ["analog", "digital"])
@pytest.mark.parametrize("name", STRATEGIES)
@torch.no_grad()
def test_converters_err_as_much_as_on_the_arrays(name: str, subtract: str) -> None:
    # Without padding: reads of nothing but zeros err by nothing.
    stack = [*SMALL_ARRAYS, "nonideality=[adc]", "nonidealities.adc.percentile=100", f"mapping.subtract={subtract}"]
    x, errors = images(64), []
    for whole in (True, False):
        layer = layer_of(STRATEGIES[name], stack, whole=whole, padding=0)
        y = layer(x)
        layer.mode = "digital"
        errors.append(float((y - layer(x)).square().mean().sqrt()))
    assert errors[0] == pytest.approx(errors[1], rel=0.05)


@pytest.mark.parametrize("mapping", ["mapping=differential", "mapping=offset"])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("name", STRATEGIES)
@torch.no_grad()
def test_read_noise_has_the_variance_of_the_chip(name: str, groups: int, mapping: str) -> None:
    """Mean over outputs, against the other reading: both of 1.8e5 numbers, standard error 0.5 %."""
    stack = [*SMALL_ARRAYS, "nonideality=[read_noise]", "nonidealities.read_noise.strength=3", mapping]
    variances = []
    for whole in (True, False):
        layer = layer_of(STRATEGIES[name], stack, groups=groups, whole=whole)
        x = images(600)
        y = layer(x)
        layer.mode = "digital"
        noise = y - layer(x)
        assert abs(float(noise.mean())) < 4.5 * float(noise.std()) / math.sqrt(noise.numel())
        variances.append(noise.var(dim=(0, 2, 3)))
    assert float(variances[0].mean() / variances[1].mean()) == pytest.approx(1, abs=0.03)
    # Each output's own share is kept.
    assert ((variances[0] / variances[1] - 1).abs() < 0.15).all()


class Fixed(KernelStrategy):
    """Digital factors of either sign, or none at all."""

    def __init__(self, factors: list[float]) -> None:
        self.factors, self.banks = factors, len(factors)

    def build(self, spec: ConvSpec) -> Kernel:
        return FixedKernel(spec, self.factors)


class FixedKernel(Kernel):
    factors = frozenset({"bank"})

    def __init__(self, spec: ConvSpec, factors: list[float]) -> None:
        super().__init__(spec, len(factors))
        nn.init.normal_(self.weight)
        self.register_buffer("given", torch.tensor(factors))

    def modulate(self, x: Tensor) -> Modulation:
        return Modulation(bank=self.given.expand(len(x), -1))


@pytest.mark.parametrize("gate", [False, True])
@torch.no_grad()
def test_factors_of_either_sign_scale_the_converters_errors(gate: bool) -> None:
    stack = [*SMALL_ARRAYS, "nonideality=[adc]", "nonidealities.adc.percentile=100"]
    errors = []
    for whole in (True, False):
        layer = layer_of(Fixed([-2.0, 1.0]), stack, whole=whole, padding=0)
        assert layer.kernel is not None
        layer.kernel.gate = gate
        x = images(64)
        y = layer(x)
        layer.mode = "digital"
        errors.append(float((y - layer(x)).square().mean().sqrt()))
    assert errors[0] == pytest.approx(errors[1], rel=0.05)


@torch.no_grad()
def test_factors_of_zero_give_zero() -> None:
    layer = layer_of(Fixed([0.0, 0.0]), [*SMALL_ARRAYS, "nonideality=[adc]", "nonidealities.adc.percentile=100"])
    assert torch.equal(layer(images()), torch.zeros(6, 6, 7, 7))


@pytest.mark.parametrize("strategy", [Static(), Heterosynaptic(banks=3, shared_lines=True)])
@torch.no_grad()
def test_sums_beyond_the_range_of_a_single_conversion_are_cut_off(strategy: KernelStrategy) -> None:
    stack = ["device=adaptive_2d", "nonideality=[adc]", "nonidealities.adc.percentile=90"]
    layer = layer_of(strategy, stack)
    low, high = layer.ranges.known("sum").tolist()
    y = layer(images())
    assert reads_whole(layer)
    cut = (y < low * 0.999) | (y > high * 0.999)
    assert float(cut.float().mean()) > 0.02
    assert low * 1.001 <= float(y.min()) < float(y.max()) <= high * 1.001
    each = layer_of(strategy, stack, whole=False)(images())
    torch.testing.assert_close(y[cut], each[cut], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("strategy", [Fixed([3.0]), Fixed([-3.0])])
@pytest.mark.parametrize("mapping", ["differential", "offset", "bit_sliced"])
@torch.no_grad()
def test_what_is_digital_after_the_converter_is_not_cut_off(strategy: KernelStrategy, mapping: str) -> None:
    stack = ["device=adaptive_2d", "nonideality=[adc]", "nonidealities.adc.percentile=100", f"mapping={mapping}"]
    for given in (strategy, Static()):
        whole, each = layer_of(given, stack), layer_of(given, stack, whole=False)
        y, wanted = whole(images(64)), each(images(64))
        whole.mode = "digital"
        clean = whole(images(64))
        errors = [float((found - clean).square().mean().sqrt()) for found in (y, wanted)]
        assert errors[0] == pytest.approx(errors[1], rel=0.15)


@torch.no_grad()
def test_half_precision_keeps_weak_noise() -> None:
    stack = [*SMALL_ARRAYS, "nonideality=[read_noise]", "nonidealities.read_noise.strength=0.5"]
    layer, deviations = layer_of(Static(), stack), []
    for dtype in (torch.float16, torch.float32):
        x = images(64)
        with torch.autocast("cpu", dtype=torch.float16, enabled=dtype is torch.float16):
            y = layer(x).float()
        layer.mode = "digital"
        with torch.autocast("cpu", dtype=torch.float16, enabled=dtype is torch.float16):
            deviations.append(float((y - layer(x).float()).std()))
        layer.mode = "analog"
    assert deviations[0] == pytest.approx(deviations[1], rel=0.1)


@torch.no_grad()
def test_an_empty_batch_is_an_empty_batch() -> None:
    assert layer_of(Static(), [*SMALL_ARRAYS, "nonideality=[read_noise,dac,adc]"])(images(0)).shape == (0, 6, 7, 7)


@torch.no_grad()
def test_a_training_step_leaves_no_chip_to_evaluate_on() -> None:
    layer = layer_of(Static(), [*SMALL_ARRAYS, "nonideality=[programming,dac,adc]"])
    layer(images())
    layer.eval()
    with pytest.warns(UserWarning, match="was not programmed and runs on chip 0"):
        layer(images())
    assert layer.programmed is not None
    assert layer.programmed.columns.kernels


@torch.no_grad()
def test_a_cell_s_variance_is_its_row_s_times_its_column_s() -> None:
    layer = layer_of(Heterosynaptic(banks=2), [*SMALL_ARRAYS, "nonideality=[read_noise]"])
    layer(images())
    assert layer.programmed is not None
    readout = layer.programmed.columns.readout
    assert readout.variance is not None
    variance = readout.variance[0, :, 0, 0]  # [banks, rows, cols]
    noise = noise_of(coefficients(layer.stack.mapping, readout).square(), layer.geometry, readout)
    assert noise is not None
    mean = variance.mean(dim=(1, 2))
    torch.testing.assert_close(noise.rows.permute(0, 2, 3, 1).flatten(1), variance.mean(dim=2))
    torch.testing.assert_close(noise.columns[0], variance.mean(dim=1) / mean[:, None])


@pytest.mark.parametrize(
    "effects",
    [
        ["nonideality=[iv,dac]"],
        ["nonideality=[dac,adc]", "nonidealities.dac.slice_bits=2"],
        ["nonideality=[dac,adc]", "nonidealities.adc.range=learned"],
        ["nonideality=[dac,adc]", "nonidealities.adc.gain_std=0.02"],
        ["nonideality=[dac,adc]", "nonidealities.adc.percentile=95"],
        ["nonideality=[dac,adc]", "nonidealities.adc.signed=unsigned"],
        ["nonideality=[adc]", "nonidealities.adc={range:fixed,low:-1.0,high:1.0}"],
        ["nonideality=[dac,adc]", "nonidealities.dac.offset_std=0.5"],
        ["nonideality=[sneak,dac,adc]", "nonidealities.sneak.rows_per_read=4"],
    ],
)
def test_what_it_does_not_cover_is_read_as_evaluation_reads(effects: list[str]) -> None:
    assert not reads_whole(layer_of(Static(), [*SMALL_ARRAYS, *effects]))


def test_parts_read_apart_are_read_as_evaluation_reads() -> None:
    assert not reads_whole(layer_of(WeightNet(), [*SMALL_ARRAYS, "nonideality=[dac,adc]"]))
    assert reads_whole(layer_of(ODConv(), [*SMALL_ARRAYS, "nonideality=[dac,adc]"]))


def test_each_step_is_fresh_and_reproducible_and_leaves_the_global_generator() -> None:
    layer = layer_of(Heterosynaptic(banks=2), ["stack=headline", "nonidealities.ir_drop.evaluation=fast"])
    before = torch.random.get_rng_state()
    first = layer(images())
    assert torch.equal(layer(images()), first)
    layer.step += 1
    assert not torch.equal(layer(images()), first)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert reads_whole(layer)
