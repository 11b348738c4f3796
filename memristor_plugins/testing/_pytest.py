"""The kit as a pytest decorator. pytest is imported when it is used, and not before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from memristor_plugins.errors import PluginError, nearest
from memristor_plugins.testing._core import Check, checks_of, subject

Test = TypeVar("Test", bound=Callable[..., Any])


def parametrize_with_checks(
    plugins: Sequence[Any], *, expected_failures: Mapping[str, Mapping[str, str]] | None = None
) -> Callable[[Test], Test]:
    """Decorator of a pytest test: one case for each plugin and check.

        @parametrize_with_checks(["device/ferro_tunnel", FerroTunnel(g_max=1e-4)])
        def test_conforms(plugin, check):
            check(plugin)

    Args:
        plugins: `GROUP/NAME` of installed ones (not imported until their test runs), classes, or instances.
        expected_failures: for each plugin, by `GROUP/NAME` or class name, the checks that it is known to fail and why.
            They are run; one that passes fails the test, so that the list stays true.

    Raises:
        PluginError: no such plugin or check; names the nearest.
        ImportError: pytest is not installed.
    """
    import pytest

    expected = dict(expected_failures or {})
    cases = []
    for plugin in plugins:
        label, checks = _described(plugin)
        reasons = expected.pop(label, {})
        for name in reasons:
            if name not in (c.name for c in checks):
                raise PluginError(f"{label}: no such check '{name}'; {nearest(name, [c.name for c in checks])}")
        for one in checks:
            marks = [pytest.mark.xfail(reason=reasons[one.name], strict=True)] if one.name in reasons else []
            cases.append(pytest.param(plugin, one, id=f"{label}-{one.name}", marks=marks))
    if expected:
        raise PluginError(f"expected_failures names '{next(iter(expected))}', which is not among the plugins")
    return pytest.mark.parametrize(("plugin", "check"), cases)


def _described(plugin: Any) -> tuple[str, tuple[Check, ...]]:
    if isinstance(plugin, str):
        return plugin, checks_of(plugin.partition("/")[0])
    tested = subject(plugin)
    return tested.name, checks_of(tested.group)
