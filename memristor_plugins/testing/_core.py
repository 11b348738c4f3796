"""What a check is, what it is applied to, and what comes out."""

from __future__ import annotations

import copy
import time
import unittest
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import torch

from memristor_plugins import registry
from memristor_plugins.build import check_arguments
from memristor_plugins.errors import MemristorError, PluginError, nearest
from memristor_plugins.interfaces.contracts import CONTRACTS

Status = Literal["passed", "failed", "skipped", "expected"]


class CheckFailed(AssertionError):
    """A plugin breaks its contract; says where, and what would be right."""


class CheckSkipped(unittest.SkipTest):
    """A check that this plugin gives no occasion for; says why."""


def expect(holds: object, message: str) -> None:
    """Fail with a message unless something holds.

    Raises:
        CheckFailed: it does not.
    """
    if not bool(holds):
        raise CheckFailed(message)


@dataclass
class Subject:
    """A plugin under test.

    Args:
        group: such as `device`.
        name: its option, or its class's name where it is not registered.
        target: class or factory.
        arguments: what `target` is called with beyond its defaults.
        plugin: its entry point, where it is registered.
        prototype: the instance that was given, where one was.
    """

    group: str
    name: str
    target: Callable[..., Any]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    plugin: registry.Plugin | None = None
    prototype: Any = None

    def make(self, **changed: Any) -> Any:
        """A fresh instance, with some parameters changed."""
        if self.prototype is not None:
            expect(not changed, "an instance cannot be made anew with other parameters")
            return copy.deepcopy(self.prototype)
        return self.target(**{**self.arguments, **changed})

    @cached_property
    def instance(self) -> Any:
        """One instance, shared by all checks: none may change it."""
        return self.make()


def subject(plugin: Any, parameters: Mapping[str, Any] | None = None) -> Subject:
    """A plugin in any of its forms as what checks take.

    Args:
        plugin: `GROUP/NAME` of an installed one, a class, or an instance.
        parameters: what its class is called with beyond the defaults; not for an instance.

    Raises:
        PluginError: no such plugin, it cannot be imported, or it belongs to no group.
        ConfigError: a parameter that it does not take.
    """
    given = dict(parameters or {})
    if isinstance(plugin, Subject):
        return plugin
    if isinstance(plugin, str):
        group, _, name = plugin.partition("/")
        found = registry.find(group, name)
        target = found.load()
        check_arguments(target, given, found.package, {})
        return Subject(group, name, target, given, found)
    kind = plugin if isinstance(plugin, type) else type(plugin)
    fitting = [g for g, contract in CONTRACTS.items() if issubclass(kind, contract)]
    if not fitting:
        valid = ", ".join(contract.__name__ for contract in CONTRACTS.values())
        raise PluginError(f"{kind.__name__} is no plugin: it must be a subclass of one of {valid}")
    known = next(
        (p for p in registry.plugins(fitting[0]) if p.target == f"{kind.__module__}:{kind.__qualname__}"), None
    )
    name = known.name if known else kind.__name__
    if isinstance(plugin, type):
        check_arguments(plugin, given, name, {})
        return Subject(fitting[0], name, plugin, given, known)
    if given:
        raise PluginError(f"{kind.__name__}: an instance has its parameters already; give the class with `parameters`")
    return Subject(fitting[0], name, kind, {}, known, plugin)


@dataclass(frozen=True)
class Check:
    """One promise of a contract. Called with a plugin it passes, raises `CheckFailed`, or raises `CheckSkipped`.

    Args:
        name: what `expected_failures` and reports call it.
        groups: the plugin groups that it concerns.
        about: what is promised, in one line.
        function: takes a `Subject`.
    """

    name: str
    groups: tuple[str, ...]
    about: str
    function: Callable[[Subject], None]

    def __call__(self, plugin: Any, parameters: Mapping[str, Any] | None = None) -> None:
        """Apply it to `GROUP/NAME`, a class or an instance.

        Torch's global generator is put back afterwards, and starts the same for each check.

        Raises:
            CheckFailed: the promise is broken, or the plugin raised something else than it may.
            CheckSkipped: the plugin gives no occasion for it.
        """
        tested = subject(plugin, parameters)
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            # What a plugin warns of at its defaults is a check of its own.
            warnings.simplefilter("ignore")
            torch.manual_seed(0)
            try:
                self.function(tested)
            except (CheckFailed, CheckSkipped):
                raise
            except Exception as error:
                reason = " ".join(str(error).split())
                raise CheckFailed(f"raised {type(error).__name__}: {reason}") from error


CHECKS: dict[str, Check] = {}


def check(*groups: str) -> Callable[[Callable[[Subject], None]], Callable[[Subject], None]]:
    """Register a function as a check of some groups; its first line says what is promised."""

    def register(function: Callable[[Subject], None]) -> Callable[[Subject], None]:
        name = function.__name__.strip("_")
        about = (function.__doc__ or "").strip().partition("\n")[0].rstrip(".")
        if name in CHECKS:
            raise ValueError(f"two checks are called {name}")
        CHECKS[name] = Check(name, groups or tuple(CONTRACTS), about, function)
        return function

    return register


def checks_of(group: str) -> tuple[Check, ...]:
    """The checks of a group, those of all groups first."""
    return tuple(c for c in CHECKS.values() if group in c.groups)


@dataclass(frozen=True)
class Result:
    """What a check found.

    Args:
        check: its name.
        about: what is promised.
        status: `passed`; `failed`; `skipped`: no occasion; `expected`: failed, and was expected to.
        message: why, empty where it passed.
        seconds: how long it took.
    """

    check: str
    about: str
    status: Status
    message: str
    seconds: float


def run(
    plugin: Any,
    *,
    expected_failures: Mapping[str, str] | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> tuple[Result, ...]:
    """All checks of a plugin's group, whatever they find.

    Args:
        plugin, expected_failures, parameters: as of `check_plugin`.

    Returns:
        One result a check.

    Raises:
        PluginError: no such plugin or check, or the plugin cannot be imported.
        ConfigError: a parameter that it does not take, or one that must be given.
    """
    tested, expected = subject(plugin, parameters), dict(expected_failures or {})
    checks = checks_of(tested.group)
    for name, reason in expected.items():
        if name not in (c.name for c in checks):
            raise PluginError(f"expected_failures: no such check '{name}'; {nearest(name, [c.name for c in checks])}")
        if not reason.strip():
            raise PluginError(f"expected_failures: '{name}' needs a reason")
    return tuple(_result(c, tested, expected.get(c.name)) for c in checks)


def _result(one: Check, tested: Subject, expected: str | None) -> Result:
    status: Status = "passed"
    message, start = "", time.perf_counter()
    try:
        one(tested)
    except CheckSkipped as skipped:
        status, message = "skipped", str(skipped)
    except (CheckFailed, MemristorError) as failure:
        status, message = "failed", str(failure)
    if expected is not None and status == "failed":
        status, message = "expected", f"{expected} ({message})"
    elif expected is not None:
        message = f"was expected to fail ({expected}), and {status}: take it out of expected_failures"
        status = "failed"
    return Result(one.name, one.about, status, message, time.perf_counter() - start)
