"""Every device's figures: which there are, and that each is complete, told with units, and readable."""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from memristor_plugins import registry
from memristor_plugins.characterize import FIGURES
from memristor_plugins.characterize.bench import Bench, model_of
from memristor_plugins.characterize.result import Absent, Shown
from memristor_plugins.characterize.run import measure
from memristor_plugins.devices.transient import MODELS
from memristor_plugins.reporting.device_figures import compose

PULSED = {"pulses", "levels", "read_noise"}
TRANSIENT = {"iv", "switching", *PULSED}
AGEING = {"levels", "retention", "read_noise"}
MADE = {
    "ideal": {"levels"},
    "adaptive_2d": {*TRANSIENT, "retention", "gate"},
    "pcm_joshi": AGEING,
    "pcm_hermes": AGEING,
    "rram_wan": AGEING,
    "rram_cmo": AGEING,
    "sonos": AGEING,
    "table": AGEING,
    "rram_milo": {"iv", "levels", "read_noise"},
    "generic": {"levels", "read_noise"},
    "neurosim": {"pulses", "levels"},
    "soft_bounds": PULSED,
    "linear_step": PULSED,
    "exp_step": PULSED,
    "pow_step": PULSED,
    **{name: TRANSIENT for name in ("vteam", "yakopcic", "stanford_pku", "linear_ion_drift", "data_driven")},
}
CSV = """target_us,time_h,mean_us,std_us,read_std_us,failed_low,failed_low_g_us
1,0,1.1,0.2,0.1,0.01,0.05
1,2,1.0,0.3,0.1,0.01,0.05
20,0,20.5,1.0,0.4,0.02,0.1
20,2,19.0,1.5,0.4,0.02,0.1
"""
UNITS = {"s", "v", "a", "j"}
PURE = {"pulse", "polarity", "median_ratio", "nominal_gain", "quantile_5", "median_gain", "quantile_95", "deviation"}
PURE |= {"pulses_median"}


def bench_of(name: str, folder: Path, **settings: Any) -> Bench:
    target = next(p for p in registry.plugins("device") if p.name == name).load()
    if name == "table":
        file = folder / "measured.csv"
        file.write_text(CSV)
        settings["file"] = str(file)
    device = target(**settings)
    model = model_of(device) or (MODELS[name]() if name in MODELS else None)
    return Bench(name, device, model, cells=6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("table")


@cache
def found_of(name: str, folder: Path) -> dict[str, Shown | Absent]:
    """Read only, whichever test comes first."""
    return dict(measure(bench_of(name, folder), list(FIGURES)))


def test_every_device_is_looked_at() -> None:
    assert set(MADE) == {p.name for p in registry.plugins("device") if p.distribution == "memristor-plugins"}


@pytest.mark.parametrize("name", MADE)
def test_a_device_has_its_figures_and_a_reason_for_the_others(name: str, folder: Path) -> None:
    found = found_of(name, folder)
    assert list(found) == list(FIGURES)
    assert {key for key, result in found.items() if isinstance(result, Shown)} == MADE[name]
    assert all(len(r.reason) > 10 for r in found.values() if isinstance(r, Absent))


@pytest.mark.parametrize("name", MADE)
def test_a_figure_is_complete(name: str, folder: Path) -> None:
    for key, result in found_of(name, folder).items():
        if not isinstance(result, Shown):
            continue
        assert result.title, key
        assert result.caption.endswith("."), key
        assert result.numbers, key
        # A number that is told is one; what cannot be told is None, never nan.
        assert all(n.value is None or math.isfinite(n.value) for n in result.numbers.values()), (key, result.numbers)
        assert any(n.value is not None for n in result.numbers.values()), key
        rows = {len(column) for column in result.table.values()}
        assert len(rows) == 1, key
        assert rows.pop() >= 6, key
        for header in result.table:
            assert header in PURE or header.rpartition("_")[2] in UNITS, (key, header)
        for panel in result.panels:
            assert all(len(s.x) == len(s.y) for s in panel.series), key
            shown = torch.cat([s.y for s in panel.series])
            assert bool(torch.isfinite(shown).any()), (key, panel.y.label)
            if panel.y.scale == "log":
                assert float(shown.nan_to_num().max()) > 0, (key, panel.y.label)


@pytest.mark.parametrize("name", ["adaptive_2d", "pcm_hermes", "vteam", "neurosim", "table", "rram_milo"])
def test_nothing_written_in_a_figure_overlaps(name: str, folder: Path) -> None:
    for key, result in found_of(name, folder).items():
        if not isinstance(result, Shown):
            continue
        figure = compose(result.panels, title=f"{name}: {result.title}", caption=result.caption)
        figure.draw_without_rendering()
        page = figure.bbox
        for axes, panel in zip(figure.axes, result.panels, strict=True):
            # Labels with units, wide axes, a legend above them and on the page.
            unit = panel.y.unit
            assert axes.get_ylabel().startswith(panel.y.label)
            assert not unit or axes.get_ylabel().endswith(f"{unit})"), (key, axes.get_ylabel())
            box = axes.get_window_extent()
            assert box.width > 0.6 * page.width / len(result.panels), (key, box.width)
            legend = axes.get_legend()
            if legend is not None:
                told = legend.get_window_extent()
                assert told.y0 >= box.y1 - 1, key
                assert told.x0 > -1, key
                assert told.x1 < page.width + 1, key
                assert told.y1 < page.height, key
            ticks = [t.get_window_extent() for t in axes.get_xticklabels(which="both") if t.get_text()]
            ticks = sorted((t for t in ticks if box.x0 - 1 <= (t.x0 + t.x1) / 2 <= box.x1 + 1), key=lambda t: t.x0)
            assert len(ticks) >= 2, key
            assert all(a.x1 <= b.x0 for a, b in pairwise(ticks)), (key, panel.x.label)
            assert axes.yaxis.get_offset_text().get_text() == "", key
            assert axes.xaxis.get_offset_text().get_text() == "", key


def test_a_figure_s_draws_do_not_depend_on_the_others(folder: Path) -> None:
    alone = dict(measure(bench_of("pcm_joshi", folder), ["retention"]))["retention"]
    beside = found_of("pcm_joshi", folder)["retention"]
    assert isinstance(alone, Shown)
    assert isinstance(beside, Shown)
    assert all(torch.equal(alone.table[key], beside.table[key]) for key in alone.table)
    other = dict(measure(Bench("pcm_joshi", bench_of("pcm_joshi", folder).device, cells=6, seed=1), ["retention"]))
    assert isinstance(other["retention"], Shown)
    assert not torch.equal(other["retention"].table["median_s"], alone.table["median_s"])
