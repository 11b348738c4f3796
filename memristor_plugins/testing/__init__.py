"""The conformance kit: does a plugin keep the promises of its contract?

    from memristor_plugins.testing import check_plugin

    check_plugin("device/ferro_tunnel")

runs every check of the plugin's group, on small tensors, in a second or so. In a test module
`parametrize_with_checks` makes each check a case of its own, and `memristor plugins check GROUP/NAME` prints a table.
Traits are tested, not believed: an effect that says it is linear is tried with sums of inputs, read noise is compared
with the deviation that the device states. Statistical checks use fixed seeds and limits of five standard errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Imported for the checks they register, in the order in which they run.
from memristor_plugins.testing import common, device, energy, kernel, mapping, nonideality  # noqa: F401
from memristor_plugins.testing._core import Check, CheckFailed, CheckSkipped, Result, checks_of, run
from memristor_plugins.testing._pytest import parametrize_with_checks

__all__ = [
    "Check",
    "CheckFailed",
    "CheckSkipped",
    "Result",
    "check_plugin",
    "checks_of",
    "parametrize_with_checks",
    "run_checks",
]

run_checks = run


def check_plugin(
    plugin: Any,
    *,
    expected_failures: Mapping[str, str] | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> tuple[Result, ...]:
    """Run all checks of a plugin's group, and raise if one fails.

    Args:
        plugin: `GROUP/NAME` of an installed one such as `device/ideal`, a class, or an instance.
        expected_failures: names of checks that it is known to fail, each with the reason. They run all the same: one
            that passes is a failure, so that the list stays true.
        parameters: what its class is called with beyond its defaults, where it has required parameters.

    Returns:
        One result a check, all of them passed, skipped or expected to fail.

    Raises:
        CheckFailed: names each check that failed, and how.
        PluginError: no such plugin or check, or the plugin cannot be imported.
        ConfigError: a parameter that it does not take, or one that must be given.
    """
    results = run(plugin, expected_failures=expected_failures, parameters=parameters)
    failed = [f"{r.check}: {r.message}" for r in results if r.status == "failed"]
    if failed:
        name = plugin if isinstance(plugin, str) else getattr(plugin, "__name__", type(plugin).__name__)
        raise CheckFailed(f"{name} fails {len(failed)} of {len(results)} checks\n  " + "\n  ".join(failed))
    return results
