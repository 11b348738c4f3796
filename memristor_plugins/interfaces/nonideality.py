"""The non-ideality contract: what array and periphery do to signals.

Each effect acts in exactly one moment, at one site of the signal chain; the order in which effects are selected never
matters. Traits tell the engine which execution plan stays exact.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

import torch
from torch import Generator, Size, Tensor

from memristor_plugins.interfaces.device import CellState, Device


class Moment(Enum):
    """When an effect acts."""

    FABRICATION = "once a chip"
    PROGRAMMING = "once a write"
    AGEING = "a function of the time since programming"
    READ = "at each inference"


class Site(Enum):
    """Where an effect acts, and with it what `apply` takes and returns. Sites are applied in this order.

    Conductances of a layer are [planes, banks, groups, rows, cols], in siemens.
    """

    TARGET = "target"  # target conductances -> targets that can be written
    WRITE = "write"  # targets -> CellState
    CELL = "cell"  # CellState -> CellState: what fabrication makes of a write
    AGE = "age"  # CellState -> conductances at `context.seconds`
    DEFECT = "defect"  # conductances -> conductances, after ageing: a stuck cell does not drift
    FLUCTUATION = "fluctuation"  # conductances -> conductances, drawn once for a whole evaluation
    GATE = "gate"  # nominal gains [batch, banks] -> gains that the gate DAC can set
    GATE_COUPLING = "gate coupling"  # gate voltages [batch, banks] -> what the gate lines carry
    GATE_NOISE = "gate noise"  # gate voltages [batch, banks] -> noisy gate voltages
    WIRES = "wires"  # conductances of arrays [..., rows, columns] -> effective conductances, I = V G_eff
    INPUT = "input"  # layer input -> what the word lines carry, in input units
    CURRENT = "current"  # conductances -> [terms, ...]: I = sum_j inputs_j(V) G_j
    LEAK = "leak"  # conductances -> what unselected cells leak at the read voltage, as conductances
    READ = "read"  # conductances -> standard deviation of their read noise, siemens
    SUM = "sum"  # partial sum of an array's column -> what its converter reports, in output units


MOMENT_OF_SITE = {
    Site.TARGET: Moment.PROGRAMMING,
    Site.WRITE: Moment.PROGRAMMING,
    Site.CELL: Moment.FABRICATION,
    Site.AGE: Moment.AGEING,
    Site.DEFECT: Moment.FABRICATION,
    Site.FLUCTUATION: Moment.READ,
    Site.GATE: Moment.READ,
    Site.GATE_COUPLING: Moment.READ,
    Site.GATE_NOISE: Moment.READ,
    Site.WIRES: Moment.READ,
    Site.INPUT: Moment.READ,
    Site.CURRENT: Moment.READ,
    Site.LEAK: Moment.READ,
    Site.READ: Moment.READ,
    Site.SUM: Moment.READ,
}

# At these, several effects may act. Cells and defects are applied in the order of their names; ageing and
# fluctuations each see the same conductances, and their changes add up.
MANY = frozenset({Site.CELL, Site.AGE, Site.DEFECT, Site.FLUCTUATION})


@dataclass(frozen=True)
class Context:
    """What an effect may know of where and when it acts.

    Args:
        device: the cell model.
        seconds: time since programming.
        temperature: kelvin.
        generator: the only source of randomness; None where the effect must be deterministic.
        cells: state of the cells that the tensor belongs to, where there are any.
        full_scale: calibrated range [low, high] of a converter, shape [2], in the units of the tensor.
        training: a training step, where an effect may take a cheaper approximation that it states.
    """

    device: Device
    seconds: float = 0.0
    temperature: float = 300.0
    generator: Generator | None = None
    cells: CellState | None = None
    full_scale: Tensor | None = None
    training: bool = False


class NonIdeality(ABC):
    """One effect.

    Attributes:
        site: where it acts; its moment follows.
        linear: the layer's output stays linear in its input.
        static: the same input gives the same output once the chip is programmed.
        per_tile: it acts on each array's own partial sums, so that they cannot be added before it.
        needs_range: it converts over a range that must be calibrated on real inputs (`calibrate`).
        learned_range: that range is then trained with the network.
        uses: names of the effects whose device statistics it applies itself.
        nodes: at `Site.GATE`, how many gate voltages each cell's own gain is computed at; interpolated between.
        terms: at `Site.CURRENT`, how many products an array's current is the sum of.
        rows_per_read: at `Site.LEAK`, word lines of an array that are selected at once; None: all.
        slice_bits: at `Site.INPUT`, bits of an input that are driven at once; None: all.
        offset_in_range: at `Site.INPUT`, `lines` needs the input range: a chip is programmed after calibration.
        fixed_range: [low, high] of a converter whose range is given; None: it is calibrated.
        neutral: parameters with which it changes nothing, by name; empty where it always acts. Tested to be true.
        requires_api: version of the contracts it was written for; a newer one than `PLUGIN_API` is refused in one line.
    """

    requires_api: ClassVar[int] = 1
    site: ClassVar[Site]
    linear: ClassVar[bool] = True
    static: ClassVar[bool] = True
    per_tile: ClassVar[bool] = False
    needs_range: ClassVar[bool] = False
    uses: ClassVar[frozenset[str]] = frozenset()
    neutral: ClassVar[Mapping[str, Any]] = {}
    learned_range: bool = False
    nodes: int = 1
    terms: int = 1
    rows_per_read: int | None = None
    slice_bits: int | None = None
    offset_in_range: bool = False
    fixed_range: tuple[float, float] | None = None

    @property
    def moment(self) -> Moment:
        """When the effect acts."""
        return MOMENT_OF_SITE[self.site]

    def sample(self, shape: Size | tuple[int, ...], *, generator: Generator) -> Any:
        """Per-chip state, drawn on the CPU in float32; None where there is none.

        Args:
            shape: at `CELL`, `AGE`, `DEFECT` and `FLUCTUATION` that of the conductances; at `INPUT` word-line drivers
                [banks, groups, rows, arrays side by side]; at `SUM` converters
                [converters of an output, banks, groups, arrays on top of one another, cols].

        Returns:
            At `INPUT` and `SUM` a tensor [numbers, *shape] or None; else a tensor of `shape`, or anything.
        """
        return None

    @abstractmethod
    def apply(self, x: Any, state: Any, context: Context) -> Any:
        """The effect on `x` (see `Site` for what it is), pure: the same arguments give the same result.

        `state` is what was sampled; at `SUM` its part [numbers, converters, banks, cols], which broadcasts against
        x [..., converters, banks, cols]; None where nothing was sampled.
        """

    def apply_(self, x: Any, state: Any, context: Context) -> Any:
        """As `apply`, without gradients; may overwrite `x`. Called at `SUM`, whose sums nobody else needs."""
        return self.apply(x, state, context)

    def uniform(self, context: Context) -> tuple[float, float, float] | None:
        """At `SUM`, (low, high, step) where `apply` without a state is x -> step * round(clip(x, low, high) / step).

        The engine then fuses it with the addition of the sums. None: it converts otherwise.
        """
        return None

    def moments(self, x: Any, context: Context) -> tuple[Tensor, Tensor] | None:
        """Mean and standard deviation, over chips and draws, of what `apply` makes of each number of `x`.

        Where an effect states them, they are tested against what it draws. A `CellState` counts by its conductances.

        Args:
            x: as in `apply`.
            context: as in `apply`.

        Returns:
            Two tensors of the shape of what `apply` returns, in its unit; None: not stated.
        """
        return None

    def surroundings(self, context: Context) -> Context:
        """The context that all effects then see (another temperature, faster ageing); as it is unless overridden."""
        return context

    def calibrate(self, x: Tensor) -> Tensor:
        """Range [low, high] that one batch of real signals `x` asks for, shape [2]; only where `needs_range`."""
        raise NotImplementedError(f"{type(self).__name__} has no range to calibrate")

    def merge(self, known: Tensor, seen: Tensor) -> Tensor:
        """Range after another batch asked for `seen`: the wider one; symmetric where one has a negative part.

        `known` is [0, 0] before the first batch.
        """
        low, high = torch.minimum(known[0], seen[0]), torch.maximum(known[1], seen[1])
        both = torch.maximum(-low, high)
        signed = low < 0
        return torch.stack((torch.where(signed, -both, low), torch.where(signed, both, high)))

    def lines(self, state: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        """At `Site.INPUT`, gain (a number) and offset (input units) of each sampled word-line driver, each [*shape]."""
        raise NotImplementedError(f"{type(self).__name__} has no drivers")

    def slices(self, x: Tensor, context: Context) -> tuple[Tensor, list[float]]:
        """At `Site.INPUT` with `slice_bits`: what is driven one after another, and the weight of each.

        Args:
            x: converted inputs, in input units.

        Returns:
            [slices, *x.shape] and weights; sum_s weight_s slice_s is x again.
        """
        raise NotImplementedError(f"{type(self).__name__} does not slice its inputs")

    def unselected(self, x: Tensor, context: Context) -> tuple[Tensor, float]:
        """At `Site.LEAK`: what cells `x` on unselected word lines conduct, and their voltage over the read voltage."""
        leak: Tensor = self.apply(x, None, context)
        return leak, 1.0

    def inputs(self, v: Tensor, context: Context) -> Tensor:
        """At `Site.CURRENT`, functions of the word-line voltage v (volts, any shape) [terms, ...], in volts."""
        raise NotImplementedError(f"{type(self).__name__} has no current law")

    def circuit(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor] | None:
        """At `Site.WIRES`, `apply(x)` and the admittance that the word lines' sources see, for the cost model.

        Returns:
            [..., rows, columns] and symmetric [..., rows, rows], siemens: sources at v deliver v^T A v. None: not told,
            and the cost model then counts what the converters see, which leaves out what the wires dissipate.
        """
        return None

    def bits_used(self) -> int | None:
        """Resolution in bits of a converter, for the cost model; None where the effect is not a converter."""
        return None
