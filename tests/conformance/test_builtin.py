"""Every built-in plugin passes the kit that is shipped to plugin authors, and the kit's own interface."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from memristor_plugins import registry
from memristor_plugins.devices.ideal import Ideal
from memristor_plugins.devices.table import Table
from memristor_plugins.errors import ConfigError, PluginError
from memristor_plugins.testing import (
    Check,
    CheckFailed,
    check_plugin,
    checks_of,
    parametrize_with_checks,
    run_checks,
)

TABLE = "target_us,mean_us,std_us\n1,1.0,0.1\n20,19.5,0.4\n"
# A table's statistics come from a file that only a user has.
PLUGINS = [f"{p.group}/{p.name}" for p in registry.plugins() if p.builtin and p.name != "table"]


@parametrize_with_checks(PLUGINS)
def test_built_in(plugin: str, check: Check) -> None:
    check(plugin)


@pytest.fixture
def table(tmp_path: Path) -> str:
    (tmp_path / "reads.csv").write_text(TABLE)
    return str(tmp_path / "reads.csv")


def test_a_plugin_with_a_required_parameter(table: str) -> None:
    check_plugin("device/table", parameters={"file": table})
    results = check_plugin(Table(file=table))
    assert {r.check for r in results if r.status == "skipped"} >= {"config_round_trip"}
    with pytest.raises(ConfigError, match=r"device\.file: must be given"):
        check_plugin("device/table")


def test_a_class_and_an_instance_are_plugins_too() -> None:
    names = [c.name for c in checks_of("device")]
    for plugin in ("device/ideal", Ideal, Ideal(g_max=1e-4)):
        assert [r.check for r in check_plugin(plugin)] == names


def test_there_are_enough_checks_of_every_group() -> None:
    assert {group: len(checks_of(group)) >= 18 for group in registry.GROUPS} == dict.fromkeys(registry.GROUPS, True)
    assert all(c.about and c.name.isidentifier() for g in registry.GROUPS for c in checks_of(g))


class Rising(Ideal):
    """An ideal cell that grows by itself, without limit: assumed."""

    def conductance(self, state: Any, seconds: float) -> torch.Tensor:
        grown: torch.Tensor = state.g * (1 + seconds) - seconds
        return grown


def test_a_failure_names_check_and_plugin() -> None:
    with pytest.raises(CheckFailed) as caught:
        check_plugin(Rising)
    first, *lines = str(caught.value).splitlines()
    assert first.startswith("Rising fails ")
    assert any(line.strip().startswith("values_are_physical: conductance is negative after") for line in lines)


def test_expected_failures_are_run_and_must_fail() -> None:
    failing = {r.check: "known" for r in run_checks(Rising) if r.status == "failed"}
    results = check_plugin(Rising, expected_failures=failing)
    assert {r.check for r in results if r.status == "expected"} == set(failing)
    with pytest.raises(CheckFailed, match="take it out of expected_failures"):
        check_plugin(Ideal, expected_failures={"seeds": "known"})
    with pytest.raises(PluginError, match="no such check 'seed'; did you mean 'seeds'"):
        check_plugin(Ideal, expected_failures={"seed": "known"})
    with pytest.raises(PluginError, match="needs a reason"):
        check_plugin(Ideal, expected_failures={"seeds": " "})


@parametrize_with_checks(
    [Rising], expected_failures={"Rising": {"values_are_physical": "grows", "device_trains": "grows"}}
)
def test_the_decorator_marks_what_is_expected(plugin: Any, check: Check) -> None:
    check(plugin)


def test_the_decorator_refuses_what_is_not_there() -> None:
    with pytest.raises(PluginError, match="did you mean 'seeds'"):
        parametrize_with_checks([Ideal], expected_failures={"ideal": {"seed": "x"}})
    with pytest.raises(PluginError, match="'ideall', which is not among the plugins"):
        parametrize_with_checks([Ideal], expected_failures={"ideall": {"seeds": "x"}})


def test_what_is_no_plugin_is_told() -> None:
    with pytest.raises(PluginError, match="int is no plugin: it must be a subclass of one of Device"):
        check_plugin(3)
    with pytest.raises(PluginError, match="did you mean 'ideal'"):
        check_plugin("device/ideall")
    with pytest.raises(ConfigError, match="no such option; did you mean 'g_max'"):
        check_plugin(Ideal, parameters={"g_maxx": 1.0})


def test_the_kit_imports_no_pytest_and_leaves_no_trace() -> None:
    code = (
        "import sys, torch; from memristor_plugins.testing import check_plugin; torch.manual_seed(3)\n"
        "before = torch.get_rng_state(); check_plugin('kernel/static')\n"
        "assert 'pytest' not in sys.modules; assert torch.equal(before, torch.get_rng_state())"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
