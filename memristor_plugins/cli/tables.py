"""What the tables of `memristor plugins` have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memristor_plugins.registry import Plugin

if TYPE_CHECKING:
    from rich.console import Console

# Status -> mark and style. A mark says it without its colour.
MARKS = {
    "passed": ("✓", "green"),
    "failed": ("✗", "bold red"),
    "expected": ("~", "yellow"),
    "skipped": ("-", "dim"),
    "note": ("!", "yellow"),
}


def console() -> Console:
    """A console without colours where its output is piped."""
    from rich.console import Console

    return Console(highlight=False)


def title(plugin: Plugin) -> str:
    """`device/ideal`."""
    return f"{plugin.group}/{plugin.name}"


def count(number: int, noun: str) -> str:
    """`1 plugin`, `2 plugins`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
