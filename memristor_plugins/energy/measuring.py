"""Energy of the digital network by an energy counter of the processor that runs it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from memristor_plugins.energy.components import MEASURED, NETWORK
from memristor_plugins.errors import SimulationError
from memristor_plugins.interfaces.energy import CostEntry, CostReport, Replay, WorkloadProfile

# Runs before the counter is read: memory is allocated, kernels are chosen, clocks rise.
WARM_UP = 3


@dataclass(frozen=True)
class Measurement:
    """What one batch took, on average over `runs`: joules and seconds."""

    joules: float
    seconds: float
    runs: int


def measure(
    run: Callable[[], None],
    counter: Callable[[], float],
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> Measurement:
    """Run until `seconds` have passed, between two readings of an energy counter (joules)."""
    for _ in range(WARM_UP):
        run()
    first, start, runs = counter(), clock(), 0
    while runs == 0 or clock() - start < seconds:
        run()
        runs += 1
    stop, last = clock(), counter()
    return Measurement((last - first) / runs, (stop - start) / runs, runs)


def replay_of(profile: WorkloadProfile, estimator: str) -> Replay:
    """What runs the digital network.

    Raises:
        SimulationError: the profile was not made from a network.
    """
    if profile.replay is None:
        raise SimulationError(f"energy={estimator} runs the network itself, which this profile does not hold")
    return profile.replay


def report(
    profile: WorkloadProfile, estimator: str, found: Measurement, batch: int, precision: str, about: str
) -> CostReport:
    """One image's share of the measured batches; a counter cannot tell layers or components apart."""
    return CostReport(
        estimator,
        (CostEntry(NETWORK, MEASURED, found.joules / batch, found.seconds),),
        (
            about,
            f"the digital network in {precision}, batch {batch}, mean of {found.runs} batches; "
            f"{found.joules / found.seconds:.3g} W, idle power and what else ran on it included",
        ),
        ops=profile.ops,
        precision=precision,
        batch=batch,
        interval_s=found.seconds / batch,
    )
