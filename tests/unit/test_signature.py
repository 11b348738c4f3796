"""A plugin's signature is its config: what it must declare, and which values fit it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memristor_plugins.errors import PluginError
from memristor_plugins.interfaces.parameter import Param
from memristor_plugins.signature import REQUIRED, mismatch, parameters

Mode = Literal["analog", "digital"]
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**6), 10**6), st.floats(allow_nan=False), st.text(max_size=5)
)
VALUES = st.recursive(SCALARS, lambda v: st.one_of(st.lists(v, max_size=3), st.dictionaries(st.text(), v, max_size=2)))


class Plugin:
    def __init__(self, bits: Annotated[int, Param("resolution", unit="bit", ge=1)], mode: Mode = "analog") -> None: ...


def test_parameters_have_type_default_and_meaning() -> None:
    found = parameters(Plugin, "here")
    assert list(found) == ["bits", "mode"]
    assert found["bits"].type is int
    assert found["bits"].default is REQUIRED
    assert found["bits"].info.unit == "bit"
    assert found["mode"].default == "analog"
    assert found["mode"].info == Param("")


def test_types_are_named_as_a_user_writes_them() -> None:
    def plugin(a: float, b: Mode, c: int | None, d: tuple[float, float]) -> None: ...

    names = [p.type_name for p in parameters(plugin, "here").values()]
    assert names == ["float", "analog | digital", "int | null", "tuple[float, float]"]


def untyped(bits=3): ...  # type: ignore[no-untyped-def]
def keywords(**options: int) -> None: ...
def several(*bits: int) -> None: ...
def positional(bits: int, /) -> None: ...
def unresolvable(bits: NoSuchType) -> None: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (untyped, "acme: its parameter 'bits' has no type"),
        (keywords, r"acme: its signature has \*\*options"),
        (several, r"acme: its signature has \*bits"),
        (positional, "acme: its parameter 'bits' is positional-only"),
        (unresolvable, "acme: its signature cannot be read: NameError"),
        (3, "acme: its signature cannot be read: TypeError"),
    ],
)
def test_a_signature_that_is_no_config_is_refused(target: Any, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        parameters(target, "acme")


@pytest.mark.parametrize(
    ("value", "hint", "complaint"),
    [
        ("abc", float, "must be a number, got 'abc'"),
        (True, float, "must be a number, got 'true'"),
        (None, int, "must be a whole number, got 'null'"),
        (6.5, int, "must be a whole number, got '6.5'"),
        (1, bool, "must be true or false, got '1'"),
        (3, str, "must be a text, got '3'"),
        ("analogg", Mode, "must be one of analog, digital, got 'analogg'; did you mean 'analog'?"),
        ("x", Mode, "must be one of analog, digital, got 'x'"),
        (True, Literal[1, 2], "must be one of 1, 2, got 'true'"),
        (3, list[int], "must be a list, got '3'"),
        ([1, "a"], list[int], "must be a whole number, got 'a'"),
        ([1, 2, 3], tuple[int, int], "must have 2 items, got 3"),
        ([1, "a"], tuple[int, ...], "must be a whole number, got 'a'"),
        ("abc", float | None, "must be a number, got 'abc'"),
        (3, dict[str, int], "must be a mapping, got '3'"),
        (3, None.__class__, "must be null, got '3'"),
    ],
)
def test_a_value_that_does_not_fit_is_told_why(value: Any, hint: Any, complaint: str) -> None:
    assert mismatch(value, hint) == complaint


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (1, float),
        (None, float | None),
        ([1, 2], tuple[int, int]),
        ([], list[int]),
        ({"a": 1}, dict[str, int]),
        ("digital", Mode),
        ([[1.0]], list[list[float]]),
        ("x", Any),
        (2, Literal[1, 2]),
    ],
)
def test_a_value_that_fits_is_not_complained_about(value: Any, hint: Any) -> None:
    assert mismatch(value, hint) is None


HINTS = [int, float, bool, str, Mode, list[int], tuple[int, float], tuple[float, ...], dict[str, int]]


@given(VALUES, st.sampled_from(HINTS))
def test_optional_adds_null_and_nothing_else(value: Any, hint: Any) -> None:
    assert (mismatch(value, hint | None) is None) == (value is None or mismatch(value, hint) is None)


@given(VALUES, st.sampled_from(HINTS))
def test_every_complaint_is_one_short_sentence(value: Any, hint: Any) -> None:
    complaint = mismatch(value, hint)
    assert complaint is None or complaint.startswith("must ")


@given(SCALARS)
def test_a_scalar_fits_exactly_the_types_it_has(value: Any) -> None:
    fitting = {hint for hint in (int, float, bool, str) if mismatch(value, hint) is None}
    expected = {type(value)} & {int, float, bool, str}
    assert fitting == expected | ({float} if type(value) is int else set())


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_bounds_are_what_their_signs_say(value: float, bound: float) -> None:
    assert (Param("", ge=bound).complaint(value) is None) == (value >= bound)
    assert (Param("", gt=bound).complaint(value) is None) == (value > bound)
    assert (Param("", le=bound).complaint(value) is None) == (value <= bound)
    assert (Param("", lt=bound).complaint([bound - 1, value]) is None) == (value < bound and bound - 1 < bound)


def test_a_bound_is_told_with_its_unit() -> None:
    assert Param("", unit="V", gt=0, le=2).complaint(-0.5) == "must be > 0 V, got -0.5"
    assert Param("", ge=1).complaint(float("nan")) == "is not a number (nan)"
