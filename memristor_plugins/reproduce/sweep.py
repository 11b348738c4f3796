"""A sweep of trainings that validation images compare: the map of where dynamics pays, the ablation of training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from importlib.resources import files
from typing import Any, get_type_hints

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from memristor_plugins.errors import ConfigError, nearest
from memristor_plugins.reproduce.preset import presets
from memristor_plugins.signature import mismatch

KEYS = {"train", "of", "start", "seconds", "compensation", "batchnorm_images"}


@dataclass(frozen=True)
class Point:
    """One line of a sweep.

    Attributes:
        name: of the line.
        train: overrides of its training, on top of the sweep's own.
        of: the line whose trained weights are evaluated in another way; null: it is trained.
        start: the line whose weights training starts from.
        seconds, compensation, batchnorm_images: how its chips are evaluated.
    """

    name: str
    train: tuple[str, ...] = ()
    of: str | None = None
    start: str | None = None
    seconds: float = 1.0
    compensation: str = "none"
    batchnorm_images: int = 0


@dataclass(frozen=True)
class Sweep:
    """Lines that share everything but what they name.

    Attributes:
        title: of the figure.
        common: overrides of `memristor train`.
        points: settings of each line by name, see `Point`.
        seeds: of training.
        chips: chips that each line is evaluated on, on validation images; 0: digital only.
        axes: figure of accuracy against width, cells, conversions and joules; false: bars.
        exact_wires: solve the wires exactly; false: by training's approximation.
        profiled: validation images that energy is measured on.
        threads: of torch; null: its own choice.
    """

    title: str
    common: list[str]
    points: dict[str, Any]
    seeds: list[int] = field(default_factory=lambda: [0])
    chips: int = 0
    axes: bool = False
    exact_wires: bool = False
    profiled: int = 50
    threads: int | None = None

    def lines(self) -> list[Point]:
        """Every line, in order."""
        made = []
        for name, given in self.points.items():
            values = dict(given or {})
            made.append(Point(name=name, train=tuple(values.pop("train", ())), **values))
        return made


def load_sweep(table: str, name: str, given: Sequence[str]) -> Sweep:
    """A sweep of `conf/reproduce/TABLE/` under `key=value` overrides.

    Raises:
        ConfigError: there is no such preset, or a setting is unknown or of another type; names the nearest.
    """
    known = presets(table)
    if name not in known:
        raise ConfigError("preset", f"'{name}' is none of {table}'s; {nearest(name, known)}")
    text = files("memristor_plugins.conf").joinpath("reproduce", table, f"{name}.yaml").read_text(encoding="utf-8")
    hints = get_type_hints(Sweep)
    try:
        config = OmegaConf.create(text)
        for override in given:
            key = override.partition("=")[0].partition(".")[0]
            if key not in hints:
                raise ConfigError(key, f"no such option of reproduce; {nearest(key, hints)}")
        config.merge_with_dotlist(list(given))
        values: Any = OmegaConf.to_container(config, resolve=True)
    except (OmegaConfBaseException, ValueError) as error:
        raise ConfigError("reproduce", " ".join(str(error).split())) from error
    for key, value in values.items():
        complaint = mismatch(value, hints[key]) if key in hints else f"no such option; {nearest(key, hints)}"
        if complaint:
            raise ConfigError(key, complaint)
    sweep = Sweep(**values)
    _check(sweep)
    return sweep


def _check(sweep: Sweep) -> None:
    seen: set[str] = set()
    hints = get_type_hints(Point)
    for name, given in sweep.points.items():
        for key, value in (given or {}).items():
            if key not in KEYS:
                raise ConfigError(f"points.{name}.{key}", f"no such setting; {nearest(key, KEYS)}")
            complaint = mismatch(value, list[str] if key == "train" else hints[key])
            if complaint:
                raise ConfigError(f"points.{name}.{key}", complaint)
        for key in ("of", "start"):
            other = (given or {}).get(key)
            if other is not None and other not in seen:
                raise ConfigError(f"points.{name}.{key}", f"'{other}' is no line above it; {nearest(other, seen)}")
        seen.add(name)
    assert {f.name for f in fields(Point)} == KEYS | {"name"}
