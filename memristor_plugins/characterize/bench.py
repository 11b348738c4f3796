"""The device on the bench, and how it is measured."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

import torch
from torch import Generator, Tensor

from memristor_plugins.characterize.sweep import Sweep, gates, plan
from memristor_plugins.devices._transient_cell import TransientCell
from memristor_plugins.devices.table import Table
from memristor_plugins.errors import SimulationError
from memristor_plugins.interfaces.device import CellState, Device
from memristor_plugins.interfaces.transient import TransientModel


@dataclass(frozen=True)
class Bench:
    """A device and the sample of it that is measured.

    Args:
        name: as the user called it.
        device: the array cell.
        model: its equations in time; None: it has none.
        cells: how many cells each statistic is taken over, >= 2.
        seed: of all draws; each figure has draws of its own, whichever others are made.
    """

    name: str
    device: Device
    model: TransientModel | None = None
    cells: int = 200
    seed: int = 0

    @cached_property
    def sweep(self) -> Sweep | None:
        """The hysteresis sweep; None: the cell has no equations in time, or none was found to switch it."""
        return None if self.model is None else plan(self.device, self.model)

    def generator(self, figure: str) -> Generator:
        """Draws of one figure."""
        digest = blake2b(f"{self.seed}/characterize/{figure}".encode(), digest_size=8).digest()
        return Generator().manual_seed(int.from_bytes(digest, "little") >> 1)

    def gates(self, count: int) -> Tensor:
        """`count` gate voltages across the gate range, ascending; 0 V alone where there is no gate."""
        return gates(self.device, count)

    def targets(self, *shares: float) -> Tensor:
        """Targets at shares of the range, siemens, [shares, cells]."""
        low, high = self.device.g_min, self.device.g_max
        levels = torch.tensor([low + share * (high - low) for share in shares], dtype=torch.float64)
        return levels[:, None].expand(-1, self.cells).contiguous()

    def sound(self, state: CellState) -> Tensor:
        """Which cells hold what was written to them; the others have failed, where a device has such."""
        device, target = self.device, state.target
        if not isinstance(device, Table) or not device.failures:
            return torch.ones_like(target, dtype=torch.bool)
        fate = state.cells["fate"].to(target)
        return (fate >= device.at("failed_low", target, 0.0)) & (fate < 1 - device.at("failed_high", target, 0.0))

    def aged(self, state: CellState, seconds: float) -> Tensor | None:
        """Conductance at a time, siemens; None at a time that the model does not cover."""
        try:
            return self.device.conductance(state, seconds)
        except SimulationError:
            return None


def model_of(device: Device) -> TransientModel | None:
    """The equations in time of an array cell that is built on them; None: it is not."""
    return device.model if isinstance(device, TransientCell) else None


def gate_label(bench: Bench, volts: float) -> str | None:
    """`V_g = -2 V` in a legend or the name of a number; None without a gate."""
    return f"V_g = {volts:+g} V".replace("+0 V", "0 V") if bench.device.gated else None


def named(name: str, label: str | None) -> str:
    """`V_set` at a gate voltage, as a number's name."""
    return name if label is None else f"{name} at {label}"
