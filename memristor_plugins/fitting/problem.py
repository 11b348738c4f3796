"""A measurement and a device, as a least-squares problem: one class a kind of measurement."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from memristor_plugins.errors import ConfigError, SimulationError
from memristor_plugins.fitting.free import Free
from memristor_plugins.fitting.intervals import Inference, goodness, infer
from memristor_plugins.fitting.iv import CURRENT_OFFSET, VOLTAGE_OFFSET, SweepModel
from memristor_plugins.fitting.least_squares import Solution, minimise
from memristor_plugins.fitting.moments import Build, Moments
from memristor_plugins.fitting.profile import looked_at_again
from memristor_plugins.interfaces.device import Device

Array = NDArray[np.float64]

# A channel's offset is small: at most this part of its range either way.
LARGEST = 0.05
# Rows of a sweep that a search looks at, at most.
SEARCHED = 100


@dataclass(frozen=True)
class Overlay:
    """Measured and fitted values, for the figure, the table and the goodness of fit; SI units.

    Args:
        x: abscissa, [n].
        measured, fitted: [n].
        error: standard error of each measured value, or None.
        x_label, y_label: quantity and unit.
        series: which line each point belongs to, [n]; None: one line.
    """

    x: Array
    measured: Array
    fitted: Array
    error: Array | None
    x_label: str
    y_label: str
    series: tuple[str, ...] | None = None


class Problem(ABC):
    """Residuals of parameter sets, and what is known of the residuals' covariance."""

    nuisances: Sequence[Free] = ()
    covariance: Array | None = None
    samples: int | None = None
    together: bool = False  # many parameter sets cost hardly more than one

    @abstractmethod
    def residuals(self, values: Mapping[str, Array]) -> Array:
        """[sets, residuals], dimensionless, of parameters each [sets]; nan where a set cannot be simulated."""

    def coarse(self, values: Mapping[str, Array]) -> Array:
        """The same at less cost, good enough to search with; here the residuals themselves."""
        return self.residuals(values)

    @abstractmethod
    def overlay(self, values: Mapping[str, float]) -> Overlay:
        """Measured and predicted values at one parameter set."""


@dataclass
class SweepProblem(Problem):
    """An I-V sweep; residuals are over the range of the current.

    Args:
        model: of the sweep.
        offsets: both channels' offsets are free.
    """

    model: SweepModel
    offsets: bool = False
    nuisances: Sequence[Free] = field(init=False)
    together: bool = True
    rough: SweepModel = field(init=False)

    def __post_init__(self) -> None:
        sweep = self.model.sweep
        self.scale = float(np.ptp(sweep.current))
        if self.scale == 0:
            raise ConfigError("data", "the current is the same in every row; there is nothing to fit")
        self.rough = replace(self.model, sweep=sweep.thinned(SEARCHED), tolerance=None)
        self.nuisances = ()
        if self.offsets:
            v, i = float(np.ptp(sweep.voltage)), self.scale
            self.nuisances = (
                Free(VOLTAGE_OFFSET, 0.0, -LARGEST * v, LARGEST * v, "V", 0.1 * v, nuisance=True),
                Free(CURRENT_OFFSET, 0.0, -LARGEST * i, LARGEST * i, "A", 0.1 * i, nuisance=True),
            )

    def residuals(self, values: Mapping[str, Array]) -> Array:
        return (self.model.currents(values) - self.model.sweep.current) / self.scale

    def coarse(self, values: Mapping[str, Array]) -> Array:
        rough = self.rough
        weight = float(np.sqrt(len(self.model.sweep.time) / len(rough.sweep.time)))
        rest = rough.currents(values) - rough.sweep.current
        return np.asarray(weight / self.scale * rest, dtype=np.float64)

    def overlay(self, values: Mapping[str, float]) -> Overlay:
        sweep = self.model.sweep
        fitted = self.model.currents({k: np.array([v]) for k, v in values.items()})[0]
        return Overlay(sweep.voltage, sweep.current, fitted, sweep.noise, "voltage (V)", "current (A)")


@dataclass
class MomentProblem(Problem):
    """Means and standard deviations over cells; residuals are over their standard errors."""

    moments: Moments
    build: Build
    kind: str

    def __post_init__(self) -> None:
        self.covariance, self.samples = self.moments.covariance, self.moments.cells

    def residuals(self, values: Mapping[str, Array]) -> Array:
        return _each(values, self.build, self.moments.residuals, len(self.moments.value))

    def overlay(self, values: Mapping[str, float]) -> Overlay:
        m = self.moments
        labels = [*m.labels, *(m.labels[k] for k in m.with_spread)]
        mean = ["mean error" if self.kind == "programming" else "mean change"] * len(m.labels)
        names = [*mean, *["standard deviation"] * len(m.with_spread)]
        if self.kind == "programming":
            x, x_label = np.array([level for level, _ in labels]), "target conductance (S)"
        else:
            x, x_label = np.array([time for _, time in labels]), "time since programming (s)"
            if len({level for level, _ in labels}) > len({time for _, time in labels}):
                names = [f"{n}, from {level:.3g} S" for n, (level, _) in zip(names, labels, strict=True)]
        fitted, measured = m.siemens(m.simulated(self.build(dict(values)))), m.siemens(m.value)
        error = m.error * np.where(np.arange(len(measured)) < len(m.groups), 1.0, measured)
        return Overlay(x, measured, fitted, error, x_label, "conductance (S)", tuple(names))


@dataclass
class CurveProblem(Problem):
    """One curve, or the average of several cells' curves; residuals are over its range.

    Args:
        x: abscissa.
        measured: [n].
        predict: a device and the nuisances -> [n].
        build: parameters -> device.
        x_label, y_label: quantity and unit.
        error: standard errors where there were several curves.
        series: of each point.
        nuisances: besides the device's parameters.
        covariance: of the residuals, from several curves.
        samples: how many curves.
    """

    x: Array
    measured: Array
    predict: Callable[[Device, Mapping[str, float]], Array]
    build: Build
    x_label: str
    y_label: str
    error: Array | None = None
    series: tuple[str, ...] | None = None
    nuisances: Sequence[Free] = ()
    covariance: Array | None = None
    samples: int | None = None

    def __post_init__(self) -> None:
        self.scale = float(np.ptp(self.measured))
        if self.scale == 0:
            raise ConfigError("data", "the conductance is the same in every row; there is nothing to fit")
        if self.covariance is not None:
            self.covariance = self.covariance / self.scale**2

    def residuals(self, values: Mapping[str, Array]) -> Array:
        names = [n.name for n in self.nuisances]
        count = len(next(iter(values.values())))
        found = np.full((count, len(self.x)), np.nan)
        for i in range(count):
            own = {k: float(v[i]) for k, v in values.items()}
            try:
                device = self.build({k: v for k, v in own.items() if k not in names})
                found[i] = (self.predict(device, own) - self.measured) / self.scale
            except (ConfigError, SimulationError):
                continue
        return found

    def overlay(self, values: Mapping[str, float]) -> Overlay:
        names = [n.name for n in self.nuisances]
        device = self.build({k: v for k, v in values.items() if k not in names})
        fitted = self.predict(device, values)
        return Overlay(self.x, self.measured, fitted, self.error, self.x_label, self.y_label, self.series)


@dataclass(frozen=True)
class Fit:
    """What a fit found.

    Args:
        free: the free parameters.
        solution: the minimum.
        inference: estimates with intervals.
        overlay: measured and fitted values.
        quality: see `intervals.goodness`.
    """

    free: tuple[Free, ...]
    solution: Solution
    inference: Inference
    overlay: Overlay
    quality: dict[str, float | None]

    @property
    def values(self) -> dict[str, float]:
        """All free parameters, nuisances too."""
        return {e.name: e.value for e in self.inference.estimates}

    @property
    def device_values(self) -> dict[str, float]:
        """The device's."""
        return {e.name: e.value for e in self.inference.estimates if not e.nuisance}


def fit(
    problem: Problem,
    free: Sequence[Free],
    *,
    starts: int = 3,
    robust: float | None = None,
    seed: int = 0,
    tell: Callable[[str], None] | None = None,
) -> Fit:
    """Fit the free parameters, and the problem's nuisances, to its measurement; see `minimise` for the rest."""
    every = (*free, *problem.nuisances)

    def named(points: Array) -> dict[str, Array]:
        return {f.name: points[:, i] for i, f in enumerate(every)}

    def residuals(points: Array) -> Array:
        return problem.residuals(named(points))

    cheaper = type(problem).coarse is not Problem.coarse
    solution = minimise(
        residuals,
        every,
        coarse=(lambda points: problem.coarse(named(points))) if cheaper else None,
        starts=starts,
        robust=robust,
        seed=seed,
        together=problem.together,
        tell=tell,
    )
    inference = infer(solution, every, problem.covariance, problem.samples)
    if robust is None:  # the sum of squares then says which fit is better
        inference = looked_at_again(inference, solution, every, residuals, together=problem.together)
    overlay = problem.overlay({e.name: e.value for e in inference.estimates})
    quality = goodness(overlay.measured, overlay.fitted, len(every), overlay.error)
    return Fit(every, solution, inference, overlay, quality)


def _each(values: Mapping[str, Array], build: Build, residuals: Callable[[Device], Array], size: int) -> Array:
    """Residuals of devices built one by one; nan where one cannot be built or simulated."""
    count = len(next(iter(values.values())))
    found = np.full((count, size), np.nan)
    for i in range(count):
        try:
            found[i] = residuals(build({k: float(v[i]) for k, v in values.items()}))
        except (ConfigError, SimulationError):
            continue
    return found
