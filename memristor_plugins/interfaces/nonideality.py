"""The non-ideality contract: what array and periphery do to signals.

Each effect acts in exactly one moment, at one site of the signal chain; the order in which effects are selected never
matters. Traits tell the engine which execution plan stays exact.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

from torch import Generator, Size, Tensor

from memristor_plugins.interfaces.device import CellState, Device


class Moment(Enum):
    """When an effect acts."""

    FABRICATION = "once a chip"
    PROGRAMMING = "once a write"
    AGEING = "a function of the time since programming"
    READ = "at each inference"


class Site(Enum):
    """Where an effect acts, and with it what `apply` takes and returns. Sites are applied in this order."""

    WRITE = "write"  # target conductances, siemens -> CellState
    AGE = "age"  # CellState -> conductances at `context.seconds`, siemens
    DEFECT = "defect"  # conductances -> conductances, after ageing: a stuck cell does not drift
    GATE = "gate"  # nominal gain of a bank -> gain of each cell
    INPUT = "input"  # layer input -> what the word lines carry, in input units
    READ = "read"  # conductances -> standard deviation of their read noise, siemens
    SUM = "sum"  # partial sum of an array's column -> what its converter reports, in output units


MOMENT_OF_SITE = {
    Site.WRITE: Moment.PROGRAMMING,
    Site.AGE: Moment.AGEING,
    Site.DEFECT: Moment.FABRICATION,
    Site.GATE: Moment.READ,
    Site.INPUT: Moment.READ,
    Site.READ: Moment.READ,
    Site.SUM: Moment.READ,
}


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
    """

    device: Device
    seconds: float = 0.0
    temperature: float = 300.0
    generator: Generator | None = None
    cells: CellState | None = None
    full_scale: Tensor | None = None


class NonIdeality(ABC):
    """One effect.

    Attributes:
        site: where it acts; its moment follows.
        linear: the layer's output stays linear in its input.
        static: the same input gives the same output once the chip is programmed.
        per_tile: it acts on each array's own partial sums, so that they cannot be added before it.
        needs_range: it converts over a range that must be calibrated on real inputs (`calibrate`).
        nodes: at `Site.GATE`, how many gate voltages each cell's own gain is computed at; interpolated between.
    """

    site: ClassVar[Site]
    linear: ClassVar[bool] = True
    static: ClassVar[bool] = True
    per_tile: ClassVar[bool] = False
    needs_range: ClassVar[bool] = False
    nodes: int = 1

    @property
    def moment(self) -> Moment:
        """When the effect acts."""
        return MOMENT_OF_SITE[self.site]

    def sample(self, shape: Size | tuple[int, ...], *, generator: Generator) -> Any:
        """Per-chip state for arrays of `shape`, drawn on the CPU; a tensor, a CellState, or None."""
        return None

    @abstractmethod
    def apply(self, x: Any, state: Any, context: Context) -> Any:
        """The effect on `x` (see `Site` for what it is), pure: the same arguments give the same result."""

    def calibrate(self, x: Tensor) -> Tensor:
        """Range [low, high] that one batch of real signals `x` asks for, shape [2]; only where `needs_range`."""
        raise NotImplementedError(f"{type(self).__name__} has no range to calibrate")

    def bits_used(self) -> int | None:
        """Resolution in bits of a converter, for the cost model; None where the effect is not a converter."""
        return None
