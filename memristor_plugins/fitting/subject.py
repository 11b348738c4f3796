"""The device that is fitted: from overrides, as `memristor train` would compose it, and built at any parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from memristor_plugins import registry
from memristor_plugins.build import build
from memristor_plugins.compose import compose
from memristor_plugins.devices.transient import MODELS
from memristor_plugins.errors import ConfigError, nearest
from memristor_plugins.fitting.free import Free, from_param
from memristor_plugins.interfaces.device import Device
from memristor_plugins.interfaces.pulsed import PulsedModel
from memristor_plugins.interfaces.transient import TransientModel
from memristor_plugins.signature import Parameter, parameters

# What a sweep tells of each model; of another, all that has an effect.
SWEEP = {
    "adaptive_2d": ("v0", "v_set0", "k_w", "tau_s", "g_off", "g_on0", "r_series"),
    "data_driven": ("i_p", "i_n", "b_p", "b_n", "a_p", "a_n"),
    "linear_ion_drift": ("mobility", "r_on", "r_off", "x0"),
    "stanford_pku": ("i_0", "g_0", "v_0", "gamma_0", "gap0"),
    "vteam": ("k_off", "k_on", "v_off", "v_on", "r_on", "r_off", "x0"),
    "yakopcic": ("a", "a_negative", "b", "v_p", "v_n", "rate_p", "rate_n"),
}
# Parameters that the current is proportional to (1) or inversely so (-1): they are brought to the measured size first.
AMPLITUDE = {
    "adaptive_2d": {"g_off": 1, "g_on0": 1, "r_series": -1},
    "data_driven": {"i_p": 1, "i_n": 1},
    "linear_ion_drift": {"r_on": -1, "r_off": -1},
    "stanford_pku": {"i_0": 1},
    "vteam": {"r_on": -1, "r_off": -1},
    "yakopcic": {"a": 1, "a_negative": 1},
}
# How a cell is used, which no measurement of it tells.
USE = ("g_min", "g_max", "read_voltage", "read_time", "v_set", "v_reset", "tolerance")


@dataclass(frozen=True)
class Subject:
    """A device to fit.

    Args:
        chosen: what the user called it, a plugin or a preset.
        name: of the plugin.
        target: its class.
        settings: its parameters, defaults included.
        given: names of parameters that the user set: held, or the start of a search.
    """

    chosen: str
    name: str
    target: Callable[..., Device]
    settings: Mapping[str, object]
    given: tuple[str, ...]

    @cached_property
    def signature(self) -> dict[str, Parameter]:
        """The device's parameters."""
        return parameters(self.target, f"device={self.name}")

    def build(self, values: Mapping[str, object]) -> Device:
        """The device with some parameters replaced; raises ConfigError where they do not go together."""
        return self.target(**{**self.settings, **values})

    @cached_property
    def device(self) -> Device:
        """The device as it was given, checked as any device is."""
        node = {"_target_": registry.find("device", self.name).dotted, **self.settings}
        return cast(Device, build(node, "device", "device"))

    def possible(self, values: Mapping[str, float]) -> bool:
        """Whether the model takes these parameters; where it is read is chosen after a fit and no part of it."""
        try:
            self.model(values)
        except ConfigError as error:
            return error.option == "device.read_voltage"
        return True

    def model(self, values: Mapping[str, float] | None = None) -> TransientModel:
        """The device's differential equations, some parameters replaced.

        Raises:
            ConfigError: it has none, or parameters do not go together.
        """
        kind = MODELS.get(self.name)
        if kind is None:
            raise ConfigError("device", f"{self.chosen} has no I-V law in time; valid for sweeps: {', '.join(MODELS)}")
        known = parameters(kind, self.name)
        made: Any = kind
        return cast(
            TransientModel, made(**{k: v for k, v in {**self.settings, **(values or {})}.items() if k in known})
        )

    def pulsed(self) -> None:
        """Raises ConfigError unless the device is a pulsed one."""
        if not isinstance(self.device, PulsedModel):
            raise ConfigError(
                "device", f"{self.chosen} is not told by pulses; valid for pulse trains: neurosim, soft_bounds, "
                "linear_step, exp_step, pow_step and the transient models with one state"
            )  # fmt: skip

    def candidates(self, kind: str, wanted: Sequence[str] | None) -> list[Free]:
        """Free parameters: those wanted, or all numbers that the user did not set.

        Raises:
            ConfigError: a name that is none, or no number.
        """
        own = self.signature
        every = {**parameters(MODELS[self.name], self.name), **own} if kind == "iv" else own
        start: dict[str, object] = {k: p.default for k, p in every.items()} | dict(self.settings)
        if wanted is None:
            names = SWEEP.get(self.name, tuple(every)) if kind == "iv" else tuple(every)
            wanted = [n for n in names if n not in (*self.given, *USE) and isinstance(start.get(n), float)]
        found = []
        for name in wanted:
            if name not in every:
                raise ConfigError("free", f"device {self.name} has no parameter '{name}'; {nearest(name, every)}")
            value = start[name]
            if isinstance(value, bool) or not isinstance(value, int | float) or every[name].type is int:
                raise ConfigError("free", f"'{name}' is {_text(value)}, no real number; set device.{name} to hold it")
            free = from_param(name, float(value), every[name].info)
            found.append(free if name in own else _nuisance(free))
        return found


def subject(overrides: Sequence[str]) -> Subject:
    """The device of `device=NAME device.PARAM=VALUE ...`.

    Raises:
        ConfigError: as on the command line of `memristor train`.
    """
    chosen = next((o.partition("=")[2] for o in reversed(overrides) if o.startswith("device=")), None)
    if chosen is None:
        valid = ", ".join(sorted(MODELS))
        raise ConfigError("device", f"must be given: device=NAME; for I-V sweeps one of {valid}")
    config = compose("stack_only", overrides)
    node = cast(DictConfig, config.device)
    if "_target_" not in node:
        raise ConfigError("device", f"'{chosen}' is no device")
    settings = cast(dict[str, object], OmegaConf.to_container(node, resolve=True))
    dotted = str(settings.pop("_target_"))
    settings.pop("_convert_", None)
    plugin = next((p for p in registry.plugins("device") if p.dotted == dotted), None)
    if plugin is None:
        raise ConfigError("device._target_", f"'{dotted}' is no registered device")
    keys = [o.partition("=")[0].lstrip("+") for o in overrides]
    given = tuple(k.removeprefix("device.") for k in keys if k.startswith("device."))
    return Subject(chosen, plugin.name, plugin.load(), settings, given)


def _nuisance(free: Free) -> Free:
    return replace(free, nuisance=True)


def _text(value: object) -> str:
    return "null" if value is None else str(value)
