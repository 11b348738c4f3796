"""The transient contract: a cell's internal state under voltage and gate waveforms, and the current it carries.

A transient model states its equations, term by term, as pure functions of tensors of any number of devices;
`memristor_plugins.devices.transient.simulate` integrates them. Every equation is written

    dy/dt = gain(y, v, v_g) - loss(y, v, v_g) y,    loss >= 0

for each state variable y, which every memristor equation can be (loss = 0 is allowed, and a good choice where
the equation is not stiff): the integrator solves the part that is linear in y exactly, so that a step may be
far longer than the fastest time constant.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Self

import torch
from torch import Generator, Tensor

from memristor_plugins.errors import ConfigError, SimulationError, nearest

# A float holds for all devices; a tensor broadcasts against their shape.
Number = Tensor | float
# One tensor of the devices' shape for each state variable, in the order of `TransientModel.states`.
State = tuple[Tensor, ...]


class TransientModel(ABC):
    """A memristor given by its differential equations: state in, rates and current out.

    Subclasses take plain floats in `__init__` and end it with `self.set_parameters(name=value, ...)`, implement
    the five abstract methods and, where the inverse is known in closed form, `state_at`. Parameters may be
    replaced by tensors (`with_parameters`): device-to-device variation, per-cell values, fits by gradients.
    See `memristor_plugins/devices/transient/vteam.py` for a short one.

    Attributes:
        states: names of the state variables.
        gated: the model has a third terminal; the others ignore `v_gate`.
        volts_per_step: default step of a ramp, volts, before refinement; about the scale of the fastest
            voltage dependence.
        read_voltage: a voltage that leaves the state as it is, volts: where `conductance` is taken by default.
    """

    states: ClassVar[tuple[str, ...]]
    gated: ClassVar[bool] = False
    volts_per_step: float
    read_voltage: float

    parameters: Mapping[str, Number]

    def set_parameters(self, **values: float) -> None:
        """Name the parameters of the equations; called once, at the end of `__init__`."""
        self.parameters = MappingProxyType(dict(values))

    def __getstate__(self) -> dict[str, object]:
        # A view of a dictionary does not pickle.
        return {**self.__dict__, "parameters": dict(self.parameters)}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self.parameters = MappingProxyType(dict(self.parameters))

    def with_parameters(self, values: Mapping[str, Number]) -> Self:
        """The same model with some parameters replaced, by floats or by tensors that broadcast to the devices.

        Raises:
            ConfigError: a name that the model does not have.
        """
        for name in values:
            if name not in self.parameters:
                raise ConfigError(f"device.{name}", f"no such parameter; {nearest(name, self.parameters)}")
        changed = copy.copy(self)
        changed.parameters = MappingProxyType({**self.parameters, **values})
        return changed

    def varied(
        self,
        spread: Mapping[str, float],
        shape: torch.Size | tuple[int, ...],
        *,
        generator: Generator,
        dtype: torch.dtype = torch.float64,
    ) -> Self:
        """Devices that differ: each named parameter times exp(sigma z), z standard normal, drawn for each device.

        Args:
            spread: lognormal sigma of each parameter, about its own value, >= 0.
            shape: the devices' shape.
            generator: draws.
            dtype: of the parameters.

        Raises:
            ConfigError: a name that the model does not have; a negative sigma.
        """
        check_spread(self, spread, "spread")
        values: dict[str, Number] = {}
        for name, sigma in spread.items():
            z = torch.randn(shape, generator=generator, dtype=dtype, device=generator.device)
            values[name] = self.parameters[name] * torch.exp(sigma * z)
        return self.with_parameters(values)

    # --- the equations: pure functions, called by the integrator --------------------------------------------

    def prepare(self, p: Mapping[str, Number]) -> Mapping[str, Number]:
        """Parameters plus constants derived from them, computed once for each set of parameters."""
        return p

    @abstractmethod
    def bounds(self, p: Mapping[str, Number]) -> tuple[tuple[Number, Number], ...]:
        """Lowest and highest value of each state variable; the integrator keeps states within."""

    @abstractmethod
    def start(self, p: Mapping[str, Number]) -> tuple[Number, ...]:
        """Value of each state variable in a fresh device."""

    @abstractmethod
    def drive(self, v: Number, v_gate: Number, p: Mapping[str, Number]) -> Mapping[str, Number]:
        """All terms that depend on voltages but not on the state, computed once for each instant.

        Where devices share waveform and parameters these are plain floats and cost nothing. `p` is prepared.
        """

    @abstractmethod
    def coefficients(
        self, state: State, drive: Mapping[str, Number], p: Mapping[str, Number]
    ) -> tuple[tuple[Number, Number | None], ...]:
        """(gain, loss) of each state variable: dy/dt = gain - loss y, 1/s times the unit of y.

        loss >= 0, or None where it is identically zero.
        """

    @abstractmethod
    def current_of(self, state: State, drive: Mapping[str, Number], p: Mapping[str, Number]) -> Tensor:
        """Current in amperes; `drive` and `p` as in `coefficients`."""

    def diffusion(
        self, state: State, drive: Mapping[str, Number], p: Mapping[str, Number]
    ) -> tuple[Tensor | None, ...] | None:
        """Strength of the white noise on each state variable, unit of y over sqrt(s); None: no noise."""
        return None

    # --- the same by voltages, for people ---------------------------------------------------------------------

    def initial(
        self,
        shape: torch.Size | tuple[int, ...] = (),
        *,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> State:
        """State of `shape` fresh devices."""
        return tuple(
            torch.as_tensor(value, dtype=dtype, device=device).expand(shape) for value in self.start(self.parameters)
        )

    def rates(self, state: State, v: Number, v_gate: Number = 0.0) -> State:
        """dy/dt of each state variable at `v` and `v_gate` volts, which broadcast against the state."""
        p = self.prepare(self.parameters)
        terms = self.coefficients(state, self.drive(v, v_gate, p), p)
        rates = (gain if loss is None else gain - loss * y for (gain, loss), y in zip(terms, state, strict=True))
        return tuple(torch.zeros_like(y) + rate for rate, y in zip(rates, state, strict=True))

    def current(self, state: State, v: Number, v_gate: Number = 0.0) -> Tensor:
        """Current in amperes at `v` and `v_gate` volts, which broadcast against the state."""
        p = self.prepare(self.parameters)
        return self.current_of(state, self.drive(v, v_gate, p), p)

    def conductance(self, state: State, v_read: Number | None = None, v_gate: Number = 0.0) -> Tensor:
        """Chord conductance I(v_read) / v_read in siemens; at `read_voltage` where `v_read` is None."""
        v = self.read_voltage if v_read is None else v_read
        return self.current(state, v, v_gate) / v

    def state_at(self, g: Tensor, v_read: Number | None = None, v_gate: Number = 0.0) -> State:
        """The state of chord conductance `g` (siemens, any shape), as near as the state's range allows.

        The first state variable by bisection, to the resolution of the dtype; the others as in a fresh device.
        Assumes that the conductance is monotonic in the first state variable. No gradients.
        """
        with torch.no_grad():
            rest = self.initial(g.shape, dtype=g.dtype, device=g.device)[1:]
            low, high = (
                torch.as_tensor(bound, dtype=g.dtype, device=g.device).expand(g.shape)
                for bound in self.bounds(self.parameters)[0]
            )
            rising = self.conductance((high, *rest), v_read, v_gate) > self.conductance((low, *rest), v_read, v_gate)
            for _ in range(30 if g.dtype == torch.float32 else 60):
                middle = (low + high) / 2
                below = (self.conductance((middle, *rest), v_read, v_gate) < g) == rising
                low, high = torch.where(below, middle, low), torch.where(below, high, middle)
            return ((low + high) / 2, *rest)


def clamp(y: Tensor, low: Number, high: Number) -> Tensor:
    """`y` within [low, high], either bound a float or a tensor; infinite bounds cost nothing."""
    bounds = [None if isinstance(b, float) and math.isinf(b) else b for b in (low, high)]
    if bounds == [None, None]:
        return y
    if any(isinstance(b, Tensor) for b in bounds):
        low_bound, high_bound = (None if b is None else torch.as_tensor(b).to(y) for b in bounds)
        return y.clamp(low_bound, high_bound)
    return y.clamp(*(b if b is None else float(b) for b in bounds))


def check_spread(model: TransientModel, spread: Mapping[str, float], option: str) -> None:
    """Raises ConfigError unless `spread` has parameters of the model and sigmas >= 0."""
    for name, sigma in spread.items():
        if name not in model.parameters:
            raise ConfigError(f"{option}.{name}", f"no such parameter; {nearest(name, model.parameters)}")
        if not 0 <= sigma < math.inf:
            raise ConfigError(f"{option}.{name}", f"must not be negative, got {sigma:g}; the nearest valid value is 0")


def check_state(state: State, model: TransientModel) -> None:
    """Raises SimulationError unless `state` has one tensor for each state variable of the model."""
    if len(state) != len(model.states):
        names = ", ".join(model.states)
        raise SimulationError(f"{type(model).__name__} has states ({names}), got {len(state)} tensors")
