"""The headline table: every network trained and measured, one measurement after another."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from omegaconf import OmegaConf

from memristor_plugins.cli.headline_runs import WIRES, Deadline, Subject, built, costs, train
from memristor_plugins.compose import compose
from memristor_plugins.crossbar.compensation import Kind
from memristor_plugins.reproduce.headline_table import draw, table
from memristor_plugins.reproduce.preset import BORROWED, MATCHED, Preset
from memristor_plugins.reproduce.results import Rows, replace_text
from memristor_plugins.tracking.record import RunRecord

RESULTS = ("network", "seed", "condition", "chip", "accuracy")
RUNS = ("network", "seed", "phase", "val_accuracy", "epochs", "parameters", "seconds")
COSTS = ("network", "width", "cells", "conversions", "joules")
WIRE_ERRORS = ("network", "seed", "condition", "chip", "accuracy_exact", "accuracy_fast")
VARIANTS = ("network", "seed", "stack", "without", "chip", "accuracy")
# Widths of matched networks are multiples of this.
STEP = 1 / 256
# Validation images that widths are chosen on: the energy of a random network is that of its conversions.
SEARCHED = 8


class Stopped(Exception):
    """The deadline came; what has been measured is kept."""


@dataclass(frozen=True)
class Files:
    """The table's folder and the one of weights and interrupted trainings."""

    output: Path
    work: Path

    def rows(self, name: str, columns: Sequence[str], keys: int) -> Rows:
        return Rows(self.output / f"{name}.csv", columns, keys)


class Headline:
    """Runs a preset.

    Args:
        preset: what to run.
        files: where.
        seconds: of this call; None: until all is done.
        say: told what happens.
    """

    def __init__(self, preset: Preset, files: Files, seconds: float | None, say: Callable[[str], None]) -> None:
        self.preset, self.files, self.say = preset, files, say
        self.deadline = Deadline(seconds)
        files.work.mkdir(parents=True, exist_ok=True)
        self.results = files.rows("results", RESULTS, 4)
        self.runs = files.rows("runs", RUNS, 3)
        self.costs = files.rows("costs", COSTS, 1)
        self.wires = files.rows("ir_drop", WIRE_ERRORS, 4)
        self.variants = files.rows("variants", VARIANTS, 5)
        for name in ("pytorch_lightning", "lightning_fabric"):
            logging.getLogger(name).setLevel(logging.WARNING)
        if preset.threads is not None:
            torch.set_num_threads(preset.threads)

    def run(self) -> bool:
        """Go on until all is measured; False where the deadline came first. The table is written either way."""
        self._configs()
        try:
            for seed in self.preset.seeds:
                for network in self.preset.networks:
                    self._network(network, seed)
            for network in self.preset.networks:
                self._variants(network, self.preset.seeds[0])
        except Stopped:
            self._table()
            return False
        self._table()
        return True

    # -- one network -------------------------------------------------------------------------------------------------

    def _network(self, network: str, seed: int) -> None:
        overrides = self._overrides(network, seed)
        digital = self._trained(network, seed, "digital", overrides, None)
        self._measured(network, seed, overrides, digital, ("digital", "stack"))
        tuned = self._trained(network, seed, "hardware_aware", overrides, digital)
        self._measured(network, seed, overrides, tuned, ("stack_hwa", "stack_hwa_1day"))
        self._cost(network, overrides, tuned)
        self._table()

    def _trained(self, network: str, seed: int, phase: str, overrides: list[str], start: Path | None) -> Path:
        owner = BORROWED.get(network, network)
        weights = self.files.work / f"{owner}-{seed}-{phase}.pt"
        if weights.is_file() and (owner, seed, phase) in self.runs:
            return weights
        self._check()
        own = self.preset.digital if start is None else self.preset.hardware_aware
        self.say(f"{owner}, seed {seed}: training, {phase}")
        begun = time.monotonic()
        found = train([*overrides, *own], weights, start, self.deadline)
        if found is None:
            raise Stopped
        row = (found["val_accuracy"], found["epochs"], found["parameters"], round(time.monotonic() - begun, 1))
        self.runs.add(owner, seed, phase, f"{row[0]:.6g}", *row[1:])
        self.say(f"{owner}, seed {seed}: {row[0]:.2%} of the validation images, {row[3]:.0f} s")
        return weights

    def _measured(
        self, network: str, seed: int, overrides: list[str], weights: Path, conditions: tuple[str, str]
    ) -> None:
        """Rows of the digital network and its chips, or of the chips at both times."""
        preset = self.preset
        first, second = conditions
        times: dict[str, tuple[float, Kind]] = {second: (preset.seconds, "none")}
        if first != "digital":
            kind: Kind = preset.compensation  # type: ignore[assignment]
            times = {first: (preset.seconds, "none"), second: (preset.day, kind)}
        subject: Subject | None = None

        def loaded() -> Subject:
            nonlocal subject
            if subject is None:
                subject = Subject(overrides, weights, permute=network in BORROWED)
            return subject

        if first == "digital" and (network, seed, "digital", "") not in self.results:
            self._check()
            self.results.add(network, seed, "digital", "", f"{loaded().digital():.6g}")
            self.say(f"{network}, seed {seed}: digital {self.results.rows[-1][-1]}")
        for chip in range(preset.chips):
            exact = preset.exact_chips is None or chip in preset.exact_chips
            missing = [c for c in times if (network, seed, c, chip) not in self.results]
            if not missing:
                continue
            self._check()
            wanted = [times[c] for c in missing]
            found = list(loaded().on_chip(chip, wanted, exact=exact, batchnorm_images=preset.batchnorm_images))
            if exact and preset.exact_chips is not None and WIRES in loaded().stack.nonidealities:
                fast = list(loaded().on_chip(chip, wanted, exact=False, batchnorm_images=preset.batchnorm_images))
                for condition, solved, approximate in zip(missing, found, fast, strict=True):
                    self.wires.add(network, seed, condition, chip, f"{solved:.6g}", f"{approximate:.6g}")
            for condition, accuracy in zip(missing, found, strict=True):
                self.results.add(network, seed, condition, chip, f"{accuracy:.6g}")
                self.say(f"{network}, seed {seed}: {condition}, chip {chip}: {accuracy:.2%}")

    def _cost(self, network: str, overrides: list[str], weights: Path) -> None:
        if (network,) in self.costs:
            return
        self._check()
        subject = Subject(overrides, weights)
        cells, conversions, joules = subject.costs(self.preset.profiled)
        width = compose("train", overrides).model.width
        self.costs.add(network, f"{width:.6g}", cells, f"{conversions:.6g}", f"{joules:.6g}")

    # -- matched widths ----------------------------------------------------------------------------------------------

    def _overrides(self, network: str, seed: int) -> list[str]:
        found = [*self.preset.base(network), f"seed={seed}"]
        if network in MATCHED:
            found.append(f"model.width={self._width(network):.6g}")
        return found

    def _width(self, network: str) -> float:
        """The width of the static network that costs what `matched_to` does: the largest that costs no more."""
        kept = self.files.rows("widths", ("network", "width", "cells", "joules", "of_cells", "of_joules"), 1)
        if (network,) not in kept:
            target = self._counted(self.preset.base(self.preset.matched_to))
            which = 2 if MATCHED[network] == "joules" else 0
            base = self.preset.base(network)
            low = max(1, int(compose("train", base).model.width / STEP))
            counted = {low: self._counted([*base, f"model.width={low * STEP:.6g}"])}
            if counted[low][which] > target[which]:
                self.say(f"{network}: no wider network fits; it has the width of 'static'")
            high = low
            while counted[high][which] <= target[which]:
                low, high = high, 2 * high
                counted[high] = self._counted([*base, f"model.width={high * STEP:.6g}"])
            while high - low > 1:
                middle = (low + high) // 2
                counted[middle] = self._counted([*base, f"model.width={middle * STEP:.6g}"])
                low, high = (middle, high) if counted[middle][which] <= target[which] else (low, middle)
            cells, _, joules = counted[low]
            kept.add(network, f"{low * STEP:.6g}", cells, f"{joules:.6g}", target[0], f"{target[2]:.6g}")
            self.say(f"{network}: width {low * STEP:g}")
        return float(next(row["width"] for row in kept.dicts() if row["network"] == network))

    def _counted(self, base: list[str]) -> tuple[int, float, float]:
        self._check()
        return costs(built([*base, f"seed={self.preset.seeds[0]}"]), SEARCHED)

    # -- other stacks ------------------------------------------------------------------------------------------------

    def _variants(self, network: str, seed: int) -> None:
        """The hardware-aware network on other stacks, and with one effect off at a time, on chip 0."""
        weights = self.files.work / f"{BORROWED.get(network, network)}-{seed}-hardware_aware.pt"
        overrides = self._overrides(network, seed)
        own = next(o.partition("=")[2] for o in overrides if o.startswith("stack="))
        effects = list(compose("train", overrides).nonidealities) if self.preset.effects_off else []
        wanted = [(own, "")] if effects or self.preset.variants else []
        wanted += [(own, effect) for effect in effects]
        wanted += [(variant, "") for variant in self.preset.variants or []]
        for stack, effect in wanted:
            if (network, seed, stack, effect, 0) in self.variants:
                continue
            self._check()
            changed = [f"stack={stack}" if o.startswith("stack=") else o for o in overrides]
            subject = Subject(changed, weights, without=[effect] if effect else (), permute=network in BORROWED)
            exact = self.preset.exact_chips is None or 0 in self.preset.exact_chips
            at: list[tuple[float, Kind]] = [(self.preset.seconds, "none")]
            (found,) = subject.on_chip(0, at, exact=exact, batchnorm_images=self.preset.batchnorm_images)
            self.variants.add(network, seed, stack, effect, 0, f"{found:.6g}")
            self.say(f"{network}: {stack}{f' without {effect}' if effect else ''}: {found:.2%}")

    # -- files -------------------------------------------------------------------------------------------------------

    def _check(self) -> None:
        if self.deadline.over:
            raise Stopped

    def _configs(self) -> None:
        folder = self.files.output / "configs"
        folder.mkdir(parents=True, exist_ok=True)
        replace_text(self.files.output / "preset.yaml", OmegaConf.to_yaml(OmegaConf.create(asdict(self.preset))))
        RunRecord(self.files.output).provenance({"data": _data(self.preset)})

    def _table(self) -> None:
        folder = self.files.output / "configs"
        for network in self.preset.networks:
            for phase, own in (("digital", self.preset.digital), ("hardware_aware", self.preset.hardware_aware)):
                if (network, self.preset.seeds[0], phase) in self.runs:
                    config = compose("train", [*self._overrides(network, self.preset.seeds[0]), *own])
                    replace_text(folder / f"{network}-{phase}.yaml", OmegaConf.to_yaml(config, resolve=True))
        results, cost = self.results.dicts(), self.costs.dicts()
        text = table(self.preset, results, cost, self.runs.dicts(), self.wires.dicts(), self.variants.dicts())
        replace_text(self.files.output / "table.md", f"{_data(self.preset)}\n\n{text}")
        draw(self.files.output / "headline.png", self.preset, results, _data(self.preset))


def _data(preset: Preset) -> str:
    return built([*preset.base(preset.networks[0])]).data.name
