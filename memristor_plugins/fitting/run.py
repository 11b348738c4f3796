"""From a measured file and a device to a fit: each measurement's problem, its start, its free parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from memristor_plugins.errors import ConfigError
from memristor_plugins.fitting import curves, moments
from memristor_plugins.fitting.csv_data import Table, read
from memristor_plugins.fitting.free import Free
from memristor_plugins.fitting.free import starts as cloud
from memristor_plugins.fitting.iv import OFFSETS, SweepModel
from memristor_plugins.fitting.least_squares import STEP, minimise
from memristor_plugins.fitting.loops import sweep
from memristor_plugins.fitting.problem import Fit, MomentProblem, Problem, SweepProblem, fit
from memristor_plugins.fitting.subject import AMPLITUDE, Subject
from memristor_plugins.fitting.usable import within
from memristor_plugins.interfaces.device import Device

Array = NDArray[np.float64]

# A parameter moves the prediction by less than this part of what the strongest does: it has no effect.
NO_EFFECT = 1e-6


@dataclass(frozen=True)
class Options:
    """What a fit may be told, besides the device and the file.

    Args:
        kind: of the file; None: told from its columns.
        free: names of free parameters; None: all that the file may tell.
        offsets: offsets of the voltage and the current channel are free (sweeps).
        series_resistance: of the set-up, ohm (sweeps).
        average: a repeated sweep is averaged over its periods.
        starts: of the search; None: 16 side by side for a sweep, else 3.
        robust: residuals beyond this part of the range (of their standard errors: statistics) count linearly.
        seed: of the starts.
    """

    kind: str | None = None
    free: tuple[str, ...] | None = None
    offsets: bool = False
    series_resistance: float = 0.0
    average: bool = True
    starts: int | None = None
    robust: float | None = None
    seed: int = 0


@dataclass(frozen=True)
class Outcome:
    """A fit and what it was made of.

    Args:
        subject: the device, with what was taken from the file among its settings.
        table: the file.
        found: the fit.
        dropped: names of parameters without any effect on what was measured, which were held.
        taken: settings that the file told (pulse sizes, a range of targets).
        averaged: periods behind each point of a sweep.
        problem: for further use.
    """

    subject: Subject
    table: Table
    found: Fit
    dropped: tuple[str, ...]
    taken: dict[str, float]
    averaged: int
    problem: Problem


def fit_file(subject: Subject, path: Path, options: Options, tell: Callable[[str], None] | None = None) -> Outcome:
    """Fit a device to a measured file.

    Raises:
        ConfigError: the file, the device or an option does not fit.
        SimulationError: no start can be simulated.
    """
    table = read(path, options.kind)
    subject, taken = _told_by(subject, table)
    problem, averaged = _problem(subject, table, options)
    free = subject.candidates(table.kind, options.free)
    if table.kind == "iv":
        free = _amplitude(subject, problem, free)
    dropped: tuple[str, ...] = ()
    if options.free is None:
        active = relevant(problem, free)
        dropped = tuple(f.name for f in free if f.name not in active)
        free = [f for f in free if f.name in active]
    if not free:
        raise ConfigError("free", f"no parameter of {subject.chosen} has an effect on what {path.name} measured")
    starts = (16 if problem.together else 3) if options.starts is None else options.starts
    found = fit(problem, free, starts=starts, robust=options.robust, seed=options.seed, tell=tell)
    return Outcome(subject, table, found, dropped, taken, averaged, problem)


def check(outcome: Outcome, path: Path, options: Options) -> dict[str, float | None]:
    """Errors over the range of another sweep under the same parameters, and with its own channel offsets.

    `same`: all as fitted; `own_offsets`: the channels' offsets fitted anew (None where offsets are not free).
    """
    problem, _ = _problem(outcome.subject, read(path, "iv"), options)
    values = outcome.found.values
    shown = problem.overlay(values)
    same = float(np.sqrt(np.mean((shown.fitted - shown.measured) ** 2)) / np.ptp(shown.measured))
    if not options.offsets:
        return {"same": same, "own_offsets": None}
    # From the fitted ones on, which this file's smaller range may not reach.
    own = [
        replace(f, start=values[f.name], low=min(f.low, values[f.name]), high=max(f.high, values[f.name]))
        for f in problem.nuisances
    ]
    device = {k: v for k, v in values.items() if k not in OFFSETS}

    def residuals(points: Array) -> Array:
        held = {k: np.full(len(points), v) for k, v in device.items()}
        return problem.residuals({**held, **{f.name: points[:, i] for i, f in enumerate(own)}})

    refit = minimise(residuals, own, starts=2, screen=16, together=True)
    return {"same": same, "own_offsets": float(np.sqrt(np.mean(refit.residuals**2)))}


def relevant(problem: Problem, free: Sequence[Free]) -> set[str]:
    """Names of parameters with an effect at any of some points about the start."""
    every = [*free, *problem.nuisances]
    if not free:
        return set()
    strength = np.zeros(len(free))
    for point in cloud(every, 5, 1.0, 0):
        steps = np.vstack([point, *(point + STEP * np.eye(len(every))[i] for i in range(len(free)))])
        values = {f.name: f.value(steps[:, i]) for i, f in enumerate(every)}
        found = problem.residuals(values)
        moved = np.sqrt(np.nansum((found[1:] - found[0]) ** 2, axis=1))
        if moved.max() > 0:
            strength = np.maximum(strength, moved / moved.max())
    return {f.name for f, s in zip(free, strength, strict=True) if s > NO_EFFECT}


def _told_by(subject: Subject, table: Table) -> tuple[Subject, dict[str, float]]:
    """The device with what the file tells beyond doubt: how large pulses are, which targets there are."""
    taken: dict[str, float] = {}
    names = subject.signature
    if table.kind == "pulses":
        subject.pulsed()
        for up, (volts, width) in curves.pulse_sizes(table).items():
            options = (("voltage_up", "width_up"), ("v_set", "set_width"))
            if not up:
                options = (("voltage_down", "width_down"), ("v_reset", "reset_width"))
            chosen = next((o for o in options if set(o) <= set(names)), None)
            if chosen is not None:
                taken |= dict(zip(chosen, (volts, width), strict=True))
    if table.kind == "programming" and {"g_min", "g_max"} <= set(names):
        target, device = table["target"], subject.device
        if target.max() > 1.01 * device.g_max or target[target > 0].min(initial=np.inf) < 0.99 * device.g_min:
            taken = {"g_min": float(target.min()), "g_max": float(target.max())}
    taken = {k: v for k, v in taken.items() if k not in subject.given}
    if taken:
        subject = replace(subject, settings={**subject.settings, **taken}, given=(*subject.given, *taken))
    return subject, taken


def _problem(subject: Subject, table: Table, options: Options) -> tuple[Problem, int]:
    def build(values: dict[str, float]) -> Device:
        return subject.build(dict(values))

    if table.kind == "iv":
        if "gate_voltage" in table and not subject.model().gated:
            raise ConfigError("data", f"{table.name} has gate voltages, and {subject.chosen} has no gate")
        measured = sweep(table, average=options.average)
        model = SweepModel(subject.model(), measured, options.series_resistance, possible=subject.possible)
        return SweepProblem(model, options.offsets), measured.averaged
    for name, given in (("offsets", options.offsets), ("series_resistance", options.series_resistance)):
        if given:
            raise ConfigError(name, f"is for sweeps (kind=iv); {table.name} is read as kind={table.kind}")
    subject.device  # noqa: B018  checked before anything is computed
    if table.kind == "pulses":
        # Which targets are used says nothing of a pulse train, and must not keep the bounds from moving.
        return curves.pulses(table, lambda values: subject.build({**within(subject, values), **values})), 1
    if table.kind == "programming":
        return MomentProblem(moments.programming(table), build, "programming"), 1
    if "cell" in table and len(np.unique(table["cell"])) > 1:
        return MomentProblem(moments.retention(table), build, "retention"), 1
    return curves.single_retention(table, build), 1


def _amplitude(subject: Subject, problem: Problem, free: Sequence[Free]) -> list[Free]:
    """Starts at which the predicted current has the measured size."""
    powers = {k: p for k, p in AMPLITUDE.get(subject.name, {}).items() if k not in subject.given}
    free = list(free)
    if not isinstance(problem, SweepProblem) or not any(f.name in powers for f in free):
        return free
    for _ in range(3):
        values = {f.name: np.array([f.start]) for f in free}
        predicted = problem.model.currents(values)[0]
        size, wanted = float(np.ptp(predicted)), float(np.ptp(problem.model.sweep.current))
        if not (np.isfinite(size) and size > 0):
            return free
        factor = wanted / size
        free = [
            replace(f, start=min(max(f.start * factor ** powers[f.name], f.low), f.high)) if f.name in powers else f
            for f in free
        ]
    return free
