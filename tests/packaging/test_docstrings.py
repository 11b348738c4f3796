"""Every public name says what a reader needs: shapes, units, what it raises, and where its numbers come from."""

from __future__ import annotations

import ast
import dataclasses
import enum
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from torch import Tensor

from memristor_plugins import api, testing

SHAPE = re.compile(
    r"\[[^\]]*\]|\bshape|\bscalar\b|\bbroadcast|each cell|one a cell|a number|same as|numbers? of `",
    re.IGNORECASE,
)
# Arguments with a dimension, and words that tell their unit.
UNITS = {
    "siemens": {"g", "target", "g_min", "g_max", "std"},
    "volt": {"v", "v_gate", "read_voltage"},
    "second": {"seconds", "read_time"},
    "kelvin": {"temperature"},
    "joule": {"energy_j"},
}
WORDS = {
    "siemens": r"\bsiemens\b|\bS\b",
    "volt": r"\bvolts?\b|\bV\b",
    "second": r"\bseconds?\b|\bs\b",
    "kelvin": r"\bkelvin\b|\bK\b",
    "joule": r"\bjoules?\b|\bJ\b",
}
SOURCE = re.compile(r"\bsource\b|assumed|10\.\d{4,}/|\beq\.|et al\.|tolerance|formula", re.IGNORECASE)
# Numbers of arithmetic, not of physics.
PURE = {0.0, 1.0, 2.0, 0.5, 3.0, 4.0, 300.0}


def documented() -> Iterator[tuple[str, Any, Any]]:
    """(name, object, class it is a member of) of all that is public and callable."""
    for module in (api, testing):
        for name in module.__all__:
            value = getattr(module, name)
            if not callable(value):
                continue
            yield name, value, None
            if isinstance(value, type) and value.__module__.startswith("memristor_plugins"):
                for member, raw in vars(value).items():
                    function = raw.fget if isinstance(raw, property) else raw
                    if not member.startswith("_") and inspect.isfunction(function):
                        yield f"{name}.{member}", function, value


NAMES = {name: (value, owner) for name, value, owner in documented()}
FUNCTIONS = {name: pair for name, pair in NAMES.items() if inspect.isfunction(pair[0])}


def words(name: str) -> str:
    """All that a reader of this name sees: its docstring, its class's, and that of the contract it overrides."""
    value, owner = NAMES[name]
    own = inspect.getdoc(value) or ""
    inherited = ""
    if owner is not None:
        member = name.rpartition(".")[2]
        parents = [getattr(c, member, None) for c in owner.__mro__[1:]]
        inherited = "\n".join(inspect.getdoc(p) or "" for p in parents if p is not None)
        own += "\n" + (inspect.getdoc(owner) or "")
    return f"{own}\n{inherited}"


def tree(value: Callable[..., Any]) -> ast.AST:
    return ast.parse(textwrap.dedent(inspect.getsource(value)))


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_it_is(name: str) -> None:
    value, owner = NAMES[name]
    doc = inspect.getdoc(value)
    if doc is None and owner is not None and any(hasattr(c, name.rpartition(".")[2]) for c in owner.__mro__[1:]):
        doc = words(name)
    assert doc, f"{name} has no docstring"
    if inspect.isclass(value) and dataclasses.is_dataclass(value):
        assert "__init__" not in doc
        assert not doc.startswith(f"{name}("), f"{name} has the docstring that dataclass writes"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_it_says_the_shapes_of_its_tensors(name: str) -> None:
    value, _ = FUNCTIONS[name]
    hints = inspect.get_annotations(value, eval_str=False)
    if not any("Tensor" in str(h) for h in hints.values()):
        pytest.skip("no tensors")
    assert SHAPE.search(words(name)), f"{name} takes or returns tensors, and its docstring tells no shape"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_it_says_the_units_of_its_quantities(name: str) -> None:
    value, _ = FUNCTIONS[name]
    arguments = set(inspect.signature(value).parameters)
    for unit, quantities in UNITS.items():
        if arguments & quantities:
            assert re.search(WORDS[unit], words(name)), f"{name}: no unit for {sorted(arguments & quantities)}"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_it_says_what_it_raises(name: str) -> None:
    value, _ = FUNCTIONS[name]
    raised = set()
    for node in ast.walk(tree(value)):
        if isinstance(node, ast.Raise) and node.exc is not None:
            called = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            raised.add(ast.unparse(called))
    # What only an author's mistake raises, or a re-raise.
    raised = {r for r in raised if r.endswith("Error") or r == "CheckFailed"} - {"NotImplementedError"}
    missing = [r for r in raised if r not in words(name)]
    assert not missing, f"{name} raises {missing} and does not say so"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_its_numbers_have_a_source(name: str) -> None:
    value, _ = FUNCTIONS[name]
    found = {
        node.value
        for node in ast.walk(tree(value))
        if isinstance(node, ast.Constant) and isinstance(node.value, float) and node.value not in PURE
    }
    if not found:
        pytest.skip("no numbers of physics")
    assert SOURCE.search(words(name)), f"{name} uses {sorted(found)} and tells no source"


RECORDS = [n for n, (v, _) in NAMES.items() if inspect.isclass(v) and dataclasses.is_dataclass(v)]


@pytest.mark.parametrize("name", RECORDS)
def test_every_field_of_a_record_is_explained(name: str) -> None:
    doc = inspect.getdoc(NAMES[name][0]) or ""
    missing = [f.name for f in dataclasses.fields(NAMES[name][0]) if not re.search(rf"\b{f.name}\b", doc)]
    assert not missing, f"{name} does not explain {missing}"
    tensors = [f.name for f in dataclasses.fields(NAMES[name][0]) if "Tensor" in str(f.type)]
    assert not tensors or SHAPE.search(doc), f"{name} holds tensors {tensors} and tells no shape"


def test_the_rules_can_fail() -> None:
    assert not SHAPE.search("A tensor in, a tensor out.")
    assert not re.search(WORDS["siemens"], "A conductance.")
    assert not SOURCE.search("A law with a number in it.")
    assert len(NAMES) > 100
    assert {"Device.program", "Site", "check_plugin"} <= set(NAMES)
    assert issubclass(api.Site, enum.Enum)
    assert Tensor is not None
