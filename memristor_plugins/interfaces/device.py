"""The device contract: what conductance a cell holds, and what current it carries.

A device knows its physics; it acts on whole tensors of cells of any shape, draws only from the generator it is given,
and never changes its arguments. Non-idealities switch its effects on: with none selected every device is ideal.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor

from memristor_plugins.interfaces.normals import normals


@dataclass(frozen=True)
class Cells:
    """Per-cell constants, drawn once at fabrication.

    Args:
        constants: tensors by name, each of the cells' shape or broadcastable to it (drift time, gate sensitivity, ...).
    """

    constants: Mapping[str, Tensor] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Tensor:
        return self.constants[name]

    def map(self, function: Callable[[Tensor], Tensor]) -> Cells:
        """The same cells with `function` applied to every tensor (a move, a slice)."""
        return Cells({name: function(value) for name, value in self.constants.items()})


@dataclass(frozen=True)
class CellState:
    """What an array of programmed cells holds; saved with a chip.

    Args:
        g: conductance right after programming, siemens, any shape.
        target: the conductance that was asked for, siemens, same shape.
        cells: the per-cell constants.
        ageing: standard normals that ageing uses, so that all times lie on one trajectory; None where it uses none.
        writes: how often the cells were written.
        pulses: write pulses that each cell took, same shape; None where a write is not simulated pulse by pulse.
        energy_j: energy of that write in each cell, pulses and verification, joules, same shape; None likewise.
    """

    g: Tensor
    target: Tensor
    cells: Cells
    ageing: Tensor | None = None
    writes: int = 1
    pulses: Tensor | None = None
    energy_j: Tensor | None = None

    def map(self, function: Callable[[Tensor], Tensor]) -> CellState:
        """The same state with `function` applied to every tensor (a move, a slice)."""
        return replace(
            self,
            g=function(self.g),
            target=function(self.target),
            cells=self.cells.map(function),
            ageing=None if self.ageing is None else function(self.ageing),
            pulses=None if self.pulses is None else function(self.pulses),
            energy_j=None if self.energy_j is None else function(self.energy_j),
        )


def standard_normal(like: Tensor, generator: Generator) -> Tensor:
    """Standard normals of the shape, dtype and device of `like`.

    Drawn on the generator's own device and then moved, so that one seed gives one chip on CPU and GPU.
    """
    return normals(like.shape, generator, like.dtype).to(like.device)


class Device(ABC):
    """A memory cell with a programmable conductance.

    Subclasses set the attributes below in `__init__` and implement the five abstract methods; every other method has
    the answer of an ideal cell. See `memristor_plugins/devices/adaptive_2d.py` for a complete one.

    Attributes:
        g_min, g_max: conductance range that programming targets use, siemens.
        read_voltage: amplitude that the largest input is read with, volts.
        read_time: how long one read lasts, seconds.
        gated: the cell has a third terminal that scales its conductance (`gain`).
        gate_range: gate voltages of the smallest and the largest gain, volts; only where `gated`.
        read_correlation: over what span one sample of the read noise stays: each multiply draws anew, or one sample
            lasts for an image, or for a whole evaluation.
        includes: effects that its own statistics contain already, each with the effect that switches those on:
            `{"d2d": "programming"}`; selecting both is an error.
        levels: how many conductances a write can ask for; None: not known.
        requires_api: version of the contracts it was written for; a newer one than `PLUGIN_API` is refused in one line.
    """

    requires_api: ClassVar[int] = 1
    gated: ClassVar[bool] = False
    levels: int | None = None
    read_correlation: ClassVar[Literal["multiply", "image", "evaluation"]] = "multiply"
    includes: ClassVar[Mapping[str, str]] = {}

    g_min: float
    g_max: float
    read_voltage: float
    read_time: float
    gate_range: tuple[float, float] = (0.0, 0.0)

    @abstractmethod
    def fabricate(self, shape: torch.Size | tuple[int, ...], *, generator: Generator) -> Cells:
        """Per-cell constants of `shape` cells, drawn from `generator`, float32."""

    @abstractmethod
    def program(
        self, target: Tensor, *, generator: Generator, cells: Cells | None = None, temperature: float = 300.0
    ) -> CellState:
        """Write `target` (siemens, any shape) and return what the cells then hold.

        `cells` are fabricated from the same generator where None. Achieved conductances are clipped at zero only,
        never at g_max. `temperature` in kelvin.
        """

    @abstractmethod
    def conductance(self, state: CellState, seconds: float) -> Tensor:
        """Conductance in siemens, of the shape of `state.g`, `seconds` (>= 0, absolute) after programming.

        Deterministic given the state. Time 0 is what programming left. A device that was measured over a limited time
        refuses any other.

        Raises:
            SimulationError: no measurement or model reaches this time; names the nearest one that does.
        """

    @abstractmethod
    def read_std(self, g: Tensor, state: CellState, seconds: float) -> Tensor | None:
        """Standard deviation of the Gaussian read noise in siemens, of the shape of `g`; None: not Gaussian."""

    @abstractmethod
    def current(self, g: Tensor, v: Tensor, *, v_gate: Tensor | None = None, temperature: float = 300.0) -> Tensor:
        """Current in amperes through cells of conductance `g` (siemens) at `v` volts (broadcast together).

        `g` is what a read sees: I = g V at low field, or at the read voltage where the model is verified there.
        `v_gate` in volts, where there is a gate; `temperature` in kelvin.
        """

    def read(
        self,
        g: Tensor,
        state: CellState,
        *,
        generator: Generator,
        seconds: float = 0.0,
        temperature: float = 300.0,
    ) -> Tensor:
        """One noisy read of conductances `g`, siemens, any shape. Gaussian of `read_std` unless a device overrides it.

        `seconds` after programming, at `temperature` in kelvin.

        Raises:
            NotImplementedError: the noise is not Gaussian, and the device does not say what it is.
        """
        std = self.read_std(g, state, seconds)
        if std is None:
            raise NotImplementedError(f"{type(self).__name__} has non-Gaussian read noise and must implement read()")
        return g + std * standard_normal(g, generator)

    def hold(self, target: Tensor, *, generator: Generator) -> CellState:
        """Cells that hold `target` (siemens, any shape) exactly: fabricated as real ones, but written without error."""
        cells = self.fabricate(target.shape, generator=generator).map(lambda t: t.to(target.device))
        return CellState(target, target, cells, standard_normal(target, generator))

    def settled(self, state: CellState, *, gated: bool) -> CellState:
        """The state without the constants that only a write uses, or only the gain where it is not `gated`.

        Chips keep what this returns: a device with many constants saves memory by dropping some.
        """
        return state

    def gain(self, state: CellState, v_gate: Tensor) -> Tensor:
        """Conductance under gate voltage over that at the largest-gain voltage, in (0, 1], for each cell.

        `v_gate` (volts) broadcasts against the cells. Only where `gated`.
        """
        raise NotImplementedError(f"{type(self).__name__} has no gate")

    def nominal_gain(self, v_gate: Tensor) -> Tensor:
        """Gain of a nominal cell in its most conductive state, the curve a gate driver is calibrated on.

        Of the shape of `v_gate` (volts); rises from `gate_range[0]` to 1 at `gate_range[1]`.
        """
        raise NotImplementedError(f"{type(self).__name__} has no gate")

    def gate_voltage(self, gain: Tensor) -> Tensor:
        """Gate voltage, volts, at which a nominal cell has `gain` (any shape): the inverse of `nominal_gain`."""
        raise NotImplementedError(f"{type(self).__name__} has no gate")

    @property
    def gain_min(self) -> float:
        """Smallest nominal gain within the gate range; 1 where there is no gate."""
        if not self.gated:
            return 1.0
        return float(self.nominal_gain(torch.tensor(self.gate_range[0], dtype=torch.float64)))
