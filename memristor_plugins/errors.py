"""The exceptions that a user may see: one line each, naming the option and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MemristorError(Exception):
    """Base of every error raised on purpose; the command line prints it in one line and exits with 2."""


class ConfigError(MemristorError):
    """A setting that cannot be used.

    Args:
        option: the setting as typed on a command line, such as `device.g_max`.
        message: what was wrong, and what would be right.
    """

    def __init__(self, option: str, message: str) -> None:
        super().__init__(option, message)
        self.option = option
        self.message = message

    def __str__(self) -> str:
        return f"{self.option}: {self.message}"


class PluginError(MemristorError):
    """A plugin that cannot be found, imported or used; names its distribution, version and target."""


class SimulationError(MemristorError):
    """A combination or a state that the engine cannot simulate."""


def nearest(name: str, valid: Iterable[str], count: int = 3) -> str:
    """A phrase naming the valid names nearest to `name`: "did you mean 'g_on'?" or "valid: a, b, c"."""
    names = sorted(valid)
    if not names:
        return "there are none to choose from"
    close = difflib.get_close_matches(name, names, n=count, cutoff=0.5)
    if close:
        quoted = " or ".join(f"'{c}'" for c in close)
        return f"did you mean {quoted}?"
    return "valid: " + ", ".join(names)
