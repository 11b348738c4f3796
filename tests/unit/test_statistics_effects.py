"""Every random effect in one table: mean, variance and correlation against its formula, and its identity.

Over 2e5 cells each; an interval holds with 1e-6 probability of a false alarm. An effect that is missing here fails.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any, NamedTuple

import pytest
import torch
from torch import Generator, Tensor

from memristor_plugins import registry
from memristor_plugins.devices.adaptive_2d import Adaptive2D
from memristor_plugins.devices.generic import Generic
from memristor_plugins.interfaces.device import CellState, Device
from memristor_plugins.interfaces.nonideality import Context, NonIdeality, Site
from memristor_plugins.nonidealities.adc import ADC
from memristor_plugins.nonidealities.d2d import D2D
from memristor_plugins.nonidealities.dac import DAC
from memristor_plugins.nonidealities.drift import Drift
from memristor_plugins.nonidealities.endurance import Endurance
from memristor_plugins.nonidealities.flicker import Flicker
from memristor_plugins.nonidealities.gate_noise import GateNoise
from memristor_plugins.nonidealities.programming import Programming
from memristor_plugins.nonidealities.read_noise import ReadNoise
from memristor_plugins.nonidealities.relaxation import Relaxation
from memristor_plugins.nonidealities.retention import Retention
from memristor_plugins.nonidealities.rtn import RTN
from memristor_plugins.nonidealities.stuck_at import StuckAt
from memristor_plugins.nonidealities.write_verify import WriteVerify

Z = 4.9  # two-sided normal quantile of 1e-6
N = 200_000
G = 10e-6
DAY = 86_400.0
DEVICE = Generic(std=0.03, read_std=0.02, drift=0.05, drift_std=0.01)
# These draw nothing: a formula, not a distribution, tested by value (`test_nonidealities_*.py`, `test_wires_*.py`).
DETERMINISTIC = {"levels", "temperature", "iv", "ir_drop", "sneak", "gate", "gate_crosstalk"}


class Row(NamedTuple):
    """One effect.

    Args:
        effect: of some strength.
        none: of zero strength, or where nothing acts.
        seen: the number of each cell whose distribution is told, from what the effect made of conductances G.
        mean, variance: of it.
        seconds: since programming.
        device: whose cells they are.
    """

    effect: NonIdeality
    none: NonIdeality
    seen: Callable[[Tensor], Tensor]
    mean: float
    variance: float
    seconds: float = 0.0
    device: Device = DEVICE


def same(g: Tensor) -> Tensor:
    return g


def relative(g: Tensor) -> Tensor:
    return g / G


def is_high(g: Tensor) -> Tensor:
    return (g > 15e-6).double()


P_WORN = NormalDist().cdf(math.log(0.2) / 1.5) * 0.4
BAND = 2e-4 * math.log(10.0 / DEVICE.read_time)
TELEGRAPH = 0.5 * 0.1**2 * math.exp(2 * 0.4**2) * 0.3 * 0.7
TABLE = {
    "programming": Row(Programming(0.5), Programming(0), same, G, (0.5 * 0.03 * 20e-6) ** 2),
    "write_verify": Row(WriteVerify(0), WriteVerify(0), same, G, (0.03 * 20e-6) ** 2),
    "drift": Row(Drift(), Drift(0), lambda g: -relative(g).log() / math.log1p(DAY), 0.05, 0.01**2, seconds=DAY),
    "d2d": Row(D2D(0.3), D2D(0.0), relative, 1.0, math.expm1(0.09)),
    "retention": Row(
        Retention(tau=1e5, sigma=0.6, g_off=0.0),
        Retention(tau=math.inf),
        lambda g: (DAY / -relative(g).log() / 1e5).log(),
        0.0,
        0.36,
        seconds=DAY,
    ),
    "relaxation": Row(
        Relaxation(1e-3, 1e-2), Relaxation(0.0), same, G, (1e-3 * 20e-6 * math.log1p(DAY / 1e-2)) ** 2, seconds=DAY
    ),
    "stuck_at": Row(StuckAt(0.05, 0.0), StuckAt(0.0, 0.0), is_high, 0.05, 0.05 * 0.95),
    "endurance": Row(
        Endurance(2e5, 1e6, 1.5, p_on=0.4), Endurance(0.0, closing=0.5), is_high, P_WORN, P_WORN * (1 - P_WORN)
    ),
    "flicker": Row(Flicker(2e-4, 10.0), Flicker(0.0), relative, 1.0, BAND),
    "rtn": Row(RTN(0.5, 0.1, 0.4, 0.3), RTN(0.0), relative, 1.0, TELEGRAPH),
    "read_noise": Row(ReadNoise(1.5), ReadNoise(0), same, G, (1.5 * 0.02 * G) ** 2),
    "gate_noise": Row(GateNoise(0.02), GateNoise(0.0), same, 0.0, (0.02 * 4.0) ** 2, device=Adaptive2D()),
    "dac": Row(DAC(gain_std=0.03), DAC(), same, 0.0, 0.03**2),
    "adc": Row(ADC(gain_std=0.03), ADC(), same, 0.0, 0.03**2),
}


def generator(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def acted(effect: NonIdeality, row: Row, seed: int) -> Tensor:
    """What the effect makes of N cells at G (gate lines at 0 V; converters: their gain errors), float64."""
    g = torch.full((N,), G, dtype=torch.float64)
    cells = row.device.hold(g, generator=generator(seed + 50))
    context = Context(row.device, seconds=row.seconds, generator=generator(seed), cells=cells)
    drawn: Any = effect.sample((N,), generator=generator(seed + 100))
    if effect.site in (Site.INPUT, Site.SUM):
        return torch.zeros(N) if drawn is None else drawn[0].double()
    if effect.site is Site.GATE_NOISE:
        return effect.apply(torch.zeros(N, dtype=torch.float64), drawn, context)  # type: ignore[no-any-return]
    if effect.site is Site.READ:  # told as a deviation; the engine's normals are tested with its sums
        noise = torch.randn(N, generator=generator(seed), dtype=torch.float64)
        return g + noise * effect.apply(g, drawn, context)
    takes_cells = effect.site in (Site.AGE, Site.CELL)
    out = effect.apply(cells if takes_cells else g, drawn, context)
    return out.g if isinstance(out, CellState) else out


def test_the_table_names_every_effect() -> None:
    assert set(TABLE) | DETERMINISTIC == set(registry.names("nonideality"))
    assert not set(TABLE) & DETERMINISTIC


@pytest.mark.parametrize("name", TABLE)
def test_mean_variance_and_correlation(name: str) -> None:
    row = TABLE[name]
    seen = row.seen(acted(row.effect, row, 1)).double()
    d = seen - row.mean
    assert abs(float(d.mean())) < Z * math.sqrt(row.variance / N) + 1e-7 * abs(row.mean)
    # The sample variance's own deviation, from the fourth moment as measured.
    spread = float((d.square() - row.variance).square().mean().sqrt())
    assert abs(float(d.square().mean()) - row.variance) < Z * spread / math.sqrt(N) + 1e-6 * row.variance
    for lag in (1, 7):  # cells of a chip
        assert abs(float((d[lag:] * d[:-lag]).mean())) < Z * row.variance / math.sqrt(N)
    other = row.seen(acted(row.effect, row, 2)).double() - row.mean  # another chip, or another evaluation
    assert abs(float((d * other).mean())) < Z * row.variance / math.sqrt(N)
    # The same chip again is the same to the last bit.
    assert torch.equal(row.seen(acted(row.effect, row, 1)).double(), seen)


@pytest.mark.parametrize("name", [n for n in TABLE if n != "write_verify"])
def test_zero_strength_is_the_identity_exactly(name: str) -> None:
    row = TABLE[name]
    kept = 0.0 if row.effect.site in (Site.GATE_NOISE, Site.INPUT, Site.SUM) else G
    assert bool((acted(row.none, row, 1) == kept).all())
