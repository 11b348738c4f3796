"""The analog layer: a convolution or a Linear on crossbar arrays, with the digital layer's own parameters."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from memristor_plugins.crossbar import sums
from memristor_plugins.crossbar.chip import LayerChip, Readout, gate_nodes, programme, read_out
from memristor_plugins.crossbar.geometry import Geometry, interpolation
from memristor_plugins.crossbar.modulated import ModulatedConv2d, modulated_conv2d
from memristor_plugins.crossbar.noise import NormalSource
from memristor_plugins.crossbar.plan import Plan, choose
from memristor_plugins.crossbar.seeds import derive
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.errors import ConfigError, SimulationError
from memristor_plugins.interfaces.kernel import Kernel, Modulation
from memristor_plugins.interfaces.nonideality import Context, Site


@dataclass
class Reading:
    """What one forward pass drove through the arrays, told to `AnalogLayer.observer` when one is set.

    Args:
        x: converted inputs [batch, channels, height, width], in input units.
        gains: physical gain of each bank and node [batch, banks, nodes]; None: one everywhere, one node.
        readout: what the converters saw.
        modulation: factors of this batch.
    """

    x: Tensor
    gains: Tensor | None
    readout: Readout
    modulation: Modulation


class AnalogLayer(nn.Module):
    """A layer on crossbar arrays.

    Its parameters are the digital layer's own, under the same names; chips are rebuilt from their seeds and never
    saved; calibrated converter ranges are.

    Attributes:
        mode: `digital` computes the original layer; `analog` runs on a chip in eval mode, and on a fresh sample each
            step in training mode (see `train_stack`).
        train_stack: what acts in training, a subset of `stack`.
        seed, step, rank: key of the training noise and, with the chip, of the read noise.
    """

    input_range: Tensor
    sum_range: Tensor

    def __init__(self, digital: nn.Module, stack: Stack, name: str) -> None:
        super().__init__()
        self.name = name
        self.stack = self.train_stack = stack
        self.mode: Literal["digital", "analog"] = "analog"
        self.calibrating = False
        self.observer: Callable[[AnalogLayer, Reading], None] | None = None
        self.seed, self.step, self.rank = 0, 0, 0
        self.is_linear = isinstance(digital, nn.Linear)
        self.geometry = _geometry(digital, name)
        self.kernel: Kernel | None = None
        if isinstance(digital, ModulatedConv2d):
            self.kernel = digital.kernel
        else:
            self.weight: nn.Parameter = digital.weight  # type: ignore[assignment]
        self.bias: nn.Parameter | None = digital.bias  # type: ignore[assignment]
        device = self.matrix().device
        # [0, 0] means not calibrated.
        self.register_buffer("input_range", torch.zeros(2, device=device))
        self.register_buffer("sum_range", torch.zeros(2, device=device))
        self.training = digital.training
        self._chip: LayerChip | None = None
        self._written: Tensor | None = None
        self._readout: Readout | None = None
        self._noise: NormalSource | None = None
        self.seconds = 0.0
        self._check_gains()

    # -- parameters and plan -----------------------------------------------------------------------------------------

    @property
    def banks(self) -> int:
        """Stationary kernels of the layer."""
        return 1 if self.kernel is None else self.kernel.banks

    @property
    def gated(self) -> bool:
        """Bank factors are applied by the cells' third terminal."""
        return self.stack.device.gated and self.kernel is not None and self.kernel.gain_range is not None

    @property
    def plan(self) -> Plan:
        """How evaluation is computed."""
        return choose(self.stack, self.geometry, banks=self.banks, gated=self.gated, modulated=self.banks > 1)

    def matrix(self) -> Tensor:
        """Weights as they stand on the arrays, [banks, groups, rows, cols]."""
        if self.kernel is not None:
            return self.geometry.to_matrix(self.kernel.weight)
        weight = self.weight[:, :, None, None] if self.is_linear else self.weight
        return self.geometry.to_matrix(weight).unsqueeze(0)

    @property
    def weights(self) -> nn.Parameter:
        """The trained weights, in the digital layer's own shape."""
        return self.weight if self.kernel is None else self.kernel.weight

    @property
    def calibrated(self) -> bool:
        """Every converter of the layer has a range."""
        needed = ((Site.INPUT, self.input_range), (Site.SUM, self.sum_range))
        return all(bool(known.any()) for site, known in needed if self.stack.at(site) is not None)

    def _check_gains(self) -> None:
        if not self.gated or self.kernel is None or self.kernel.gain_range is None:
            return
        low, reach = self.kernel.gain_range[0], self.stack.device.gain_min
        if low < reach - 1e-6:
            raise ConfigError(
                "kernel.gain_min",
                f"{low:g} is below what the gate of {type(self.stack.device).__name__} reaches; "
                f"the nearest valid value is {math.ceil(reach * 1e4) / 1e4:g}",
            )

    # -- chips -------------------------------------------------------------------------------------------------------

    def program(self, chip: int, seconds: float = 0.0) -> None:
        """Put the layer on a chip, `seconds` after programming. The same chip and weights are not written again."""
        weights = self.weights.detach()
        same = self._written is not None and torch.equal(self._written, weights)
        if self._chip is None or self._chip.seed != chip or not same:
            self._chip = programme(self.stack, self.matrix(), seed=chip, layer=self.name)
            self._written = weights.clone()
        self._readout = read_out(self.stack, self._chip, seconds, nodes=self._gate_nodes())
        self.seconds = seconds
        self._noise = NormalSource(derive(chip, self.name, f"read/{seconds:g}"))

    def _gate_nodes(self) -> Tensor | None:
        """ln of the nominal gains that every bank is computed at, [banks, nodes]; None where gains are scalars."""
        gate = self.stack.at(Site.GATE)
        if gate is None or not self.gated:
            return None
        return gate_nodes(self.stack.device.gain_min, gate.nodes).to(self.matrix()).expand(self.banks, -1)

    def forget_chip(self) -> None:
        """Drop the chip: its weights are not the layer's any more."""
        self._chip = self._written = self._readout = self._noise = None

    @property
    def chip(self) -> LayerChip | None:
        """The chip that the layer is programmed on, if any."""
        return self._chip

    def train(self, mode: bool = True) -> AnalogLayer:
        if mode:
            self.forget_chip()
        return super().train(mode)

    def _apply(self, *args: Any, **kwargs: Any) -> AnalogLayer:
        # A chip stands where its layer was programmed, in its precision.
        self.forget_chip()
        super()._apply(*args, **kwargs)  # type: ignore[no-untyped-call]
        return self

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *args: Any) -> None:
        # A digital checkpoint has no ranges: it loads, and the ranges stay uncalibrated.
        for name in ("input_range", "sum_range"):
            state.setdefault(prefix + name, torch.zeros(2))
        self.forget_chip()
        super()._load_from_state_dict(state, prefix, *args)

    # -- forward -----------------------------------------------------------------------------------------------------

    def forward(self, x: Tensor) -> Tensor:
        """As the digital layer: [batch, in, height, width] or, for a Linear, [..., in]."""
        if self.is_linear:
            lead = x.shape[:-1]
            return self._forward(x.reshape(-1, x.shape[-1], 1, 1)).reshape(*lead, self.geometry.out_channels)
        return self._forward(x)

    def _forward(self, x: Tensor) -> Tensor:
        modulation = Modulation() if self.kernel is None else self.kernel.modulate(x)
        if self.mode == "digital":
            y = self._convolve(x, self._banks(), modulation)
        else:
            for name in ("position", "joint"):
                if getattr(modulation, name) is not None:
                    raise SimulationError(
                        f"layer '{self.name}': {type(self.kernel).__name__} modulates by '{name}', which the "
                        "crossbar engine cannot realise; bank, input and output factors can be"
                    )
            y = self._train_forward(x, modulation) if self.training else self._chip_forward(x, modulation)
        return y if self.bias is None else y + self.bias.view(1, -1, 1, 1).to(y.dtype)

    def _banks(self) -> Tensor:
        """Digital weights [banks, out, in / groups, kh, kw]."""
        if self.kernel is not None:
            return self.kernel.weight
        return (self.weight[:, :, None, None] if self.is_linear else self.weight).unsqueeze(0)

    def _convolve(self, x: Tensor, banks: Tensor, modulation: Modulation) -> Tensor:
        g = self.geometry
        return modulated_conv2d(
            x, banks, modulation, stride=g.stride, padding=g.padding, dilation=g.dilation, groups=g.groups
        )

    def _chip_forward(self, x: Tensor, modulation: Modulation) -> Tensor:
        if self._readout is None:
            warnings.warn(f"layer '{self.name}' was not programmed and runs on chip 0", stacklevel=2)
            self.program(0)
        readout = self._readout
        assert readout is not None
        x = self._convert_input(x, modulation, self.stack)
        gains, digital = self._gains(modulation, self.stack, readout.nodes[0])
        if self.observer is not None:
            self.observer(self, Reading(x, gains, readout, modulation))
        columns = sums.Columns(
            geometry=self.geometry,
            rows=self.stack.mapping.rows,
            weight=readout.weight,
            variance=readout.variance,
            gains=gains,
            normals=self._noise,
            **self._sum_converter(self.stack, 1.0, 1),
        )
        read = sums.tiled if self.plan.kind == "tiled" else sums.whole
        return self._combine(self.stack.mapping.from_current(read(x, columns)), digital, modulation)

    def _train_forward(self, x: Tensor, modulation: Modulation) -> Tensor:
        """One step on a fresh chip: gradients pass straight through errors and rounding.

        Cells' own gains are those at each bank's mean gate voltage of the batch, scaled by each image's nominal gain.
        Converters of split columns, and of a pair's two currents, act once, on the whole sum, with the error variance
        of all of them: step * sqrt(row tiles * converters).
        """
        stack, key = self.train_stack, f"/{self.step}/{self.rank}"
        x = self._convert_input(x, modulation, stack)
        gains, digital = self._gains(modulation, stack, torch.zeros(1, device=x.device))
        weight, variance = self._train_sample(stack, key, gains)
        normals = NormalSource(derive(self.seed, self.name, f"read{key}")) if variance is not None else None
        converter = self._sum_converter(stack, self.plan.row_tiles**0.5, stack.mapping.groups)
        y: Tensor | None = None
        for bank in range(self.banks):
            part = self._product(x, weight[bank])
            if gains is not None:
                part = part * gains[:, bank, :, None, None].to(part.dtype)
            if variance is not None and normals is not None:
                with torch.no_grad():
                    std = self._product(x.square(), variance[bank]).clamp_min_(0).sqrt_()
                    if gains is not None:
                        std = std * gains[:, bank, :, None, None].to(std.dtype)
                    noise = normals.fill_(torch.empty_like(std, dtype=torch.float32)).to(std.dtype).mul_(std)
                part = part + noise
            if converter["observe"] is not None:
                converter["observe"](part)
            if converter["convert"] is not None:
                part = converter["convert"](part)
            if digital is not None:
                part = part * digital[:, bank, None, None, None].to(part.dtype)
            y = part if y is None else y + part
        assert y is not None, "a layer has at least one bank"
        return y if modulation.output is None else y * modulation.output[:, :, None, None].to(y.dtype)

    def _product(self, x: Tensor, matrix: Tensor) -> Tensor:
        """One bank [groups, rows, cols] applied to x."""
        return self.geometry.convolve(x, self.geometry.to_kernel(matrix))

    def _train_sample(self, stack: Stack, key: str, gains: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Weights of a fresh chip [banks, groups, rows, cols], gradient passing to the clean ones; noise variance."""
        clean = self.matrix()
        acting = (Site.WRITE, Site.AGE, Site.READ, Site.GATE)
        if all(stack.at(s) is None for s in acting) and not stack.defects():
            return clean, None
        mapping = stack.mapping
        with torch.no_grad():
            chip = programme(stack, clean, seed=self.seed, layer=self.name, key=key)
            nodes = None
            if gains is not None and stack.at(Site.GATE) is not None:
                nodes = gains.detach().float().mean(dim=0).log()
            readout = read_out(stack, chip, 0.0, nodes=nodes)
            noisy = mapping.from_current(readout.weight[:, :, 0])
            variance = None if readout.variance is None else readout.variance[:, :, 0].sum(dim=0)
        return clean + (noisy - clean.detach()), variance

    # -- the chain's pieces ------------------------------------------------------------------------------------------

    def _convert_input(self, x: Tensor, modulation: Modulation, stack: Stack) -> Tensor:
        if modulation.input is not None:
            x = x * modulation.input[:, :, None, None].to(x.dtype)
        effect = stack.at(Site.INPUT)
        if effect is None:
            return x
        if self._must_observe(self.input_range, "input"):
            _widen(self.input_range, effect.calibrate(x))
        converted: Tensor = effect.apply(x, None, Context(stack.device, full_scale=self.input_range))
        return converted

    def _sum_converter(self, stack: Stack, shrink: float, converters: int) -> dict[str, Any]:
        """How a column's sums are observed and converted, each divided by `shrink` first.

        With several `converters`, a sum is already the difference of theirs, and converted with the error of them all.
        """
        effect = stack.at(Site.SUM)
        if effect is None:
            return {"observe": None, "convert": None}

        def observe(partial: Tensor) -> None:
            _widen(self.sum_range, effect.calibrate(partial / shrink))

        def convert(partial: Tensor) -> Tensor:
            full = self.sum_range * shrink
            if converters > 1:
                # As many codes as theirs: a symmetric range spends one bit on the sign.
                high = full[1] * converters**0.5 * (0.5 if full[0] == 0 else 1.0)
                full = torch.stack((-high, high))
            converted: Tensor = effect.apply(partial, None, Context(stack.device, full_scale=full))
            return converted

        if converters > 1 and not self.sum_range.any():
            raise SimulationError(
                f"layer '{self.name}': its {converters} converters a column cannot be calibrated while training on "
                "their difference; call calibrate(module, batches) first"
            )
        return {"observe": observe if self._must_observe(self.sum_range, "sum") else None, "convert": convert}

    def _must_observe(self, known: Tensor, which: str) -> bool:
        if self.calibrating:
            return True
        if known.any():
            return False
        warnings.warn(
            f"layer '{self.name}': the range of its {which} converters is not calibrated and is taken from the first "
            "batch; call calibrate(module, batches)",
            stacklevel=2,
        )
        return True

    def _gains(self, modulation: Modulation, stack: Stack, nodes: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Gains that the cells apply [batch, banks, nodes], and factors applied digitally [batch, banks]."""
        factors = modulation.bank
        if factors is None or not self.gated:
            return None, factors
        gate = stack.at(Site.GATE)
        if gate is not None:
            factors = gate.apply(factors, None, Context(stack.device))
        return factors.unsqueeze(-1) * interpolation(factors.log(), nodes.to(factors)), None

    def _combine(self, y: Tensor, digital: Tensor | None, modulation: Modulation) -> Tensor:
        """[batch, banks, height, width, out] -> [batch, out, height, width]."""
        if digital is not None:
            y = y * digital.to(y.dtype)[:, :, None, None, None]
        y = (y[:, 0] if y.shape[1] == 1 else y.sum(dim=1)).permute(0, 3, 1, 2)
        return y if modulation.output is None else y * modulation.output[:, :, None, None].to(y.dtype)


def _widen(known: Tensor, seen: Tensor) -> None:
    """Widen a range [low, high] in place; a range with a negative part is symmetric."""
    low, high = torch.minimum(known[0], seen[0]), torch.maximum(known[1], seen[1])
    both = torch.maximum(-low, high)
    signed = low < 0
    known.copy_(torch.stack((torch.where(signed, -both, low), torch.where(signed, both, high))))


def _geometry(layer: nn.Module, name: str) -> Geometry:
    if isinstance(layer, nn.Linear):
        return Geometry(layer.in_features, layer.out_features)
    if isinstance(layer, ModulatedConv2d):
        return Geometry(
            layer.spec.in_channels,
            layer.spec.out_channels,
            layer.spec.kernel_size,
            (layer.stride, layer.stride),
            (layer.padding, layer.padding),
            (layer.dilation, layer.dilation),
            layer.groups,
        )
    if isinstance(layer, nn.Conv2d):
        if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
            raise SimulationError(
                f"layer '{name}': padding {layer.padding!r} in mode '{layer.padding_mode}' is not simulated; "
                "explicit zero padding is"
            )
        kh, kw = layer.kernel_size
        return Geometry(
            layer.in_channels,
            layer.out_channels,
            (kh, kw),
            (layer.stride[0], layer.stride[1]),
            (layer.padding[0], layer.padding[1]),
            (layer.dilation[0], layer.dilation[1]),
            layer.groups,
        )
    raise SimulationError(f"layer '{name}': {type(layer).__name__} is not simulated; Conv2d and Linear are")
