"""The folder of one run: what was asked for, what came out, and of which versions."""

from __future__ import annotations

import csv
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from memristor_plugins import registry
from memristor_plugins.interfaces.energy import CostReport

LIBRARIES = ("torch", "pytorch-lightning", "torchmetrics", "hydra-core", "omegaconf", "hydra-zen", "numpy")


class RunRecord:
    """Writes the files of a run; each is written whole or not at all.

    Args:
        folder: the run's folder, made if need be.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def config(self, config: DictConfig) -> None:
        """`config.yaml`: the resolved config."""
        self._write("config.yaml", OmegaConf.to_yaml(config, resolve=True))

    def metrics(self, metrics: Mapping[str, float | int | str]) -> None:
        """`metrics.json`: flat, sorted; no times or dates, so that the same seed writes the same bytes."""
        self._json("metrics.json", dict(sorted(metrics.items())))

    def provenance(self, facts: Mapping[str, Any]) -> None:
        """`provenance.json`: versions, revision, machine, and `facts`."""
        self._json("provenance.json", {**provenance(), **facts})

    def chips(self, rows: Iterable[tuple[int, float, float]]) -> None:
        """`chips.csv`: chip, time_s, accuracy."""
        self._csv("chips.csv", ("chip", "time_s", "accuracy"), rows)

    def cost(self, reports: Iterable[CostReport]) -> None:
        """`cost.csv`: a row for each component of each layer in each estimate."""
        header = ("estimator", "layer", "component", "energy_j", "latency_s", "area_m2")
        rows = (
            (r.estimator, e.layer, e.component, e.energy_j, e.latency_s, e.area_m2) for r in reports for e in r.entries
        )
        self._csv("cost.csv", header, rows)

    def table(self, name: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """A CSV file of this name."""
        self._csv(name, header, rows)

    def json(self, name: str, value: Any) -> None:
        """A JSON file of this name."""
        self._json(name, value)

    def routing(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """`routing.csv`: bank coefficients by layer, bank and class, see `models.routing.table`."""
        header = ("layer", "bank", "class", "images", "mean", "std", "between_class_share", "entropy")
        self._csv("routing.csv", header, rows)

    def _json(self, name: str, value: Any) -> None:
        self._write(name, json.dumps(value, indent=2) + "\n")

    def _csv(self, name: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        with tempfile.TemporaryFile("w+", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(header)
            writer.writerows(rows)
            file.seek(0)
            self._write(name, file.read())

    def _write(self, name: str, text: str) -> None:
        part = self.folder / f".{name}.part"
        part.write_text(text, encoding="utf-8")
        os.replace(part, self.folder / name)


def provenance() -> dict[str, Any]:
    """What a result depends on besides its config."""
    distributions = {p.distribution: p.version for p in registry.plugins()}
    return {
        "plugins": distributions,
        "libraries": {name: version(name) for name in LIBRARIES},
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "git": git_revision(Path(__file__).resolve().parent),
        "command": ["memristor", *sys.argv[1:]],
    }


def git_revision(folder: Path) -> dict[str, Any] | None:
    """Revision of the checkout that `folder` lies in, and whether it had changes; None outside a checkout."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False, timeout=10
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    # An installed package inside somebody else's checkout has no revision of its own.
    if git("ls-files", "--error-unmatch", str(Path(__file__).resolve())) is None:
        return None
    revision = git("rev-parse", "HEAD")
    return None if revision is None else {"revision": revision, "changed": bool(git("status", "--porcelain"))}
