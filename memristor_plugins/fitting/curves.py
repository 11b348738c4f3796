"""Single curves: retention of one cell, and conductance against the number of pulses."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from memristor_plugins.errors import ConfigError
from memristor_plugins.fitting.csv_data import Table
from memristor_plugins.fitting.free import Free
from memristor_plugins.fitting.moments import Build
from memristor_plugins.fitting.problem import CurveProblem
from memristor_plugins.interfaces.device import Cells, Device
from memristor_plugins.interfaces.pulsed import PulsedModel

Array = NDArray[np.float64]

START = "start_conductance"
# Cells behind a simulated mean curve.
CELLS = 4096


def single_retention(table: Table, build: Build) -> CurveProblem:
    """One retention curve: the mean over simulated cells that start at one conductance, which is free too.

    A spread of retention times acts on that mean only, so a single curve hardly tells it.
    """
    time, measured = table["time"], table["conductance"]
    late = np.flatnonzero(np.diff(time) <= 0)
    if len(late):
        line = int(table.lines[int(late[0]) + 1])
        raise ConfigError(
            "data", f"{table.name}, line {line}: time does not increase; give several cells a column 'cell'"
        )

    def predict(device: Device, values: Mapping[str, float]) -> Array:
        held = torch.full((CELLS,), values[START], dtype=torch.float32)
        with torch.no_grad():
            state = device.hold(held, generator=torch.Generator().manual_seed(0))
            means = [device.conductance(state, float(t)).double().mean() for t in time]
        return torch.stack(means).numpy()

    label = "time since programming (s)"
    return CurveProblem(time, measured, predict, build, label, "conductance (S)", nuisances=(_start(measured),))


def pulses(table: Table, build: Build) -> CurveProblem:
    """Conductance after each of a train of equal pulses: the nominal cell's, from a start that is free too.

    Several cells (a column `cell`) that took the same train are averaged, and their spread about the average gives
    the residuals' covariance. Spreads between cells and from cycle to cycle are no part of the fit.

    Raises:
        ConfigError: no pulse; pulses of several sizes; cells that took different trains.
    """
    polarity, curves = _trains(table)
    measured = curves.mean(0)
    # A first row before any pulse is the start itself.
    runs: list[tuple[float, int]] = []
    for sign in polarity:
        if sign and runs and runs[-1][0] == sign:
            runs[-1] = (sign, runs[-1][1] + 1)
        elif sign or not runs:
            runs.append((sign, 1))
        else:
            raise ConfigError("data", f"{table.name}: a pulse without a polarity stands within the train")

    def predict(device: Device, values: Mapping[str, float]) -> Array:
        assert isinstance(device, PulsedModel)
        g = torch.tensor(values[START], dtype=torch.float64)
        found = []
        for sign, count in runs:
            if not sign:
                found.append(g[None])
                continue
            number = sign * torch.arange(1, count + 1, dtype=torch.float64)
            found.append(device.pulse(g.expand(count), number, cells=_nominal(device, count), generator=None))
            g = found[-1][-1]
        return torch.cat(found).numpy()

    covariance = error = None
    if len(curves) > 2:
        deviations = curves - measured
        covariance = deviations.T @ deviations / (len(curves) - 1) / len(curves)
        error = np.sqrt(np.diag(covariance))
    begin = 0 if runs[0][0] == 0 else 1
    return CurveProblem(
        np.arange(begin, begin + len(measured), dtype=np.float64), measured, predict, build, "pulse number",
        "conductance (S)", error=error, nuisances=(_start(measured),), covariance=covariance, samples=len(curves),
    )  # fmt: skip


def pulse_sizes(table: Table) -> dict[bool, tuple[float, float]]:
    """(volts, seconds) of the pulses up (True) and down (False) of a train; empty where the file does not tell.

    Raises:
        ConfigError: pulses of one polarity differ.
    """
    if "amplitude" not in table or "width" not in table:
        return {}
    found: dict[bool, tuple[float, float]] = {}
    polarity = _polarity(table)
    for line, sign, volts, width in zip(table.lines, polarity, table["amplitude"], table["width"], strict=True):
        if sign:
            first = found.setdefault(bool(sign > 0), (float(volts), float(width)))
            if not np.allclose(first, (volts, width), rtol=0.01):
                raise ConfigError(
                    "data", f"{table.name}, line {line}: pulses of one polarity must be alike, got {volts:g} V for "
                    f"{width:g} s after {first[0]:g} V for {first[1]:g} s; give each size a file of its own"
                )  # fmt: skip
    return found


def _polarity(table: Table) -> Array:
    if "polarity" in table:
        return table["polarity"]
    return np.asarray(np.where(table["width"] > 0, np.sign(table["amplitude"]), 0.0), dtype=np.float64)


def _trains(table: Table) -> tuple[Array, Array]:
    """(polarity [pulses], conductance [cells, pulses]), rows in the order of their pulse numbers."""
    polarity = _polarity(table)
    cells = table["cell"] if "cell" in table else np.zeros(len(table))
    signs, curves = [], []
    for cell in np.unique(cells):
        own = np.flatnonzero(cells == cell)
        if (np.diff(table["pulse"][own]) <= 0).any():
            bad = own[int(np.flatnonzero(np.diff(table["pulse"][own]) <= 0)[0]) + 1]
            raise ConfigError("data", f"{table.name}, line {table.lines[bad]}: the pulse number does not increase")
        signs.append(polarity[own])
        curves.append(table["conductance"][own])
        if len(own) != len(signs[0]) or (signs[-1] != signs[0]).any():
            raise ConfigError("data", f"{table.name}: cell {cell:g} took other pulses than the first cell")
    if not signs[0].any():
        raise ConfigError("data", f"{table.name}: there is no pulse; polarity is 1 or -1")
    return signs[0], np.stack(curves)


def _nominal(device: PulsedModel, count: int) -> Cells:
    one = torch.ones(count, dtype=torch.float64)
    low, high = device.bounds
    return Cells({"up": one, "down": one, "low": low * one, "high": high * one})


def _start(measured: Array) -> Free:
    return Free(START, float(max(measured[0], 1e-3 * measured.max())), 0.0, unit="S", nuisance=True, zero=True)
