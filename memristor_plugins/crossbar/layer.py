"""The analog layer: any convolution or Linear on crossbar arrays, with the digital layer's own parameters."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from memristor_plugins.crossbar import sums
from memristor_plugins.crossbar.arrangement import arrange, check_declared
from memristor_plugins.crossbar.chain import Chain, Programmed
from memristor_plugins.crossbar.chip import LayerChip, programme
from memristor_plugins.crossbar.forms import form_of
from memristor_plugins.crossbar.gating import Gated, realise, split
from memristor_plugins.crossbar.modulated import ModulatedConv2d, modulated_conv2d
from memristor_plugins.crossbar.noise import NormalSource
from memristor_plugins.crossbar.plan import Plan, choose
from memristor_plugins.crossbar.ranges import Phase, Ranges
from memristor_plugins.crossbar.readout import Readout, gate_nodes, read_out
from memristor_plugins.crossbar.seeds import derive
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.crossbar.straight_through import StraightThrough
from memristor_plugins.crossbar.whole import whole_columns
from memristor_plugins.errors import ConfigError, SimulationError
from memristor_plugins.interfaces.kernel import Kernel, Modulation
from memristor_plugins.interfaces.nonideality import Site


@dataclass
class Reading:
    """What one forward pass drove through the arrays, told to `AnalogLayer.observer` when one is set.

    Args:
        x: converted inputs [batch, channels, height, width], in input units.
        bank: physical gain of each bank and node, and factors applied digitally.
        readout: what the converters saw.
        modulation: factors of this batch.
        pixels: pixels of the layer's own input.
    """

    x: Tensor
    bank: Gated
    readout: Readout
    modulation: Modulation
    pixels: int


class AnalogLayer(nn.Module):
    """A layer on crossbar arrays.

    Its parameters are the digital layer's own, under the same names; chips are rebuilt from their seeds and never
    saved; calibrated converter ranges are.

    Attributes:
        mode: `digital` computes the original layer; `analog` runs on a chip in eval mode, and on a fresh sample each
            step in training mode (see `train_stack`).
        train_stack: what acts in training, a subset of `stack`.
        whole: training steps read whole columns, where `whole.py` covers what acts.
        compiled: run what can be fused under `torch.compile`; where that does not work, a warning says so. Whole
            columns have nothing that can be.
        age: seconds after programming at which a training step reads its chip.
        seed, step, rank: key of the training noise and, with the chip, of the read noise.
    """

    def __init__(self, digital: nn.Module, stack: Stack, name: str) -> None:
        super().__init__()
        self.name = name
        self.stack = self.train_stack = stack
        self.mode: Literal["digital", "analog"] = "analog"
        self.observer: Callable[[AnalogLayer, Reading], None] | None = None
        self.compiled = self.whole = False
        self.seed, self.step, self.rank = 0, 0, 0
        self.form = form_of(digital, name)
        self.kernel: Kernel | None = None
        if isinstance(digital, ModulatedConv2d):
            self.kernel = digital.kernel
        else:
            self.weight: nn.Parameter = digital.weight  # type: ignore[assignment]
        self.bias: nn.Parameter | None = digital.bias  # type: ignore[assignment]
        self.arrangement = arrange(self.form.geometry, self.kernel, name)
        self.geometry = self.arrangement.geometry
        self.ranges = Ranges(stack, name, self.weights.device)
        self.training = self.ranges.training = digital.training
        self.programmed: Programmed | None = None
        self._written: Tensor | None = None
        self.seconds = self.age = 0.0
        self._check_gains()

    # -- parameters and plan -----------------------------------------------------------------------------------------

    @property
    def banks(self) -> int:
        """Stationary kernels that read the same word lines."""
        return self.arrangement.banks

    @property
    def gated(self) -> bool:
        """Bank factors are applied by the cells' third terminal."""
        if not self.stack.device.gated or self.kernel is None or "bank" not in self.kernel.factors:
            return False
        return self.kernel.gain_range is not None or self.kernel.gate

    @property
    def shared(self) -> bool:
        """One converter sees the sum of all banks' currents."""
        return self.kernel is not None and self.kernel.shared_lines and self.banks > 1

    def _uses_gate(self, stack: Stack) -> bool:
        return self.gated and stack.has(Site.GATE)

    @property
    def plan(self) -> Plan:
        """How evaluation is computed."""
        return self._plan(self.stack)

    def _plan(self, stack: Stack) -> Plan:
        return choose(stack, self.geometry, banks=self.banks, gated=self.gated, modulated=self.banks > 1)

    @property
    def weights(self) -> nn.Parameter:
        """The trained weights, in the digital layer's own shape."""
        return self.weight if self.kernel is None else self.kernel.weight

    def kernels(self) -> Tensor:
        """Digital weights of what stands on the arrays, [banks, out, in / groups, kh, kw]."""
        if self.kernel is not None:
            return self.arrangement.weight(self.kernel.weight)
        return self.form.weight(self.weight).unsqueeze(0)

    def matrix(self) -> Tensor:
        """Weights as they stand on the arrays, [banks, groups, rows, cols]."""
        return self.geometry.to_matrix(self.kernels())

    def _check_gains(self) -> None:
        if self.shared and not self.gated:
            raise ConfigError(
                "kernel.shared_lines",
                f"needs a device with a third terminal, which {type(self.stack.device).__name__} has not: digital "
                "factors come after the converters",
            )
        if self.kernel is not None and self.kernel.gate and not self.stack.device.gated:
            warnings.warn(
                f"layer '{self.name}': kernel.gate=true has no effect on {type(self.stack.device).__name__}, which has "
                "no third terminal; bank factors are applied digitally",
                stacklevel=4,
            )
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

    @property
    def needs_input_range(self) -> bool:
        """What stands on the bit lines depends on the input range: the chip is programmed after calibrating it."""
        inputs = self.stack.at(Site.INPUT)
        return self.stack.has(Site.LEAK) or (inputs is not None and inputs.offset_in_range)

    def program(self, chip: int, seconds: float = 0.0, *, approximate: bool = False, power: bool = False) -> None:
        """Put the layer on a chip, `seconds` after programming. The same chip and weights are not written again.

        Args:
            approximate: effects may approximate as they do in a training step.
            power: arrays with resistive wires are solved for what their sources deliver, too: for a profile.

        Raises:
            SimulationError: what flows without input depends on a range that is not calibrated yet.
        """
        inputs = self.stack.at(Site.INPUT)
        scaled = "what unselected cells leak depends" if self.stack.has(Site.LEAK) else None
        if inputs is not None and inputs.offset_in_range:
            scaled = "the offsets of its drivers depend"
        if scaled is not None and not self.ranges.input.any() and not self.calibrating:
            raise SimulationError(
                f"layer '{self.name}': {scaled} on the input range, which is not calibrated; "
                "call calibrate(module, batches) first"
            )
        weights, plan = self.weights.detach(), self.plan
        same = self._written is not None and torch.equal(self._written, weights)
        cells = self.chip
        self.programmed = None  # frees what stood on the bit lines before something else does
        if cells is None or cells.seed != chip or not same:
            cells, matrix = None, self.matrix()
            cells = programme(
                self.stack,
                matrix,
                seed=chip,
                layer=self.name,
                row_tiles=plan.row_tiles,
                gated=self._uses_gate(self.stack),
            )
            self._written = weights.clone()
        self.programmed = Programmed(
            cells,
            sums.columns(
                self.geometry,
                plan.reads,
                self.read_out(cells, seconds, approximate=approximate, power=power),
                weights.dtype,
            ),
            NormalSource(derive(chip, self.name, f"read/{seconds:g}")),
            derive(chip, self.name, f"gate/{seconds:g}"),
        )
        self.seconds = seconds

    def read_out(self, chip: LayerChip, seconds: float, *, approximate: bool = False, power: bool = False) -> Readout:
        """What the converters see of a chip of this layer `seconds` after programming; see `program`."""
        gate, nodes = self.stack.at(Site.GATE), None
        if gate is not None and self._uses_gate(self.stack):
            nodes = gate_nodes(self.stack.device.gain_min, gate.nodes).to(chip.state.g).expand(self.banks, -1)
        full = self.ranges.known("input")
        return read_out(self.stack, chip, seconds, nodes=nodes, full_scale=full, training=approximate, power=power)

    @property
    def calibrating(self) -> Phase:
        """Which converters look at their signals and leave them as they are."""
        return self.ranges.calibrating

    @calibrating.setter
    def calibrating(self, value: Phase) -> None:
        self.ranges.calibrating = value

    @property
    def calibrated(self) -> bool:
        """Every converter of the layer has a range."""
        return self.ranges.calibrated(self.stack)

    def forget_chip(self) -> None:
        """Drop the chip: its weights are not the layer's any more."""
        self.programmed = self._written = None

    @property
    def chip(self) -> LayerChip | None:
        """The chip that the layer is programmed on, if any."""
        return None if self.programmed is None else self.programmed.chip

    def train(self, mode: bool = True) -> AnalogLayer:
        if mode or self._written is None:  # a training step's chip is none to evaluate on
            self.forget_chip()
        return super().train(mode)

    def _apply(self, *args: Any, **kwargs: Any) -> AnalogLayer:
        # A chip stands where its layer was programmed, in its precision.
        self.forget_chip()
        super()._apply(*args, **kwargs)  # type: ignore[no-untyped-call]
        return self

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *args: Any) -> None:
        self.ranges.complete(state, f"{prefix}ranges.")
        self.forget_chip()
        super()._load_from_state_dict(state, prefix, *args)

    # -- forward -----------------------------------------------------------------------------------------------------

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """As the digital layer, of the same shapes.

        Raises:
            SimulationError: `output_size` of transposed convolutions, which is not simulated.
        """
        if output_size is not None:
            raise SimulationError(
                f"layer '{self.name}': output_size is not simulated; give the layer output_padding instead"
            )
        folded = self.form.fold(x)
        modulation = Modulation() if self.kernel is None else self.kernel(folded)
        y = self._digital(folded, modulation) if self.mode == "digital" else self._analog(folded, modulation)
        if self.bias is not None:
            y = y + self.bias.view(1, -1, 1, 1).to(y.dtype)
        return self.form.unfold(y, x)

    def _digital(self, x: Tensor, modulation: Modulation) -> Tensor:
        g = self.arrangement.own
        weight = self.kernels() if self.kernel is None else self.kernel.weight
        return modulated_conv2d(
            x, weight, modulation, stride=g.stride, padding=g.padding, dilation=g.dilation, groups=g.groups
        )

    def _analog(self, x: Tensor, modulation: Modulation) -> Tensor:
        if self.kernel is not None:
            check_declared(self.kernel, modulation, self.name)
        stack = self.train_stack if self.training else self.stack
        pixels = x.shape[2] * x.shape[3]
        x = self.arrangement.drive(x, modulation)
        if torch.is_autocast_enabled(x.device.type):
            x = x.to(torch.get_autocast_dtype(x.device.type))
        x = self.ranges.convert_input(x, stack)
        bank = self._split(modulation)
        if self.training:
            self.programmed = self._sample(stack, bank)
        elif self.programmed is None:
            warnings.warn(f"layer '{self.name}' was not programmed and runs on chip 0", stacklevel=2)
            self.program(0)
        assert self.programmed is not None
        bank = self._gains(bank, stack, self.programmed)
        if self.observer is not None:
            self.observer(self, Reading(x, bank, self.programmed.columns.readout, modulation, pixels))
        return self.arrangement.combine(self._read(x, bank, stack, self.programmed), modulation)

    def _split(self, modulation: Modulation) -> Gated:
        """What the gate is asked for, and what digital arithmetic applies."""
        if modulation.bank is None:
            return Gated()
        if not self.gated:
            return Gated(digital=modulation.bank, total=modulation.bank)
        if self.kernel is not None and self.kernel.gain_range is not None:
            return Gated(wanted=modulation.bank, total=modulation.bank)
        return split(modulation.bank, self.stack.device.gain_min)

    def _sample(self, stack: Stack, bank: Gated) -> Programmed:
        """A fresh chip for one training step, drawn where the layer stands.

        Cells' own gains are those at each bank's mean gate voltage of the batch, scaled by each image's nominal gain.
        """
        key, plan = f"/{self.step}/{self.rank}", self._plan(stack)
        where = self.weights.device
        with torch.no_grad():
            chip = programme(
                stack,
                self.matrix(),
                seed=self.seed,
                layer=self.name,
                row_tiles=plan.row_tiles,
                gated=self._uses_gate(stack),
                key=key,
                training=True,
            )
            nodes = None
            if bank.wanted is not None and self._uses_gate(stack):
                nodes = bank.wanted.detach().float().mean(dim=0).log().unsqueeze(-1)
            full = self.ranges.known("input")
            self.seconds = self.age
            readout = read_out(stack, chip, self.age, nodes=nodes, full_scale=full, training=True, key=key)
            readout = replace(readout, nodes=torch.zeros_like(readout.nodes))
            normals = NormalSource(derive(self.seed, self.name, f"read{key}"))
            whole = None
            if self.whole and not self.arrangement.apart:
                given = (stack, self.geometry, self.ranges, plan, chip, readout, normals)
                whole = whole_columns(*given, shared=self.shared)
            if whole is not None:
                columns = sums.Columns(self.geometry, plan.reads, readout, [], None)
            else:
                dtype = self.weights.dtype
                if torch.is_autocast_enabled(where.type):
                    dtype = torch.get_autocast_dtype(where.type)
                columns = sums.columns(self.geometry, plan.reads, readout, dtype)
        return Programmed(chip, columns, normals, derive(self.seed, self.name, f"gate{key}"), whole=whole)

    def _gains(self, bank: Gated, stack: Stack, programmed: Programmed) -> Gated:
        """With the gains that the cells apply, [batch, banks, nodes]."""
        if bank.wanted is None:
            return bank
        context = replace(stack.context(self.seconds), generator=programmed.gate)
        return realise(bank, stack, context, programmed.columns.readout.nodes[0])

    def _read(self, x: Tensor, bank: Gated, stack: Stack, programmed: Programmed) -> Tensor:
        """[batch, out, height', width'] from converted inputs, with gradients where they are asked for.

        Where outputs are told apart, `out` is [groups, banks, cols].
        """
        weights, gains, digital = self.weights, bank.gains, bank.digital
        apart = self.arrangement.apart
        chain = Chain(stack, self.geometry, self.ranges, programmed, self.shared, apart, self.compiled)
        learned = self.ranges.learned_sum(stack)
        tracked = (x, weights, bank.total, learned)
        if not torch.is_grad_enabled() or not any(t is not None and t.requires_grad for t in tracked):
            return chain.run(x, gains, digital)
        kernels, seen = self.kernels(), chain.kernels()
        geometry = self.geometry
        if apart:
            # Banks are outputs of their own: [banks, groups * cols, ...] -> [1, groups * banks * cols, ...]
            kernels, seen = (
                k.unflatten(1, (geometry.groups, -1)).transpose(0, 1).flatten(0, 2).unsqueeze(0)
                for k in (kernels, seen)
            )
            geometry = replace(geometry, out_channels=kernels.shape[1])
        slope: list[Tensor] = []

        def compute() -> Tensor:
            wanted = slope if learned is not None else None
            with torch.no_grad():
                return chain.run(x.detach(), gains, digital, wanted).to(x.dtype)

        y: Tensor = StraightThrough.apply(x, kernels, seen, bank.total, compute, geometry)  # type: ignore[no-untyped-call]
        if learned is not None:
            # The range's own derivative, with the value of y left as it is.
            y = y + slope[0].to(y.dtype) * (learned - learned.detach()).to(y.dtype)
        return y
