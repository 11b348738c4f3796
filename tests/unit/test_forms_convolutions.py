"""Every layer's form computes what the layer computes: outputs and gradients, for all options of torch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from memristor_plugins.crossbar.forms import Form, form_of
from memristor_plugins.crossbar.modulated import ModulatedConv2d
from memristor_plugins.errors import SimulationError
from memristor_plugins.kernels.dynamic import Dynamic

CONVOLUTIONS: list[type[Any]] = [nn.Conv1d, nn.Conv2d, nn.Conv3d]
TRANSPOSED: list[type[Any]] = [nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d]


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def through(form: Form, w: Tensor, x: Tensor) -> Tensor:
    """As an analog layer computes: rows of the matrix, back to kernels, one 2-D convolution."""
    geometry = form.geometry
    kernel = geometry.to_kernel(geometry.to_matrix(form.weight(w)))
    folded = form.fold(x)
    y = geometry.convolve(folded, kernel)
    assert tuple(y.shape[2:]) == geometry.output_size(*folded.shape[2:])
    return form.unfold(y, x)


def assert_same_operator(layer: nn.Module, x: Tensor) -> None:
    """Outputs and both gradients within 1e-10 of the largest."""
    layer, x = layer.double(), x.requires_grad_()
    w = layer.weight
    assert isinstance(w, nn.Parameter)
    expected = layer(x)
    y = through(form_of(layer, "layer"), w, x)
    assert y.shape == expected.shape
    towards = numbers(*expected.shape, seed=1)
    wanted = torch.autograd.grad(expected, (x, w), towards)
    found = torch.autograd.grad(y, (x, w), towards)
    for a, b in zip((y, *found), (expected, *wanted), strict=True):
        assert a.shape == b.shape
        if b.numel():
            assert float((a - b).detach().abs().max()) <= 1e-10 * max(float(b.detach().abs().max()), 1e-300)


@st.composite
def layers(draw: st.DrawFn, kind: type[Any]) -> tuple[nn.Module, Tensor]:
    """A layer with any options that torch takes, and an input that it takes."""
    axes, transposed = int(kind.__name__[-2]), kind in TRANSPOSED

    def each(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(axes))

    groups, kernel, stride, dilation = draw(st.integers(1, 3)), each(1, 3), each(1, 3), each(1, 2)
    channels = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))
    size = each(2, 7 if axes < 3 else 5)
    options: dict[str, Any] = {"padding": each(0, 4)}
    if transposed:
        options["output_padding"] = tuple(
            draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True)
        )
        low = [
            (n - 1) * s - 2 * p + d * (k - 1) + m + 1
            for n, s, p, d, k, m in zip(
                size, stride, options["padding"], dilation, kernel, options["output_padding"], strict=True
            )
        ]
    else:
        options["padding_mode"] = draw(st.sampled_from(["zeros", "reflect", "replicate", "circular"]))
        options["padding"] = draw(st.sampled_from([options["padding"], "same", "valid"]))
        if options["padding"] == "same":
            stride = (1,) * axes
        pads = {"same": tuple(d * (k - 1) for d, k in zip(dilation, kernel, strict=True)), "valid": (0,) * axes}
        around = pads.get(options["padding"]) or tuple(2 * p for p in options["padding"] if not isinstance(p, str))
        # Torch reflects less than the image and wraps round at most once.
        limit = {"reflect": -1, "circular": 0}.get(options["padding_mode"], 99)
        assume(all((p + 1) // 2 <= n + limit for p, n in zip(around, size, strict=True)))
        low = [n + p - d * (k - 1) for n, p, d, k in zip(size, around, dilation, kernel, strict=True)]
    assume(min(low) >= 1)
    layer = kind(*channels, kernel, stride=stride, dilation=dilation, groups=groups, bias=False, **options)
    nn.init.normal_(layer.weight, generator=torch.Generator().manual_seed(draw(st.integers(0, 1000))))
    lead = draw(st.sampled_from([(), (1,), (3,)]))
    return layer, numbers(*lead, channels[0], *size)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("kind", [*CONVOLUTIONS, *TRANSPOSED], ids=lambda k: k.__name__)
@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_convolution_of_any_options(kind: type[Any], data: st.DataObject) -> None:
    assert_same_operator(*data.draw(layers(kind)))


@pytest.mark.parametrize("lead", [(), (1,), (4,), (2, 3), (2, 3, 2), (0,), (3, 0)])
def test_a_linear_of_any_leading_shape(lead: tuple[int, ...]) -> None:
    assert_same_operator(nn.Linear(5, 3, bias=False), numbers(*lead, 5))


@pytest.mark.parametrize("kind", [*CONVOLUTIONS, *TRANSPOSED], ids=lambda k: k.__name__)
def test_an_empty_batch(kind: type[Any]) -> None:
    axes = int(kind.__name__[-2])
    assert_same_operator(kind(4, 6, 2, padding=1, groups=2, bias=False), numbers(0, 4, *(5, 6, 7)[:axes]))


@pytest.mark.parametrize("kind", [*CONVOLUTIONS, *TRANSPOSED], ids=lambda k: k.__name__)
def test_the_bias_belongs_to_dimension_one_of_what_is_unfolded(kind: type[Any]) -> None:
    axes = int(kind.__name__[-2])
    layer, x = kind(3, 4, 2).double(), numbers(2, 3, *(5, 6, 7)[:axes])
    form = form_of(layer, "layer")
    y = form.geometry.convolve(form.fold(x), form.weight(layer.weight)) + layer.bias.view(1, -1, 1, 1)
    torch.testing.assert_close(form.unfold(y, x), layer(x), rtol=1e-10, atol=1e-12)


def test_a_modulated_convolution_keeps_its_banks() -> None:
    layer = ModulatedConv2d(Dynamic(banks=3), 4, 6, (3, 2), stride=2, padding=1, dilation=2, groups=2)
    form, x = form_of(layer, "layer"), numbers(2, 4, 9, 9).float()
    banks = form.weight(layer.kernel.weight)
    assert banks.shape == (3, 6, 2, 3, 2)
    factors = layer.kernel.modulate(x).bank
    assert factors is not None
    parts = [form.unfold(form.geometry.convolve(form.fold(x), bank), x) for bank in banks]
    y = sum(factors[:, k, None, None, None] * part for k, part in enumerate(parts))
    torch.testing.assert_close(y, layer(x))


def test_word_lines_of_a_volume_are_ordered_height_width_depth_channel() -> None:
    """What the docstring of ConvForm says: one row of one output column for each place of the kernel."""
    conv = nn.Conv3d(4, 2, (2, 3, 2), groups=2, bias=False).double()
    form = form_of(conv, "conv")
    matrix = form.geometry.to_matrix(form.weight(conv.weight))
    assert matrix.shape == (2, 2 * 3 * 2 * 2, 1)
    for group in range(2):
        for row in range(24):
            h, w, d, c = torch.unravel_index(torch.tensor(row), (3, 2, 2, 2))
            assert matrix[group, row, 0] == conv.weight[group, c, d, h, w]


@pytest.mark.parametrize(
    "layer", [nn.Linear(4, 3), nn.Conv1d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=(1, 0))], ids=str
)
def test_plain_layers_copy_neither_input_nor_weight(layer: nn.Module) -> None:
    x = torch.zeros(2, 4) if isinstance(layer, nn.Linear) else torch.zeros(2, 4, *(5, 5)[: layer.weight.dim() - 2])  # type: ignore[operator]
    form, w = form_of(layer, "layer"), layer.weight
    assert isinstance(w, Tensor)
    assert form.fold(x).data_ptr() == x.data_ptr()
    assert form.weight(w).data_ptr() == w.data_ptr()


def test_dtype_is_kept_and_memory_format_of_images() -> None:
    form = form_of(nn.Conv2d(4, 4, 3, padding=1), "layer")
    x = torch.zeros(2, 4, 5, 6).to(memory_format=torch.channels_last)
    assert form.fold(x).is_contiguous(memory_format=torch.channels_last)
    for layer in (nn.Conv3d(4, 4, 3, padding=1, padding_mode="circular"), nn.ConvTranspose3d(4, 4, 3, stride=2)):
        assert form_of(layer, "layer").fold(torch.zeros(2, 4, 5, 5, 5, dtype=torch.float16)).dtype == torch.float16


# --- what is refused ------------------------------------------------------------------------------------------------


class Standardised(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight - self.weight.mean(), self.bias)


class Renamed(nn.Conv2d):
    """A subclass that computes the same."""


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.LSTM(2, 2), "layer 'a.b': LSTM is not simulated; Linear, Conv1d to Conv3d, ConvTranspose1d to"),
        (nn.LazyConv2d(3, 3), "layer 'a.b': LazyConv2d has no shape yet; run one forward pass"),
        (nn.LazyLinear(3), "layer 'a.b': LazyLinear has no shape yet"),
        (Standardised(2, 2, 3), "Standardised overrides forward of Conv2d.*overrides={'a.b': None}"),
        (nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)), "weight of ParametrizedLinear is computed"),
        (nn.utils.parametrizations.spectral_norm(nn.Conv1d(2, 2, 3)), "weight of ParametrizedConv1d is computed"),
        (nn.utils.spectral_norm(nn.Conv2d(2, 2, 3)), "weight of Conv2d is computed"),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, nn.Module) else "",
)
def test_what_has_no_form_is_named_with_what_to_do(layer: nn.Module, message: str) -> None:
    with pytest.raises(SimulationError, match=message):
        form_of(layer, "a.b")


def test_a_forward_set_on_the_instance_is_refused() -> None:
    layer = nn.Linear(2, 2)
    layer.forward = lambda x: 2 * x  # type: ignore[method-assign, assignment]
    with pytest.raises(SimulationError, match="Linear overrides forward"):
        form_of(layer, "fc")


def test_a_subclass_that_computes_the_same_and_a_lazy_layer_after_its_first_forward_have_forms() -> None:
    assert_same_operator(Renamed(2, 3, 2, bias=False), numbers(1, 2, 4, 4))
    lazy = nn.LazyConvTranspose2d(3, 2, stride=2, bias=False)
    lazy(torch.zeros(1, 2, 4, 4))
    assert_same_operator(lazy, numbers(1, 2, 4, 4))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(3, 2), (2, 4)),
        (nn.Conv2d(3, 2, 1), (2, 2, 4, 4)),
        (nn.Conv2d(3, 2, 1), (1, 2, 3, 4, 4)),
        (nn.Conv1d(3, 2, 1), (2, 3, 4, 4)),
        (nn.Conv3d(3, 2, 3), (2, 3, 2, 4, 4)),
    ],
    ids=str,
)
def test_an_input_of_another_shape_is_refused(layer: nn.Module, shape: tuple[int, ...]) -> None:
    with pytest.raises(SimulationError, match=r"\[|does not fit"):
        form_of(layer, "layer").fold(torch.zeros(shape))
