"""Statistics over cells, measured and simulated: retention curves and programming errors.

A statistical device says how cells are distributed, so a fit compares distributions: mean and standard deviation of
each group of cells (one target or range of targets; one time), measured and simulated with the same random numbers
at every parameter set (simulated moments, McFadden 1989, 10.2307/1913621). The covariance of the measured moments
comes from the cells themselves: a cell that decays early does so at all times, which fits of single rows would take
for many observations.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from memristor_plugins.errors import ConfigError
from memristor_plugins.fitting.csv_data import Table
from memristor_plugins.interfaces.device import Device

Array = NDArray[np.float64]
Build = Callable[[dict[str, float]], Device]

# Simulated cells, in all: their own error is then far below that of any measured set of cells.
SIMULATED = 1 << 14
# Fewer cells than this say nothing of a spread.
FEWEST = 5
# Where almost every target differs, cells are pooled over ranges of targets with at least this many each.
POOL = 20
MOST_GROUPS = 8
# A standard deviation of simulated cells that is 0, siemens.
NO_SPREAD = 1e-18
# First readings this far apart, as a logarithm, are of cells that were programmed differently.
GAP = 0.2


class Sample(Protocol):
    """Simulated values of measured cells."""

    def __call__(self, device: Device, repeats: int) -> Array:
        """[rows, repeats] siemens, for each measured row, drawn from a fixed seed."""


@dataclass(frozen=True)
class Moments:
    """Measured moments, and how to simulate them.

    Args:
        sample: simulates the rows.
        reference: what is subtracted before a mean is taken (targets, first readings), [rows].
        measured: [rows] siemens.
        groups: row indices of each group.
        labels: of each group, for tables: (target or first reading, time).
        with_spread: groups that are large enough to tell a standard deviation.
        value: means of all groups, siemens, then logarithms of the standard deviations of those: of a logarithm the
            error does not depend on the value, so that groups which happen to scatter little do not count for more.
        error: their standard errors.
        covariance: of the moments over their errors, [moments, moments].
        cells: number of measured cells.
    """

    sample: Sample
    reference: Array
    measured: Array
    groups: tuple[NDArray[np.int64], ...]
    labels: tuple[tuple[float, float], ...]
    with_spread: tuple[int, ...]
    value: Array
    error: Array
    covariance: Array
    cells: int

    def simulated(self, device: Device) -> Array:
        """The same moments of simulated cells."""
        rows = self.sample(device, max(2, SIMULATED // max(len(self.measured), 1)))
        means = [float((rows[g] - self.reference[g, None]).mean()) for g in self.groups]
        spreads = np.array([float(rows[self.groups[k]].std()) for k in self.with_spread])
        return np.array([*means, *np.log(np.maximum(spreads, NO_SPREAD))])

    def siemens(self, moments: Array) -> Array:
        """Means and standard deviations, all in siemens."""
        count = len(self.groups)
        return np.concatenate([moments[:count], np.exp(moments[count:])])

    def residuals(self, device: Device) -> Array:
        """Simulated less measured moments, over their standard errors."""
        return (self.simulated(device) - self.value) / self.error


def programming(table: Table) -> Moments:
    """Moments of what writes left, by target."""
    target, measured = table["target"], table["conductance"]
    cells = table["cell"] if "cell" in table else np.arange(len(table), dtype=np.float64)
    groups = _pools(target)

    def sample(device: Device, repeats: int) -> Array:
        wanted = torch.from_numpy(target)[:, None].expand(-1, repeats).to(torch.float32).contiguous()
        with torch.no_grad():
            return device.program(wanted, generator=torch.Generator().manual_seed(0)).g.double().numpy()

    labels = tuple((float(np.mean(target[g])), 0.0) for g in groups)
    return _moments(sample, target, measured, cells, groups, labels)


def retention(table: Table) -> Moments:
    """Moments of what cells hold at each time after the first, given what each was first read to hold.

    Raises:
        ConfigError: no or too few cells, or a single time.
    """
    cells, time, measured = table["cell"], table["time"], table["conductance"]
    names = np.unique(cells)
    first = np.empty(len(table))
    begun = np.empty(len(table))
    for cell in names:
        own = np.flatnonzero(cells == cell)
        start = own[np.argmin(time[own])]
        first[own], begun[own] = measured[start], time[start]
    later = np.flatnonzero(time > begun)
    if len(names) < FEWEST:
        raise ConfigError("data", f"{table.name}: {len(names)} cells say nothing of a spread; give at least {FEWEST}")
    if not len(later):
        raise ConfigError("data", f"{table.name}: every cell was read once; retention needs a second time")
    time, begun, first, measured, cells = (a[later] for a in (time, begun, first, measured, cells))
    groups, labels = [], []
    for level in _levels(first):
        for at in np.unique(time[level]):
            group = level[time[level] == at]
            groups.append(group)
            labels.append((float(np.mean(first[group])), float(at)))

    def sample(device: Device, repeats: int) -> Array:
        # A cell keeps its draws at all its times.
        kept, index = np.unique(cells, return_inverse=True)
        start = np.zeros(len(kept))
        start[index] = first
        since = np.zeros(len(kept))
        since[index] = begun
        held = torch.from_numpy(start)[:, None].expand(-1, repeats).to(torch.float32).contiguous()
        with torch.no_grad():
            state = device.hold(held, generator=torch.Generator().manual_seed(0))
            values = {float(t): device.conductance(state, float(t)).double() for t in np.unique([*time, *since])}
        rows = np.empty((len(time), repeats))
        for t in np.unique(time):
            here = np.flatnonzero(time == t)
            rows[here] = values[float(t)].numpy()[index[here]]
        if since.any():
            # `hold` is at time 0; the first reading was later, and what had been lost by then is in it.
            lost = np.stack([values[float(s)].numpy()[i] for i, s in enumerate(since)]) / np.maximum(
                held.double().numpy(), 1e-30
            )
            rows = rows / np.maximum(lost[index], 1e-30)
        return rows

    return _moments(sample, first, measured, cells, groups, tuple(labels))


def _moments(
    sample: Sample,
    reference: Array,
    measured: Array,
    cells: Array,
    groups: list[NDArray[np.int64]],
    labels: tuple[tuple[float, float], ...],
) -> Moments:
    names, index = np.unique(cells, return_inverse=True)
    change = measured - reference
    value, influence = [], []
    for group in groups:
        value.append(float(change[group].mean()))
        influence.append(_by_cell(change[group] - change[group].mean(), group, index, len(names)))
    with_spread = tuple(k for k, g in enumerate(groups) if len(g) >= FEWEST and float(np.ptp(measured[g])) > 0)
    for k in with_spread:
        values = measured[groups[k]]
        spread = float(values.std(ddof=1))
        value.append(math.log(spread))
        about = ((values - values.mean()) ** 2 - values.var()) / (2 * spread**2)
        influence.append(_by_cell(about, groups[k], index, len(names)))
    psi = np.stack(influence, axis=1)
    total = psi.T @ psi
    error = np.sqrt(np.diag(total))
    # A group of one cell, or of equal ones, has no error of its own; it counts as the median one does.
    known = error > 0
    typical = float(np.median(error[known])) if known.any() else float(np.abs(value).max() or 1.0)
    error = np.where(known, error, typical)
    covariance = total / np.outer(error, error)
    covariance[~known, ~known] = 1.0
    # What the simulated cells add.
    covariance = covariance * (1 + len(measured) / SIMULATED)
    return Moments(
        sample, reference, measured, tuple(groups), labels, with_spread, np.array(value), error, covariance, len(names)
    )


def _by_cell(values: Array, group: NDArray[np.int64], index: NDArray[np.int64], cells: int) -> Array:
    """Each cell's part in the mean of a group, [cells]."""
    return np.asarray(np.bincount(index[group], values / len(group), cells), dtype=np.float64)


def _pools(levels: Array) -> list[NDArray[np.int64]]:
    """Row indices of equal levels; of ranges of levels where hardly any two are equal."""
    distinct, counts = np.unique(levels, return_counts=True)
    if len(distinct) == 1 or counts.min() >= FEWEST:
        return [np.flatnonzero(levels == level) for level in distinct]
    pools = int(np.clip(len(levels) // POOL, 1, MOST_GROUPS))
    return [np.sort(part) for part in np.array_split(np.argsort(levels, kind="stable"), pools)]


def _levels(first: Array) -> list[NDArray[np.int64]]:
    """Row indices of cells that began at about one conductance, apart from the others.

    First readings carry noise: groups cut through one population of cells would be told apart by that noise, and
    regress to the mean later. So they are cut at gaps, and what is left is only cut where it spans more than an octave.
    """
    values = np.unique(first)
    logs = np.log(np.maximum(values, 1e-30))
    parts = np.split(np.arange(len(values)), np.flatnonzero(np.diff(logs) > GAP) + 1)
    pieces: list[NDArray[np.int64]] = []
    for part in parts:
        octaves = max(1, math.ceil(float(logs[part[-1]] - logs[part[0]]) / math.log(2)))
        edges = np.linspace(logs[part[0]], logs[part[-1]], octaves + 1)[1:-1]
        pieces += [piece for piece in np.split(part, np.searchsorted(logs[part], edges)) if len(piece)]
    merged: list[NDArray[np.int64]] = []
    for piece in pieces:
        # A few stray cells are no level of their own.
        if merged and min(len(piece), len(merged[-1])) < FEWEST:
            merged[-1] = np.concatenate([merged[-1], piece])
        else:
            merged.append(piece)
    return [np.flatnonzero((first >= values[m[0]]) & (first <= values[m[-1]])) for m in merged]
