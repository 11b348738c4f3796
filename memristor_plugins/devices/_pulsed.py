"""What cells told by pulses have in common: they are written by write-verify and hold what it leaves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from torch import Generator, Tensor

from memristor_plugins.devices.write_verify import write_verify
from memristor_plugins.errors import ConfigError
from memristor_plugins.interfaces.device import Cells, CellState, Device
from memristor_plugins.interfaces.parameter import Param
from memristor_plugins.interfaces.pulsed import PulsedModel

Tolerance = Annotated[
    float, Param("accepted deviation of a verifying read, over g_max - g_min", source="assumed", gt=0, le=1)
]
Rounds = Annotated[int, Param("most bursts of pulses of a write", source="assumed", ge=1, le=1000)]
VerifyNoise = Annotated[float, Param("std of a verifying read, over G", source="assumed", ge=0, le=1)]
ReadNoise = Annotated[float, Param("std of a read at inference, over G", source="assumed", ge=0, le=1)]
StepSpread = Annotated[float, Param("lognormal sigma of pulse numbers between cells", source="assumed", ge=0, le=2)]
BoundSpread = Annotated[
    float, Param("std of a cell's lowest and highest conductance, over the range", source="assumed", ge=0, le=0.5)
]
CycleSpread = Annotated[float, Param("std that one pulse adds, over the range", source="assumed", ge=0, le=1)]
ReadVoltage = Annotated[float, Param("read voltage of the largest input", unit="V", source="assumed", gt=0)]
ReadTime = Annotated[float, Param("duration of one read", unit="s", source="assumed", gt=0)]


class PulsedDevice(PulsedModel, Device):
    """An array cell over a pulsed-update model: `program` is write-verify, with its pulses and energy recorded.

    No retention is published for these models: conductances stay. Reads are ohmic unless a subclass says
    otherwise, with Gaussian noise new at each multiply.
    """

    includes: ClassVar[Mapping[str, str]] = {"d2d": "programming", "write_verify": "programming"}
    resolution: ClassVar[float] = 1.0
    width_modulated: ClassVar[bool] = False

    tolerance: float
    rounds: int
    verify_noise: float
    read_noise: float

    def _set_writing(
        self, *, g_min: float, g_max: float, tolerance: float, rounds: int, verify_noise: float, read_noise: float
    ) -> None:
        low, high = self.bounds
        if not low < high:
            raise ConfigError("device.lowest", f"must be below the highest conductance {high:g} S, got {low:g} S")
        if not g_min < g_max:
            raise ConfigError("device.g_min", f"must be below g_max = {g_max:g} S, got {g_min:g} S")
        for option, g in (("g_min", g_min), ("g_max", g_max)):
            if not low * (1 - 1e-6) <= g <= high * (1 + 1e-6):
                raise ConfigError(
                    f"device.{option}",
                    f"pulses reach {low:.4g} to {high:.4g} S, got {g:.4g} S; "
                    f"the nearest valid value is {min(max(g, low), high):.4g}",
                )
        self.g_min, self.g_max = g_min, g_max
        self.tolerance, self.rounds = tolerance, rounds
        self.verify_noise, self.read_noise = verify_noise, read_noise

    def program(
        self, target: Tensor, *, generator: Generator, cells: Cells | None = None, temperature: float = 300.0
    ) -> CellState:
        """Erase the cells and write `target` (siemens, any shape) by write-verify.

        The state records pulses and joules of each cell. No gradient flows: a write is not differentiable.
        `temperature` has no effect: no publication says how it would act.
        """
        if cells is None:
            cells = self.fabricate(target.shape, generator=generator).map(lambda c: c.to(target.device))
        written = write_verify(
            self,
            target,
            cells=cells,
            generator=generator,
            tolerance=self.tolerance * (self.g_max - self.g_min),
            rounds=self.rounds,
            verify_noise=self.verify_noise,
            read_voltage=self.read_voltage,
            read_time=self.read_time,
            resolution=self.resolution,
            width_modulated=self.width_modulated,
        )
        return CellState(written.g, target, cells, pulses=written.pulses, energy_j=written.energy_j)

    def hold(self, target: Tensor, *, generator: Generator) -> CellState:
        """Cells that hold `target` exactly, beyond their own bounds too: no write is simulated."""
        cells = self.fabricate(target.shape, generator=generator).map(lambda c: c.to(target.device))
        return CellState(target, target, cells)

    def conductance(self, state: CellState, seconds: float) -> Tensor:
        """G(t) = G(0), siemens."""
        return state.g

    def read_std(self, g: Tensor, state: CellState, seconds: float) -> Tensor:
        """read_noise G in siemens."""
        return self.read_noise * g

    def current(self, g: Tensor, v: Tensor, *, v_gate: Tensor | None = None, temperature: float = 300.0) -> Tensor:
        """I = G V in amperes; `g` (siemens) and `v` (volts) broadcast. No gate: `v_gate` has no effect."""
        return g * v
