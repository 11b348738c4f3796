"""What a plugin's signature says: its parameters, their types, bounds, units and sources."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from memristor_plugins.errors import PluginError, nearest
from memristor_plugins.interfaces.parameter import Param

REQUIRED = inspect.Parameter.empty


@dataclass(frozen=True)
class Parameter:
    """One parameter of a plugin's signature."""

    name: str
    type: Any
    default: Any
    info: Param

    @property
    def type_name(self) -> str:
        """The type as a user would write it: `float`, `analog | digital`, `int | null`."""
        if get_origin(self.type) is Literal:
            return " | ".join(map(_text, get_args(self.type)))
        if isinstance(self.type, type) and not get_args(self.type):
            return self.type.__name__
        return str(self.type).replace("typing.", "").replace("None", "null")


def parameters(target: Callable[..., Any], label: str) -> dict[str, Parameter]:
    """The parameters of a class or factory, by name.

    Args:
        target: the plugin.
        label: how to name it in an error.

    Raises:
        PluginError: the signature cannot be read, or has a parameter without a type, a positional-only one,
            `*args` or `**kwargs`: the signature is the config.
    """
    function = target.__init__ if isinstance(target, type) else target  # type: ignore[misc]
    try:
        hints, signature = get_type_hints(function, include_extras=True), inspect.signature(target)
    except Exception as error:  # whatever a third party's annotation raises when it is evaluated
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise PluginError(f"{label}: its signature cannot be read: {reason}") from error
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    found = {}
    for name, parameter in signature.parameters.items():
        if parameter.kind in stars:
            star = stars[parameter.kind]
            raise PluginError(f"{label}: its signature has {star}{name}; a plugin's signature is its config")
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise PluginError(f"{label}: its parameter '{name}' is positional-only; configs give names")
        if name not in hints:
            raise PluginError(f"{label}: its parameter '{name}' has no type; a plugin's signature is its config")
        hint, info = hints[name], Param("")
        if get_origin(hint) is Annotated:
            hint, *extras = get_args(hint)
            info = next((e for e in extras if isinstance(e, Param)), info)
        found[name] = Parameter(name, hint, parameter.default, info)
    return found


def mismatch(value: Any, hint: Any) -> str | None:
    """Why `value` does not fit the type, in words ("must be a number, got 'abc'"), or None where it fits."""
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any:
        return None
    if origin is Literal:
        # By type too: True == 1, and a switch is no number.
        if any(value == a and type(value) is type(a) for a in args):
            return None
        names = [_text(a) for a in args]
        hint_text = nearest(_text(value), names)
        more = "" if hint_text.startswith("valid") else f"; {hint_text}"
        return f"must be one of {', '.join(names)}, got '{_text(value)}'{more}"
    if origin in (Union, types.UnionType):
        complaints = [mismatch(value, a) for a in args]
        if None in complaints:
            return None
        named = [c for a, c in zip(args, complaints, strict=True) if a is not type(None)]
        return named[0]
    if origin in (list, tuple):
        if not isinstance(value, list | tuple):
            return f"must be a list, got '{_text(value)}'"
        if origin is tuple and not (len(args) == 2 and args[1] is Ellipsis):
            if len(value) != len(args):
                return f"must have {len(args)} items, got {len(value)}"
            pairs = list(zip(value, args, strict=True))
        else:
            pairs = [(v, args[0] if args else Any) for v in value]
        return next((c for v, a in pairs if (c := mismatch(v, a))), None)
    if origin is dict or hint is dict:
        return None if isinstance(value, dict) else f"must be a mapping, got '{_text(value)}'"
    if hint is type(None):
        return None if value is None else f"must be null, got '{_text(value)}'"
    words = {float: "a number", int: "a whole number", bool: "true or false", str: "a text"}
    if hint in words:
        fits = isinstance(value, (int, float)) if hint is float else isinstance(value, hint)
        if isinstance(value, bool) and hint is not bool:
            fits = False
        return None if fits else f"must be {words[hint]}, got '{_text(value)}'"
    return None


def _text(value: Any) -> str:
    """A value as a command line writes it."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
