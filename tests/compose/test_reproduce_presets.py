"""Every preset of `memristor reproduce` composes, for each of its networks or lines."""

from __future__ import annotations

import pytest

from memristor_plugins.compose import compose
from memristor_plugins.reproduce.preset import MATCHED, load, presets
from memristor_plugins.reproduce.sweep import load_sweep


@pytest.mark.parametrize("name", presets("headline"))
def test_headline_presets_compose(name: str) -> None:
    preset = load(f"headline/{name}", [])
    for network in preset.networks:
        width = ["model.width=0.3"] if network in MATCHED else []
        for phase in (preset.digital, preset.hardware_aware):
            assert compose("train", [*preset.base(network), *width, *phase]).kernel is not None
    for variant in preset.variants or []:
        compose("train", [*preset.base(preset.networks[0]), f"stack={variant}"])


@pytest.mark.parametrize(("table", "name"), [(t, n) for t in ("ablation", "where-dynamics-pays") for n in presets(t)])
def test_lines_of_sweeps_compose(table: str, name: str) -> None:
    sweep = load_sweep(table, name, [])
    for point in sweep.lines():
        compose("train", [*sweep.common, *point.train])
