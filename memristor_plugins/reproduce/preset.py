"""What a table is made of: networks, conditions and how each is trained, from one YAML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from importlib.resources import files
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from memristor_plugins.errors import ConfigError, nearest
from memristor_plugins.signature import mismatch

NETWORKS = (
    "static",
    "static_iso_energy",
    "static_wide",
    "dynamic",
    "heterosynaptic",
    "odconv",
    "heterosynaptic_constant",
    "heterosynaptic_permuted",
)
CONDITIONS = ("digital", "stack", "stack_hwa", "stack_hwa_1day")
# Statics whose width follows from a dynamic network's cost, and what they match.
MATCHED = {"static_iso_energy": "joules", "static_wide": "cells"}
# Evaluated with another network's weights.
BORROWED = {"heterosynaptic_permuted": "heterosynaptic"}


@dataclass(frozen=True)
class Preset:
    """A headline table.

    Attributes:
        networks: rows, in the order in which they are run; all seeds of a network's phase follow one another.
        seeds: of training.
        chips: chip seeds 0, 1, ... below this number.
        common: overrides of `memristor train` that every network shares: data, model, stack, recipe.
        digital: overrides of conventional training.
        hardware_aware: overrides of the training on chips, which starts from the digital weights.
        kernels: overrides of each network; matched ones take those of `static`.
        matched: overrides of the matched statics on top of those, such as finer steps of their widths.
        matched_to: the network whose energy and cells the matched statics have.
        exact_chips: chips whose wires are solved exactly; others take the approximation of training. null: all.
        batchnorm_images: training images that batch norms are re-estimated on, on each chip.
        seconds, day: since programming, of the conditions on chips.
        compensation: of drift after a day.
        variants: stacks that the hardware-aware networks of the first seed also run on, with the chips' first.
        effects_off: also run them with one effect off at a time.
        profiled: test images that energy is measured on.
        threads: of torch; null: its own choice.
    """

    networks: list[str]
    seeds: list[int]
    chips: int
    common: list[str]
    digital: list[str]
    hardware_aware: list[str]
    kernels: dict[str, list[str]]
    matched: list[str] = field(default_factory=list)
    matched_to: str = "heterosynaptic"
    exact_chips: list[int] | None = None
    batchnorm_images: int = 500
    seconds: float = 1.0
    day: float = 86400.0
    compensation: str = "global"
    variants: list[str] | None = None
    effects_off: bool = True
    profiled: int = 100
    threads: int | None = None

    def base(self, network: str) -> list[str]:
        """Overrides of a network, without its matched width."""
        name = BORROWED.get(network, network)
        if name in MATCHED:
            return [*self.common, *self.kernels["static"], *self.matched]
        return [*self.common, *self.kernels[name]]


def load(path: str, given: Sequence[str]) -> Preset:
    """A preset of `conf/reproduce/` under `key=value` overrides.

    Args:
        path: such as `headline/cpu`.

    Raises:
        ConfigError: there is no such preset, or a setting is unknown or of another type; names the nearest.
    """
    folder, _, name = path.partition("/")
    known = presets(folder)
    if name not in known:
        raise ConfigError("preset", f"'{name}' is none of {folder}'s; {nearest(name, known)}")
    text = files("memristor_plugins.conf").joinpath("reproduce", folder, f"{name}.yaml").read_text(encoding="utf-8")
    config = OmegaConf.create(text)
    types = {f.name: f.type for f in fields(Preset)}
    for override in given:
        key = override.partition("=")[0]
        if key.partition(".")[0] not in types:
            raise ConfigError(key, f"no such option of reproduce; {nearest(key, types)}")
    try:
        config.merge_with_dotlist(list(given))
        values: Any = OmegaConf.to_container(config, resolve=True)
    except (OmegaConfBaseException, ValueError) as error:
        raise ConfigError("reproduce", " ".join(str(error).split())) from error
    return checked(values)


def presets(folder: str) -> list[str]:
    """Names of the presets of a table."""
    place = files("memristor_plugins.conf").joinpath("reproduce", folder)
    return sorted(entry.name.removesuffix(".yaml") for entry in place.iterdir() if entry.name.endswith(".yaml"))


def checked(values: dict[str, Any]) -> Preset:
    """A preset from plain values.

    Raises:
        ConfigError: naming the setting.
    """
    from typing import get_type_hints

    hints = get_type_hints(Preset)
    for name, value in values.items():
        if name not in hints:
            raise ConfigError(name, f"no such option of reproduce; {nearest(name, hints)}")
        complaint = mismatch(value, hints[name])
        if complaint:
            raise ConfigError(name, complaint)
    preset = Preset(**values)
    for network in preset.networks:
        if network not in NETWORKS:
            raise ConfigError("networks", f"'{network}' is no row of the table; {nearest(network, NETWORKS)}")
        needed = [preset.matched_to, "static"] if network in MATCHED else [BORROWED.get(network, network)]
        for name in needed:
            if name not in preset.kernels:
                raise ConfigError("kernels", f"'{network}' needs overrides of '{name}'")
        if network in BORROWED and BORROWED[network] not in preset.networks:
            raise ConfigError("networks", f"'{network}' is evaluated with the weights of '{BORROWED[network]}'; add it")
    if preset.chips < 1 or not preset.seeds:
        raise ConfigError("chips" if preset.seeds else "seeds", "must be at least one")
    return preset
