"""Measured cells, as a table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar

import torch
from torch import Generator, Tensor

from memristor_plugins.devices import correlated_reads, statistics, table_file
from memristor_plugins.devices._statistical import StatisticalDevice
from memristor_plugins.devices.curve import interpolate
from memristor_plugins.errors import ConfigError, SimulationError
from memristor_plugins.interfaces.device import Cells, CellState, standard_normal
from memristor_plugins.interfaces.parameter import Param

MEASURED = "the file"


class Table(StatisticalDevice):
    """Measured cells: programming error, drift, read noise and failed cells interpolated from a CSV file.

        G(t) = max(mean(G_target, t) + s(G_target, t) z, 0),   s^2 = std^2 + frozen read_std^2
        sigma_read = sqrt(1 - frozen) read_std(G_target, t),   new at each multiply

    with one standard normal z a cell. Statistics are linear in the target, constant beyond the measured ones, and
    linear in ln(1 + t / t_1) between the times, t_1 the first time above zero; seconds = 0 is the first row. A file
    without times holds at all of them.

    Reads that follow each other are correlated: what lasts cannot average out within an evaluation. So the read
    noise is split: a share `frozen` of its variance stays with the cell, the rest is new at each multiply; together
    they are what was measured. By default `frozen` is the measured correlation of neighbouring reads, the most that
    can last. `reads` simulates the measurement itself, with the correlations of the file.

    Failed cells are no part of mean and std. They are drawn at fabrication with the measured shares, and hold what
    failed cells were measured to hold, for ever; their read noise shrinks in proportion, where they hold less.

    The file's layout: `table_file`. Repeated reads become such a file by `table_from_reads`.

    Raises:
        ConfigError: a file that cannot be used (with line and column), or targets out of order.
    """

    includes: ClassVar[Mapping[str, str]] = {
        **StatisticalDevice.includes,
        "retention": "drift",
        "relaxation": "drift",
        "flicker": "read_noise",
        "rtn": "read_noise",
    }

    def __init__(
        self,
        *,
        file: Annotated[str, Param("CSV file of measured statistics", source="measured")],
        g_min: Annotated[
            float | None,
            Param("lowest target; null: the lowest measured, 0 where there is one", unit="S", source=MEASURED, ge=0),
        ] = None,
        g_max: Annotated[
            float | None, Param("highest target; null: the highest measured", unit="S", source=MEASURED, gt=0)
        ] = None,
        frozen: Annotated[
            float | None,
            Param("share of the read noise's variance that stays; null: as measured", source=MEASURED, ge=0, le=1),
        ] = None,
        failures: Annotated[bool, Param("cells fail at the measured shares", source=MEASURED)] = True,
        read_voltage: Annotated[
            float, Param("read voltage of the largest input", unit="V", source="assumed", gt=0)
        ] = 0.1,
        read_time: Annotated[float, Param("duration of one read", unit="s", source="assumed", gt=0)] = 100e-9,
    ) -> None:
        self.statistics = table_file.read(Path(file))
        targets = self.statistics.targets
        highest = float(targets[-1]) if g_max is None else g_max
        lowest = (float(targets[0]) if len(targets) > 1 else 0.0) if g_min is None else g_min
        if highest == 0:
            raise ConfigError("device.g_max", f"{file} has targets of 0 S only; give the highest target")
        self._set_range(lowest, highest, read_voltage, read_time)
        self.frozen = frozen
        values = self.statistics.values
        self.failures = failures and bool((values["failed_low"] + values["failed_high"]).any())

    # --- the table ------------------------------------------------------------------------------------------

    def at(self, quantity: str, target: Tensor, seconds: float) -> Tensor:
        """A quantity of the file at `target` (siemens, any shape) and `seconds` after programming, in SI units.

        Raises:
            SimulationError: a time that was not measured.
        """
        times = self.statistics.times
        values = self.statistics[quantity]
        last = times[-1] if times[-1] > 0 else math.inf  # a file without times
        statistics.check_seconds(f"{type(self).__name__}'s file", seconds, first=times[0], last=last)
        row = values[0]
        if len(times) > 1:
            scale = times[0] if times[0] > 0 else times[1]
            i, share = statistics.between(
                math.log1p(max(seconds, times[0]) / scale), [math.log1p(t / scale) for t in times]
            )
            row = torch.lerp(values[i], values[i + 1], share)
        return interpolate(target, self.statistics.targets, row)

    def frozen_share(self, target: Tensor, seconds: float) -> Tensor:
        """Share of the read noise's variance that stays with a cell, of the shape of `target`."""
        if self.frozen is not None:
            return torch.full_like(target, self.frozen)
        return self.at("read_correlation_1", target, seconds)

    def deviation(self, target: Tensor, seconds: float) -> Tensor:
        """s = sqrt(std^2 + frozen read_std^2) in siemens."""
        noise = self.at("read_std", target, seconds)
        return (self.at("std", target, seconds).square() + self.frozen_share(target, seconds) * noise.square()).sqrt()

    def _failed(self, cells: Cells, target: Tensor) -> tuple[Tensor, Tensor] | None:
        """(which cells have failed, what a failed cell holds in siemens); None where none can."""
        if not self.failures or "fate" not in cells.constants:
            return None
        fate = cells["fate"].to(target)
        low = fate < self.at("failed_low", target, 0.0)
        high = fate >= 1 - self.at("failed_high", target, 0.0)
        held = torch.where(low, self.at("failed_low_g", target, 0.0), self.at("failed_high_g", target, 0.0))
        return low | high, held

    # --- the contract ---------------------------------------------------------------------------------------

    def fabricate(self, shape: torch.Size | tuple[int, ...], *, generator: Generator) -> Cells:
        """`fate`, uniform in [0, 1): a cell fails low or high where it lies within that share."""
        if not self.failures:
            return Cells()
        return Cells({"fate": torch.rand(shape, generator=generator, device=generator.device)})

    def programming_std(self, target: Tensor) -> Tensor:
        """Deviation of a cell that has not failed, in the first row of the file."""
        return self.deviation(target, 0.0)

    def program(
        self, target: Tensor, *, generator: Generator, cells: Cells | None = None, temperature: float = 300.0
    ) -> CellState:
        """Write `target` (siemens, any shape): mean and deviation of the first row, or what failed cells hold."""
        if cells is None:
            cells = self.fabricate(target.shape, generator=generator).map(lambda c: c.to(target.device))
        z = standard_normal(target, generator)
        g = (self.at("mean", target, 0.0) + self.deviation(target, 0.0) * z).clamp_min(0.0)
        failed = self._failed(cells, target)
        if failed is not None:
            g = torch.where(failed[0], failed[1], g)
        return CellState(g, target, cells, z)

    def hold(self, target: Tensor, *, generator: Generator) -> CellState:
        """Cells that hold `target` exactly; failed ones too."""
        cells = self.fabricate(target.shape, generator=generator).map(lambda c: c.to(target.device))
        return CellState(target, target, cells, standard_normal(target, generator))

    def conductance(self, state: CellState, seconds: float) -> Tensor:
        """G(t) of each cell, siemens; held cells start on their targets and move by the changes; failed ones stay.

        Raises:
            SimulationError: a time that was not measured.
        """
        target = state.target
        mean, deviation = self.at("mean", target, seconds), self.deviation(target, seconds)
        if seconds == 0:
            return state.g
        if state.ageing is None:
            raise SimulationError("Table ages by the normals drawn at a write, and these cells have none")
        before = self.at("mean", target, 0.0) - target + self.deviation(target, 0.0) * state.ageing
        aged = statistics.carried(state.g, target, before, mean - target + deviation * state.ageing)
        failed = self._failed(state.cells, target)
        return aged if failed is None else torch.where(failed[0], state.g, aged)

    def read_std(self, g: Tensor, state: CellState, seconds: float) -> Tensor:
        """sqrt(1 - frozen) read_std in siemens, of the target at that time."""
        target = state.target.to(g)
        free = (1 - self.frozen_share(target, seconds)).clamp_min(0.0).sqrt()
        return free * self.at("read_std", target, seconds) * self._loudness(g, state, seconds)

    def _loudness(self, g: Tensor, state: CellState, seconds: float) -> Tensor | float:
        failed = self._failed(state.cells, state.target.to(g))
        if failed is None:
            return 1.0
        mean = self.at("mean", state.target.to(g), seconds)
        share = (g / torch.where(mean > 0, mean, torch.ones_like(mean))).clamp(0.0, 1.0)
        return torch.where(failed[0], share, 1.0)

    def reads(self, target: Tensor, count: int, *, generator: Generator) -> Tensor:
        """Simulate the measurement: cells written once and read `count` times in a row.

        Each cell has its own conductance and noise of the file's deviation and correlations, nothing frozen in.
        Reads are not clipped: what a noisy reading below zero means is the reader's to say.

        Returns:
            siemens, [count, *target.shape].
        """
        cells = self.fabricate(target.shape, generator=generator).map(lambda c: c.to(target.device))
        g = self.at("mean", target, 0.0) + self.at("std", target, 0.0) * standard_normal(target, generator)
        failed = self._failed(cells, target)
        if failed is not None:
            g = torch.where(failed[0], failed[1], g)
        state = CellState(g, target, cells)
        std = self.at("read_std", target, 0.0) * self._loudness(g, state, 0.0)
        near, far = (self.at(f"read_correlation_{lag}", target, 0.0) for lag in correlated_reads.LAGS)
        decay = torch.where((near > 0) & (far > 0), (far / near.clamp_min(1e-12)).pow(1 / 9).clamp_max(1.0), 0.0)
        lasting = torch.where(decay > 0, (near / decay.clamp_min(1e-12)).clamp_max(1.0), near)
        noise = correlated_reads.noise(target.shape, count, lasting=lasting, decay=decay, generator=generator)
        return g + std * noise.to(g)
