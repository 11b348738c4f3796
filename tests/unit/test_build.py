"""`build`: admits plugins and listed targets only, and says in one line what is wrong with a setting."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from omegaconf import OmegaConf

from memristor_plugins import build as module
from memristor_plugins import registry
from memristor_plugins.build import CONTRACTS, TARGETS, build, build_stack
from memristor_plugins.devices.ideal import Ideal
from memristor_plugins.errors import ConfigError

IDEAL = "memristor_plugins.devices.ideal.Ideal"
ADC = "memristor_plugins.nonidealities.adc.ADC"


def refusal(node: Any, path: str = "device", group: str | None = "device", **given: Any) -> tuple[str, str]:
    with pytest.raises(ConfigError) as caught:
        build(node, path, group, **given)
    assert "\n" not in str(caught.value)
    return caught.value.option, caught.value.message


def test_builds_a_node_and_a_plain_dictionary_alike() -> None:
    node = {"_target_": IDEAL, "_convert_": "all", "g_max": 1e-5}
    for made in (build(OmegaConf.create(node), "device", "device"), build(node, "device", "device")):
        assert isinstance(made, Ideal)
        assert made.g_max == 1e-5


def test_arguments_that_no_config_can_express_are_given() -> None:
    assert build({"_target_": IDEAL}, "device", "device", g_max=1e-6).g_max == 1e-6
    option, message = refusal({"_target_": IDEAL, "g_max": 1e-5}, g_max=1e-6)
    assert option == "device.g_max"
    assert message.startswith("no such option")


@pytest.mark.parametrize(
    ("settings", "option", "message"),
    [
        ({"foo": 1}, "device.foo", "no such option; valid: g_max, g_min, read_time, read_voltage"),
        ({"g_maxx": 1}, "device.g_maxx", "no such option; did you mean 'g_max' or 'g_min'?"),
        ({"g_max": "abc"}, "device.g_max", "must be a number, got 'abc'"),
        ({"g_max": None}, "device.g_max", "must be a number, got 'null'"),
        ({"g_max": -1.0}, "device.g_max", "must be > 0 S, got -1"),
        ({"g_max": "???"}, "device.g_max", "must be given"),
        ({"g_min": 1.0}, "device.g_min", "must be below g_max = 2e-05 S, got 1 S"),
        ({"g_max": "${nowhere}"}, "g_max", "Interpolation key 'nowhere' not found"),
    ],
)
def test_a_setting_that_does_not_fit_is_named(settings: dict[str, Any], option: str, message: str) -> None:
    assert refusal(OmegaConf.create({"_target_": IDEAL, **settings})) == (option, message)


@pytest.mark.parametrize(
    ("settings", "option", "message"),
    [
        ({"bits": 17}, "nonidealities.adc.bits", "must be <= 16 bit, got 17"),
        ({"signed": "yes"}, "nonidealities.adc.signed", "must be one of auto, signed, unsigned, got 'yes'"),
    ],
)
def test_literals_and_ranges_are_checked(settings: dict[str, Any], option: str, message: str) -> None:
    assert refusal({"_target_": ADC, **settings}, "nonidealities.adc", "nonideality") == (option, message)


def test_an_orphan_names_its_setting_and_how_to_select_it() -> None:
    option, message = refusal({"bits": 6, "signed": "auto"}, "nonidealities.adc", "nonideality")
    assert option == "nonidealities.adc.bits"
    assert message == (
        "is set (and nonidealities.adc.signed), but 'adc' is not selected; select it with nonideality=[...,adc]"
    )
    assert "did you mean 'adc'" in refusal({"bits": 6}, "nonidealities.adcc", "nonideality")[1]
    assert refusal({"g_max": 1})[1] == "is set, but nothing is selected there; choose device=NAME"


@pytest.mark.parametrize("node", [3, "ideal", [1], True])
def test_a_node_that_is_no_group_of_settings_is_refused(node: Any) -> None:
    assert refusal(node) == ("device", f"must be a group of settings, got '{node}'")


def test_nothing_selected_says_how_to_select() -> None:
    assert refusal(None) == ("device", "nothing is selected; choose device=NAME")


@pytest.mark.parametrize("target", ["os.system", "builtins.eval", ADC, "memristor_plugins.devices.ideal.torch.save"])
def test_only_plugins_of_the_group_are_admitted(target: str) -> None:
    option, message = refusal({"_target_": target, "command": "true"})
    assert option == "device._target_"
    assert f"'{target}' is no registered device" in message


def test_without_a_group_only_listed_targets_are_admitted() -> None:
    option, message = refusal({"_target_": IDEAL}, "data", None)
    assert option == "data._target_"
    assert "may not be instantiated" in message


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_every_listed_target_exists(target: str) -> None:
    package, _, name = target.rpartition(".")
    assert callable(getattr(importlib.import_module(package), name))


def test_what_breaks_its_contract_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_admitted", lambda *_: dict)
    monkeypatch.setattr(module, "parameters", lambda *_: {})
    assert "makes a dict, which is not a Device" in refusal({"_target_": "acme.Cell"})[1]


def test_every_group_has_a_contract() -> None:
    assert set(CONTRACTS) == set(registry.GROUPS)


def test_a_stack_needs_a_group_of_nonidealities() -> None:
    config = OmegaConf.create({"device": {"_target_": IDEAL}, "nonidealities": 3})
    with pytest.raises(ConfigError, match="nonidealities: must be a group of settings, got '3'"):
        build_stack(config)
