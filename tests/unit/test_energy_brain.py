"""The brain's energy an event against numbers worked by hand."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memristor_plugins.energy.brain import Account, Brain
from memristor_plugins.errors import ConfigError
from memristor_plugins.interfaces.energy import LayerProfile, WorkloadProfile

IDLE: dict[str, Any] = {f.name: 0 for f in fields(LayerProfile)} | {"name": "conv1", "banks": 1}


def profile(**counts: Any) -> WorkloadProfile:
    layer = LayerProfile(**(IDLE | counts))
    return WorkloadProfile((layer,), 1e6, 10e-9, images=1, data="digits", device="ideal")


@pytest.mark.parametrize(
    ("account", "joules"),
    # 1e6 events at 20, 3.6 or 0.1 W over 1e15 events/s.
    [("whole", 20e-9), ("communication", 3.6e-9), ("computation", 0.1e-9)],
)
def test_accounts(account: Account, joules: float) -> None:
    report = Brain(account=account, event_rate=1e15).estimate(profile(nonzero_macs=1e6))
    assert report.total_j == pytest.approx(joules)


def test_the_whole_is_split_into_its_audit() -> None:
    report = Brain(event_rate=1e15).estimate(profile(nonzero_macs=1e6))
    assert report.by_component() == pytest.approx(
        {"remainder": 16.4e-9, "communication": 3.5e-9, "computation": 0.1e-9}
    )


def test_only_inputs_that_are_not_zero_are_events() -> None:
    assert Brain().estimate(profile(macs=1e9, digital_macs=1e9, routing_macs=1e6, v2g=1.0)).total_j == 0.0


@given(events=st.floats(0, 1e15), power=st.floats(4, 100), rate=st.floats(1e10, 1e20))
def test_energy_is_events_times_power_over_rate(events: float, power: float, rate: float) -> None:
    report = Brain(power=power, event_rate=rate).estimate(profile(nonzero_macs=events))
    assert report.total_j == pytest.approx(events * power / rate, rel=1e-9)


def test_a_power_below_its_parts_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"energies\.brain\.power: .*3\.6 W; got 3"):
        Brain(power=3.0)


def test_captions_state_account_and_range() -> None:
    said = " ".join(Brain(account="communication").estimate(profile(nonzero_macs=1e9)).assumptions)
    # 1e9 events * 3.6 W over 1e14 and 1e15 a second.
    for fact in ("10.1073/pnas.2008173118", "11.4 fJ", "3.6 W", "1e+09", "3.6e-05 to 3.6e-06 J", "routing"):
        assert fact in said
