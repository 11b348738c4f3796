"""Conductances against the number of writes."""

from __future__ import annotations

from memristor_plugins.characterize.bench import Bench
from memristor_plugins.characterize.result import Absent, Shown


def figure(bench: Bench) -> Shown | Absent:
    """The device contract has no wear: it is an effect on arrays, with numbers of its own."""
    return Absent("no device model states wear; arrays get it by nonideality=[endurance]")
