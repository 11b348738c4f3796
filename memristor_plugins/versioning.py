"""The version of the plugin contracts, and how a name of theirs leaves: deprecated for one minor version, then gone."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

# Version of the plugin contracts. A plugin says which it was written against (`requires_api`, a class attribute).
PLUGIN_API = 1
# The oldest version whose plugins still run.
OLDEST_API = 1

P = ParamSpec("P")
R = TypeVar("R")


def api_complaint(required: object) -> str | None:
    """Why a plugin that requires this version of the contracts cannot run, in words; None where it can.

    Args:
        required: a plugin's `requires_api`; None where it does not say: then it is taken as it is.
    """
    if required is None:
        return None
    if not isinstance(required, int) or isinstance(required, bool) or required < 1:
        return f"requires_api must be a whole number >= 1, got {required!r}"
    if required > PLUGIN_API:
        return f"needs plugin API {required}, and this is {PLUGIN_API}: upgrade memristor-plugins"
    if required < OLDEST_API:
        return f"was written for plugin API {required}, and the oldest that runs is {OLDEST_API}: upgrade it"
    return None


class PluginDeprecationWarning(DeprecationWarning):
    """A name of the public interface that the next minor version will not have."""


@dataclass(frozen=True)
class Deprecation:
    """A public name on its way out.

    Args:
        name: what a plugin author wrote, such as `api.old_name` or `Device.old_method`.
        since: first version that warns, `MAJOR.MINOR`.
        instead: what to write, in words.
    """

    name: str
    since: str
    instead: str

    @property
    def gone(self) -> str:
        """First version without the name: the minor after `since`."""
        major, minor = self.since.split(".")[:2]
        return f"{major}.{int(minor) + 1}"

    def expired(self, version: str) -> bool:
        """Whether package version `version` should not have the name any more."""
        return [int(n) for n in version.split(".")[:2]] >= [int(n) for n in self.gone.split(".")]

    def warn(self, stacklevel: int = 2) -> None:
        """Warn the caller, `stacklevel` frames up, once for each place in his code."""
        text = f"{self.name} is deprecated since {self.since} and gone in {self.gone}; {self.instead}"
        warnings.warn(text, PluginDeprecationWarning, stacklevel=stacklevel + 1)


def deprecated(deprecation: Deprecation) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorator of a function or method that still works, and warns its caller."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
            deprecation.warn()
            return function(*args, **kwargs)

        wrapped.__deprecation__ = deprecation  # type: ignore[attr-defined]
        return wrapped

    return decorate


def renamed(module: str, names: Mapping[str, tuple[Deprecation, Any]]) -> Callable[[str], Any]:
    """A module's `__getattr__` that still answers old names, with a warning.

    Args:
        module: its `__name__`.
        names: what stood there under each old name, and why it goes.
    """

    def answer(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module '{module}' has no attribute '{name}'")
        deprecation, value = names[name]
        deprecation.warn()
        return value

    return answer
