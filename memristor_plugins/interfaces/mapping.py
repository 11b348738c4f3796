"""The mapping contract: how signed weights become non-negative conductances on arrays of a given size."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import ceil
from typing import ClassVar, Literal

from torch import Tensor

from memristor_plugins.interfaces.device import Device


@dataclass(frozen=True)
class Mapped:
    """A weight matrix as conductances.

    Args:
        g: target conductances, siemens, [planes, ..., rows, lines]; a plane is one cell of each weight. `lines` are the
            outputs' columns, and where a mapping adds reference columns, those too.
        scale: weight units per siemens, broadcastable to [..., rows, lines]; where it depends on the row, it is one
            value for each array: rows of one array share it.
        offset: what digital arithmetic subtracts from each output for a unit of every input, in weight units,
            broadcastable to [..., 1, cols]; None: nothing.
    """

    g: Tensor
    scale: Tensor
    offset: Tensor | None = None


@dataclass(frozen=True)
class Utilisation:
    """How one layer fills its arrays.

    Args:
        arrays: whole physical arrays.
        cells_used: cells that hold a weight.
        cells_total: cells of these arrays, padding and references too.
    """

    arrays: int
    cells_used: int
    cells_total: int

    @property
    def fraction(self) -> float:
        """Share of the cells that hold a weight."""
        return self.cells_used / self.cells_total


class Mapping(ABC):
    """How weights stand on arrays.

    Attributes:
        rows, columns: size of one physical array, word lines by bit lines. Cells that hold no weight are real cells at
            g_min, on word lines that are never driven.
        planes: cells of one weight.
        groups: partial sums of one output that are converted separately; 1 where planes are subtracted before one ADC.
        weight_error: largest rounding of a weight, over the largest weight that shares its scale; 0: weights are stored
            exactly, as an ideal device would have them.
        subtract: `analog`: currents of a pair are subtracted before one ADC; `digital`: each has its own.
        requires_api: version of the contracts it was written for; a newer one than `PLUGIN_API` is refused in one line.
    """

    requires_api: ClassVar[int] = 1

    rows: int
    columns: int
    planes: int
    groups: int
    weight_error: float = 0.0
    subtract: Literal["analog", "digital"]

    @abstractmethod
    def to_conductance(self, weight: Tensor, device: Device) -> Mapped:
        """Target conductances of `weight` [..., rows, cols] (signed, any unit)."""

    @abstractmethod
    def to_effective(self, g: Tensor, scale: Tensor) -> Tensor:
        """What each converter sees of conductances `g` [planes, ..., rows, lines] (siemens), in weight units.

        Returns [groups, ..., rows, lines]. Linear in g, so that errors of g pass through.
        """

    @abstractmethod
    def effective_std(self, std: Tensor, scale: Tensor) -> Tensor:
        """Standard deviation of `to_effective` for independent cell deviations `std` (siemens), [groups, ...]."""

    @abstractmethod
    def from_current(self, partial: Tensor) -> Tensor:
        """Outputs [..., cols] from converted sums [groups, ..., lines], before `Mapped.offset` is subtracted.

        `to_effective`, this, and the offset are exact together on an ideal device, but for `weight_error`. Linear.
        """

    def lines(self, cols: int) -> int:
        """Columns of one plane that `cols` outputs take on the bit lines, reference columns included."""
        return cols

    def output_lines(self, cols: int) -> list[int]:
        """Which of `lines(cols)` hold the outputs, in their order; the others are references."""
        return list(range(cols))

    def utilisation(self, rows: int, cols: int) -> Utilisation:
        """Arrays that a matrix of rows x cols weights takes; all planes of a line stand on adjacent bit lines."""
        across = max(1, self.columns // self.planes)
        arrays = ceil(rows / self.rows) * ceil(self.lines(cols) / across)
        return Utilisation(arrays, rows * cols * self.planes, arrays * self.rows * self.columns)
