"""How a digital layer's linear operator is a 2-D convolution, exactly: what an analog layer puts on its arrays."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.lazy import LazyModuleMixin

from memristor_plugins.crossbar.geometry import Geometry
from memristor_plugins.crossbar.modulated import ModulatedConv2d
from memristor_plugins.errors import SimulationError

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
FORMS: tuple[type[nn.Module], ...] = (nn.Linear, *CONVOLUTIONS, *TRANSPOSED, ModulatedConv2d)
SUPPORTED = "Linear, Conv1d to Conv3d, ConvTranspose1d to ConvTranspose3d and ModulatedConv2d are"

# Triples are (depth, height, width); what a layer has not is one position of a 1-wide kernel.
Triple = tuple[int, int, int]
# What is put before and after an axis, negative where it is cut off.
Ends = tuple[int, int]


@dataclass(frozen=True)
class Form(ABC):
    """A layer as the 2-D convolution `geometry`: y = unfold(convolve(fold(x), weight(w)), x), the bias left out.

    All three are differentiable, and keep dtype and device.

    Args:
        geometry: the convolution; its zero padding is not in `fold`.
    """

    geometry: Geometry

    @abstractmethod
    def weight(self, w: Tensor) -> Tensor:
        """The layer's own weight parameter -> [out, in / groups, kh, kw] (a view where there is one)."""

    @abstractmethod
    def fold(self, x: Tensor) -> Tensor:
        """The layer's input -> [batch', in, height, width]."""

    @abstractmethod
    def unfold(self, y: Tensor, x: Tensor) -> Tensor:
        """[batch', out, height', width'] -> the output of the layer for the input x."""


@dataclass(frozen=True)
class LinearForm(Form):
    """A Linear is a 1x1 kernel on one pixel; leading dimensions of its input [..., in] are the batch."""

    def weight(self, w: Tensor) -> Tensor:
        return w[:, :, None, None]

    def fold(self, x: Tensor) -> Tensor:
        if x.shape[-1:] != (self.geometry.in_channels,):
            raise SimulationError(f"a Linear of {self.geometry.in_channels} inputs was given {list(x.shape)}")
        # Not -1, which an empty batch leaves open.
        return x.reshape(math.prod(x.shape[:-1]), x.shape[-1], 1, 1)

    def unfold(self, y: Tensor, x: Tensor) -> Tensor:
        return y.reshape(*x.shape[:-1], y.shape[1])


@dataclass(frozen=True)
class ModulatedForm(Form):
    """A ModulatedConv2d is one already; its weight [banks, out, in / groups, kh, kw] keeps its banks."""

    def weight(self, w: Tensor) -> Tensor:
        return w

    def fold(self, x: Tensor) -> Tensor:
        return x

    def unfold(self, y: Tensor, x: Tensor) -> Tensor:
        return y


@dataclass(frozen=True)
class ConvForm(Form):
    """A convolution over one, two or three axes, transposed or not.

    One axis is an image one pixel high. With three, each position of the output along depth is an image of its own,
    whose channels are the input's at the depths that its kernel covers: batch' is [batch, depth'] with depth'
    innermost, and channels within a group are [kd, in / groups], so that word lines are ordered
    (kh, kw, kd, channel).

    A transposed convolution is the convolution of the input with stride - 1 zeros between its pixels, by the kernel
    turned round in every axis, with the channels of each group exchanged and
    dilation (kernel - 1) - padding zeros before and after each axis, output_padding more after it. Zeros are inputs as
    any others: each pixel of the output is one read of all word lines.

    Args:
        axes: spatial axes of the layer, 1 to 3.
        channels: the layer's own input channels.
        depth: (kernel, stride, dilation) along depth.
        zeros: zeros that stand between neighbours along each axis.
        ends: what `fold` puts around each axis; the rest of the padding is the geometry's.
        mode: with what, as `torch.nn.functional.pad` names it.
        transposed: the weight is that of a transposed convolution.
    """

    axes: int
    channels: int
    depth: Triple
    zeros: Triple
    ends: tuple[Ends, Ends, Ends]
    mode: str
    transposed: bool

    def weight(self, w: Tensor) -> Tensor:
        groups = self.geometry.groups
        if self.transposed:
            # [in, out / g, ...] -> [out, in / g, ...]
            w = w.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
            turned = [axis for axis in range(2, w.dim()) if w.shape[axis] > 1]
            w = w.flip(turned) if turned else w
        if self.axes == 1:
            return w.unsqueeze(2)
        # [out, in / g, kd, kh, kw] -> [out, kd * in / g, kh, kw]
        return w.transpose(1, 2).flatten(1, 2) if self.axes == 3 else w

    def fold(self, x: Tensor) -> Tensor:
        self._check(x)
        x = self._volume(x)
        x = self._padded(self._spread(x))
        kernel, stride, dilation = self.depth
        if self.axes < 3:
            return x.squeeze(2)
        span = dilation * (kernel - 1) + 1
        if x.shape[2] < span:
            raise SimulationError(f"a kernel that spans {span} positions of depth does not fit into {x.shape[2]}")
        # [batch, g, in / g, depth', h, w, kd]
        slices: Tensor = x.unflatten(1, (self.geometry.groups, -1)).unfold(3, span, stride)[..., ::dilation]
        # [batch, depth', g, kd, in / g, h, w]
        return slices.permute(0, 3, 1, 6, 2, 4, 5).flatten(2, 4).flatten(0, 1)

    def unfold(self, y: Tensor, x: Tensor) -> Tensor:
        batched = x.dim() == self.axes + 2
        if self.axes == 1:
            y = y.squeeze(2)
        elif self.axes == 3:
            y = y.unflatten(0, (x.shape[0] if batched else 1, self._depths(x))).transpose(1, 2)
        return y if batched else y.squeeze(0)

    def _check(self, x: Tensor) -> None:
        if x.dim() not in (self.axes + 1, self.axes + 2) or x.shape[-self.axes - 1] != self.channels:
            pixels = ", ".join(("depth", "height", "width")[3 - self.axes :])
            raise SimulationError(
                f"a convolution of {self.channels} channels over {self.axes} axes takes [batch, {self.channels}, "
                f"{pixels}] or the same without batch, and was given {list(x.shape)}"
            )

    def _volume(self, x: Tensor) -> Tensor:
        """[batch, in, depth, height, width]."""
        if x.dim() == self.axes + 1:
            x = x.unsqueeze(0)
        return x.reshape(*x.shape[:2], *(1,) * (3 - self.axes), *x.shape[2:])

    def _spread(self, x: Tensor) -> Tensor:
        if not any(self.zeros):
            return x
        size = [n + (n - 1) * zeros for n, zeros in zip(x.shape[2:], self.zeros, strict=True)]
        spread = x.new_zeros(*x.shape[:2], *size)
        d, h, w = (zeros + 1 for zeros in self.zeros)
        spread[:, :, ::d, ::h, ::w] = x
        return spread

    def _padded(self, x: Tensor) -> Tensor:
        if not any(any(ends) for ends in self.ends):
            return x
        # The last axis first, and only the layer's own axes: other modes than zeros need no more and no fewer.
        widths = [n for ends in reversed(self.ends[3 - self.axes :]) for n in ends]
        return self._volume(F.pad(x.flatten(1, 3 - self.axes + 1) if self.axes < 3 else x, widths, mode=self.mode))

    def _depths(self, x: Tensor) -> int:
        """Positions of the output along depth."""
        kernel, stride, dilation = self.depth
        n = x.shape[-3]
        padded = n + (n - 1) * self.zeros[0] + sum(self.ends[0])
        return (padded - dilation * (kernel - 1) - 1) // stride + 1


def form_of(module: nn.Module, name: str) -> Form:
    """The form of a layer.

    Args:
        module: a layer of a type in `FORMS`, or of a subclass of one that changes neither its forward nor its weight.
        name: how errors call it.

    Raises:
        SimulationError: no such layer, naming it and what can be simulated; or a lazy layer before its first forward;
            or a weight that is computed, not a parameter.
    """
    base = base_of(module)
    if base is None:
        raise SimulationError(f"layer '{name}': {type(module).__name__} is not simulated; {SUPPORTED}")
    check_layer(module, name)
    if isinstance(module, nn.Linear):
        return LinearForm(Geometry(module.in_features, module.out_features))
    if isinstance(module, ModulatedConv2d):
        square = ((module.stride,) * 2, (module.padding,) * 2, (module.dilation,) * 2)
        spec = module.spec
        return ModulatedForm(
            Geometry(spec.in_channels, spec.out_channels, spec.kernel_size, *square, groups=module.groups)
        )
    assert isinstance(module, _ConvNd)
    return _of_convolution(module)


def base_of(module: nn.Module) -> type[nn.Module] | None:
    """The type in `FORMS` that a layer is an instance of, if any."""
    return next((base for base in FORMS if isinstance(module, base)), None)


def check_layer(module: nn.Module, name: str) -> None:
    """Refuse a layer of a type in `FORMS` that does not compute what its type computes from its own parameters.

    Raises:
        SimulationError: naming the layer, why, and what to do.
    """
    base = base_of(module)
    assert base is not None
    kind = type(module).__name__
    if isinstance(module, LazyModuleMixin) and module.has_uninitialized_params():
        raise SimulationError(f"layer '{name}': {kind} has no shape yet; run one forward pass before converting it")
    if not isinstance(module, ModulatedConv2d) and module._parameters.get("weight") is None:
        raise SimulationError(
            f"layer '{name}': the weight of {kind} is computed from other parameters (parametrisation, weight norm, "
            "spectral norm or pruning), which arrays do not hold; remove that first "
            f"(torch.nn.utils.parametrize.remove_parametrizations and the like), or keep it digital: "
            f"overrides={{'{name}': None}}"
        )
    own = "forward" if "forward" in vars(module) else None
    for method in ("forward", "_conv_forward", "_output_padding", "__call__"):
        if getattr(type(module), method, None) is not getattr(base, method, None):
            own = own or method
    # A lazy layer becomes its base when it gets its shape; until then it is refused above.
    if own is not None:
        raise SimulationError(
            f"layer '{name}': {kind} overrides {own} of {base.__name__}, and arrays would compute the latter; write "
            f"it as {base.__name__} and other modules, or keep it digital: overrides={{'{name}': None}}"
        )


def _of_convolution(conv: _ConvNd) -> ConvForm:
    axes = len(conv.kernel_size)
    kernel, stride, dilation = (_triple(v, 1) for v in (conv.kernel_size, conv.stride, conv.dilation))
    transposed = isinstance(conv, _ConvTransposeNd)
    if transposed:
        padding, more = _triple(_numbers(conv.padding), 0), _triple(conv.output_padding, 0)
        # What an axis that the layer has not comes to: 1 * (1 - 1) - 0.
        low = [d * (k - 1) - p for d, k, p in zip(dilation, kernel, padding, strict=True)]
        ends = [(n, n + m) for n, m in zip(low, more, strict=True)]
        zeros, stride = cast(Triple, tuple(s - 1 for s in stride)), (1, 1, 1)
    else:
        zeros, ends = (0, 0, 0), _conv_ends(conv, axes, kernel, dilation)
    mode = {"zeros": "constant"}.get(conv.padding_mode, conv.padding_mode)
    # Zeros on both sides of height and width are the geometry's, which convolutions pad without a copy.
    common = [max(min(end), 0) if mode == "constant" else 0 for end in ends[1:]]
    if mode == "constant":
        ends = [ends[0], *((low - n, high - n) for (low, high), n in zip(ends[1:], common, strict=True))]
    geometry = Geometry(
        conv.in_channels * kernel[0],
        conv.out_channels,
        kernel[1:],
        stride[1:],
        (common[0], common[1]),
        dilation[1:],
        conv.groups,
    )
    depth = (kernel[0], stride[0], dilation[0])
    return ConvForm(
        geometry, axes, conv.in_channels, depth, zeros, (ends[0], ends[1], ends[2]), mode, transposed=transposed
    )


def _conv_ends(conv: _ConvNd, axes: int, kernel: Triple, dilation: Triple) -> list[Ends]:
    if conv.padding == "same":
        totals = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        return [(n // 2, n - n // 2) for n in totals]
    padding = (0,) * axes if conv.padding == "valid" else _numbers(conv.padding)
    return [(n, n) for n in _triple(padding, 0)]


def _numbers(padding: str | tuple[int, ...]) -> tuple[int, ...]:
    assert not isinstance(padding, str), "torch knows 'same' and 'valid' only"
    return padding


def _triple(values: tuple[int, ...], fill: int) -> Triple:
    triple = (fill,) * (3 - len(values)) + tuple(values)
    return triple[0], triple[1], triple[2]
