"""Versions of the contracts, and names on their way out."""

from __future__ import annotations

import warnings

import pytest

from memristor_plugins import __version__, api, versioning
from memristor_plugins.versioning import (
    PLUGIN_API,
    Deprecation,
    PluginDeprecationWarning,
    api_complaint,
    deprecated,
    renamed,
)

OLD = Deprecation("api.old", since="0.2", instead="write api.new")
LINE = "api.old is deprecated since 0.2 and gone in 0.3; write api.new"


def test_the_contracts_are_frozen() -> None:
    assert api.PLUGIN_API == versioning.PLUGIN_API == 1
    assert api_complaint(PLUGIN_API) is None
    assert api_complaint(None) is None


@pytest.mark.parametrize("wrong", [0, -1, True, "1", 1.0])
def test_a_version_is_a_whole_number(wrong: object) -> None:
    assert "must be a whole number >= 1" in str(api_complaint(wrong))


def test_an_outdated_plugin_is_told_apart_from_an_outdated_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versioning, "PLUGIN_API", 3)
    monkeypatch.setattr(versioning, "OLDEST_API", 2)
    assert str(api_complaint(1)).endswith("upgrade it")
    assert str(api_complaint(4)).endswith("upgrade memristor-plugins")
    assert api_complaint(2) is api_complaint(3) is None


def test_a_deprecated_function_works_and_warns_where_it_is_called() -> None:
    @deprecated(OLD)
    def double(x: int) -> int:
        """Twice."""
        return 2 * x

    with pytest.warns(PluginDeprecationWarning) as caught:
        assert double(3) == 6
    assert [str(w.message) for w in caught] == [LINE]
    assert caught[0].filename == __file__
    assert double.__doc__ == "Twice."


def test_a_renamed_name_still_answers_and_any_other_does_not() -> None:
    answer = renamed("api", {"old": (OLD, 42)})
    with pytest.warns(PluginDeprecationWarning, match=LINE):
        assert answer("old") == 42
    with pytest.raises(AttributeError, match="module 'api' has no attribute 'older'"):
        answer("older")


def test_a_name_goes_after_one_minor_version() -> None:
    assert OLD.gone == "0.3"
    assert [OLD.expired(v) for v in ("0.2.0", "0.2.9", "0.3.0", "1.0.0")] == [False, False, True, True]


def test_no_public_name_outlives_its_deprecation() -> None:
    names = [getattr(api, name) for name in api.__all__]
    members = [m for n in names if isinstance(n, type) for m in vars(n).values()]
    found = [d for m in names + members if isinstance(d := getattr(m, "__deprecation__", None), Deprecation)]
    assert not [d.name for d in found if d.expired(__version__)]


def test_the_public_names_warn_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all(hasattr(api, name) for name in api.__all__)
