"""Checks of single settings; a failure is one `ConfigError` with the option and the nearest valid value."""

from __future__ import annotations

from collections.abc import Sequence

from memristor_plugins.errors import ConfigError, nearest


def integer(option: str, value: object, minimum: int, maximum: int | None = None) -> int:
    """`value` if it is an int in [minimum, maximum], else a `ConfigError` naming the nearest bound."""
    # bool is a subclass of int, and `batch_size=true` is a slip rather than a batch of one
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(option, f"expected an integer, got {value!r}")
    if value < minimum:
        raise ConfigError(option, f"{value} is too small; the nearest valid value is {minimum}")
    if maximum is not None and value > maximum:
        raise ConfigError(option, f"{value} is too large; the nearest valid value is {maximum}")
    return value


def optional_integer(option: str, value: object, minimum: int) -> int | None:
    """As `integer`, and None stands for "no limit"."""
    return None if value is None else integer(option, value, minimum)


def boolean(option: str, value: object) -> bool:
    """`value` if it is a bool; the string "no" would otherwise count as true."""
    if not isinstance(value, bool):
        raise ConfigError(option, f"expected true or false, got {value!r}")
    return value


def choice(option: str, value: str, valid: Sequence[str]) -> str:
    """`value` if it is one of `valid`."""
    if value not in valid:
        raise ConfigError(option, f"{value!r} is unknown; {nearest(str(value), valid)}")
    return value
