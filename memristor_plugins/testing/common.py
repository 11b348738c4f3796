"""Checks of every plugin, whatever its group: its signature, its words, and that it can be stored and copied."""

from __future__ import annotations

import copy
import inspect
import pickle
import random
import re
import warnings
from typing import Any

import numpy as np
import torch
from hydra_zen import builds
from omegaconf import OmegaConf

from memristor_plugins.build import IGNORED, check_arguments
from memristor_plugins.interfaces.contracts import CONTRACTS, breach
from memristor_plugins.signature import REQUIRED, mismatch, parameters
from memristor_plugins.testing._behaviour import behaviour
from memristor_plugins.testing._core import CheckSkipped, Subject, check, expect
from memristor_plugins.testing._samples import copied, same
from memristor_plugins.versioning import PLUGIN_API, api_complaint

ATOMS = r"(?:S|V|A|ohm|s|Hz|J|W|K|F|C|H|m|kg|eV|bit|B|FLOP|LSB|%|rad|mol|T|Pa|N|lm|cd|Wb|dB|px)"
FACTOR = rf"(?:1|{ATOMS}(?:\^-?\d+(?:/\d+)?)?)"
PRODUCT = rf"{FACTOR}(?: {FACTOR})*"
UNIT = re.compile(rf"{PRODUCT}(?:/(?:{PRODUCT}|\({PRODUCT}\)))?")
# Lengths that people know in nanometres only.
CUSTOMARY = {"nm"}
# Parameters whose name is a quantity with a dimension.
DIMENSIONED = re.compile(
    r"^(?:g_(?:min|max|on|off|ref)\d*|r_\w+|v_\w+|(?:\w+_)?(?:voltage|volts|conductance|resistance|capacitance|current"
    r"|temperature|kelvin|seconds|thickness|width_m|pitch|frequency|bandwidth|read_time))$"
)
SOURCE = re.compile(
    r"10\.\d{4,9}/|arxiv|\bsource\b|assumed|et al\.|the device's|\beq\.|\bISBN\b|\bdatasheet\b|https?://|CODATA",
    re.IGNORECASE,
)


@check()
def contract(subject: Subject) -> None:
    """The class fulfils its group's contract, nothing abstract is left"""
    broken = breach(subject.target, subject.group)
    expect(broken is None, f"{subject.name} {broken}")
    kind = CONTRACTS[subject.group]
    expect(
        isinstance(subject.instance, kind),
        f"makes a {type(subject.instance).__name__}, which is not a {kind.__name__}",
    )


@check()
def requires_api(subject: Subject) -> None:
    """`requires_api` names a version of the contracts that this one serves"""
    stated = getattr(subject.instance, "requires_api", None)
    expect(stated is not None, f"says no version of the contracts; write requires_api = {PLUGIN_API}")
    complaint = api_complaint(stated)
    expect(complaint is None, str(complaint))


@check()
def signature(subject: Subject) -> None:
    """Every parameter has a type, a meaning, a source, and a default that fits them"""
    for name, parameter in parameters(subject.target, subject.name).items():
        expect(parameter.info.about, f"'{name}' says nothing: annotate it with Param('what it is', source='...')")
        expect(parameter.info.source, f"'{name}' has no source: a DOI, an equation, or 'assumed'")
        if parameter.default is REQUIRED:
            continue
        wrong = mismatch(parameter.default, parameter.type) or parameter.info.complaint(parameter.default)
        expect(wrong is None, f"the default of '{name}' {wrong}")


@check()
def units(subject: Subject) -> None:
    """Parameters have SI units; a quantity with a dimension is not a bare number"""
    for name, parameter in parameters(subject.target, subject.name).items():
        unit = parameter.info.unit
        known = not unit or unit in CUSTOMARY or UNIT.fullmatch(unit)
        expect(known, f"the unit '{unit}' of '{name}' is no SI unit without prefix, such as S, V, s, J, m^2, 1/s")
        numeric = float in (parameter.type, *getattr(parameter.type, "__args__", ()))
        # A strategy's numbers are about learning: its temperature is that of a softmax.
        if numeric and subject.group != "kernel" and DIMENSIONED.match(name):
            expect(unit, f"'{name}' is a quantity with a dimension and has no unit")


@check()
def docstring(subject: Subject) -> None:
    """The class says in a line what it is, and where its numbers come from"""
    # Its own: that of a parent says what the parent is.
    own = vars(subject.target).get("__doc__") if isinstance(subject.target, type) else subject.target.__doc__
    doc = own and inspect.cleandoc(own)
    expect(doc and doc.strip(), "has no docstring of its own")
    first, _, rest = str(doc).partition("\n")
    expect(not rest or not rest.splitlines()[0].strip(), "the first line of the docstring must stand by itself")
    expect(len(first) <= 120, f"the first line of the docstring has {len(first)} characters; at most 120")
    expect(first.rstrip().endswith((".", ":", "!", "?")), "the first line of the docstring is no sentence")
    found = parameters(subject.target, subject.name).values()
    sources = [p.info.source for p in found] + [str(doc), inspect.getdoc(inspect.getmodule(subject.target)) or ""]
    if found:
        expect(any(SOURCE.search(s) for s in sources), "no source is told: a DOI, an equation, or 'assumed'")


@check()
def summary(subject: Subject) -> None:
    """`memristor plugins list` can read its line and its version from source, without an import"""
    if subject.plugin is None:
        raise CheckSkipped("is not installed as a plugin")
    doc = (inspect.getdoc(subject.target) or "").partition("\n")[0]
    expect(subject.plugin.summary, "its docstring cannot be read from source; name the defining module as the target")
    expect(subject.plugin.summary == doc, f"source says '{subject.plugin.summary}', the class '{doc}'")


@check()
def quiet(subject: Subject) -> None:
    """Making one with its defaults prints and warns of nothing"""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        subject.make()
    expect(not caught, f"warns at its defaults: {caught[0].message if caught else ''}")


@check()
def config_round_trip(subject: Subject) -> None:
    """Written as a config and read again, it is the same plugin"""
    if subject.prototype is not None and _required(subject):
        raise CheckSkipped("an instance does not tell its required parameters")
    arguments = {} if subject.prototype is not None else dict(subject.arguments)
    node = OmegaConf.structured(builds(subject.target, populate_full_signature=True, hydra_convert="all", **arguments))
    text = OmegaConf.to_yaml(node, resolve=True)
    read = OmegaConf.to_container(OmegaConf.create(text), resolve=True)
    assert isinstance(read, dict)
    values = {str(k): v for k, v in read.items() if k not in IGNORED}
    check_arguments(subject.target, values, subject.name, {})
    one, other = subject.target(**values), subject.target(**arguments)
    expect(same(_state(one), _state(other)), "the parameters of one made from its config are others")
    expect(_plain(one) == _plain(other), "the attributes of one made from its config are others")


@check()
def pickled(subject: Subject) -> None:
    """Pickled and unpickled, it behaves as before"""
    again = pickle.loads(pickle.dumps(subject.make()))
    expect(same(behaviour(subject, again), behaviour(subject, subject.make())), "behaves differently after pickling")


@check()
def deepcopied(subject: Subject) -> None:
    """A deep copy behaves alike, and using one leaves the other as it was"""
    original = subject.make()
    before = copied(behaviour(subject, copy.deepcopy(original)))
    first = copied(behaviour(subject, original))
    expect(same(before, first), "a copy behaves differently")
    expect(same(first, behaviour(subject, copy.deepcopy(original))), "a copy of a used one behaves differently")


@check()
def reproducible(subject: Subject) -> None:
    """Used twice with equal seeds it gives equal results: nothing is remembered"""
    instance = subject.make()
    first, again = copied(behaviour(subject, instance)), copied(behaviour(subject, instance))
    expect(same(first, again), "the second use gives another result than the first")
    expect(same(first, behaviour(subject, subject.make())), "a used one and a fresh one give different results")


@check()
def global_generators(subject: Subject) -> None:
    """It draws from the generators that it is given, never from a global one"""
    instance = subject.make()
    results = []
    numpy_before, python_before = np.random.get_state(), random.getstate()
    try:
        for seed in (1, 2):
            torch.manual_seed(seed)
            np.random.seed(seed)
            random.seed(seed)
            before = copied(_global_states())
            results.append(copied(behaviour(subject, instance)))
            for name, old, new in zip(("torch", "numpy", "Python"), before, _global_states(), strict=True):
                expect(torch.equal(old, new), f"draws from the global generator of {name}")
    finally:
        np.random.set_state(numpy_before)
        random.setstate(python_before)
    expect(same(*results), "the result depends on a global generator")


def _global_states() -> list[torch.Tensor]:
    """Of torch, numpy and Python."""
    place: Any = np.random.get_state()
    numpy_state = torch.tensor([*map(int, place[1]), place[2], place[3]])
    return [torch.get_rng_state(), numpy_state, torch.tensor(random.getstate()[1])]


def _required(subject: Subject) -> bool:
    return any(p.default is REQUIRED for p in parameters(subject.target, subject.name).values())


def _state(instance: Any) -> dict[str, Any]:
    return {k: v for k, v in vars(instance).items() if isinstance(v, torch.Tensor)}


def _plain(instance: Any) -> dict[str, Any]:
    return {k: v for k, v in vars(instance).items() if isinstance(v, bool | int | float | str | None)}
