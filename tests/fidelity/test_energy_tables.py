"""Published totals of chips against the sums of their component tables, within 1 %."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import pytest

from memristor_plugins.energy.component_table import Table, area, assembly, leaves, load, power, total
from memristor_plugins.energy.isaac import ISAAC
from memristor_plugins.energy.neurram import NeuRRAM
from memristor_plugins.energy.puma import PUMA
from memristor_plugins.energy.scaling import NODES, area_factor, energy_factor
from memristor_plugins.energy.table_estimator import TableEstimator
from memristor_plugins.errors import ConfigError
from memristor_plugins.interfaces.energy import LayerProfile, WorkloadProfile

IDLE: dict[str, Any] = {f.name: 0 for f in fields(LayerProfile)} | {"name": "conv1", "banks": 1, "groups": 1}

# Assembly, watts, square millimetres.
# ISAAC: Shafiee et al., ISCA 2016, 10.1109/ISCA.2016.12, Table I ("12 IMAs", "1 tile", "168 tiles", "chip total").
# PUMA: Ankit et al., ASPLOS 2019, 10.1145/3297858.3304049, Table 3. Its core area is printed with two digits.
PUBLISHED = [
    ("isaac", "IMA", 12, 289e-3, 0.157),
    ("isaac", "tile", 1, 330e-3, 0.372),
    ("isaac", "tile", 168, 55.4, 62.5),
    ("isaac", "chip", 1, 65.8, 85.4),
    ("puma", "core", 1, 42.37e-3, None),
    ("puma", "tile", 1, 373.8e-3, 0.479),
    ("puma", "chip", 1, 62.5, 90.6),
]


@pytest.mark.parametrize(("name", "part", "count", "watts", "mm2"), PUBLISHED, ids=lambda v: str(v))
def test_published_power_and_area(name: str, part: str, count: int, watts: float, mm2: float | None) -> None:
    table = load(name)
    whole = table.chip if part == "chip" else assembly(table, part)
    assert count * total(whole, power) == pytest.approx(watts, rel=0.01)
    if mm2 is not None:
        assert count * total(whole, area) * 1e6 == pytest.approx(mm2, rel=0.01)


def test_puma_core_area_to_its_two_digits() -> None:
    assert total(assembly(load("puma"), "core"), area) * 1e6 == pytest.approx(0.036, abs=0.0005)


def test_puma_efficiency() -> None:
    """837 GOPS/s/W and 577 GOPS/s/mm2 (abstract); the peak rate of 52.31 TOPS/s is the one input."""
    table = load("puma")
    assert table.peak == pytest.approx(52.31e12, rel=1e-3)
    assert table.ops_per_joule == pytest.approx(837e9, rel=0.01)
    assert table.peak / (total(table.chip, area) * 1e6) == pytest.approx(577e9, rel=0.01)


def test_neurram_efficiency() -> None:
    """15.95 TOPS/W at 4-bit inputs and 6-bit outputs (Wan 2022, 10.1038/s41586-022-04992-8), 0.744 TOPS given."""
    table = load("neurram")
    assert table.ops_per_joule == pytest.approx(15.95e12, rel=0.01)
    assert table.peak == pytest.approx(0.744e12, rel=1e-3)


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name not in ("count", "node_nm"):
                yield from numbers(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from numbers(inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield float(value)


@pytest.mark.parametrize("name", ["isaac", "puma"])
def test_no_published_total_is_an_input(name: str) -> None:
    from omegaconf import OmegaConf

    from memristor_plugins.energy.component_table import FOLDER

    given = set(numbers(OmegaConf.to_container(OmegaConf.load(FOLDER / f"{name}.yaml"))))
    for chip, _, _, watts, mm2 in PUBLISHED:
        if chip == name:
            assert not {watts * 1e3, watts, mm2} & given
    assert not {837.0, 577.0, 52.31, 15.95} & given


def layer(table: Table) -> dict[str, Any]:
    """A layer that fills one array with weights, for a thousand positions."""
    rows, cols = table.rows // table.rows_per_weight, table.columns // table.columns_per_weight
    return {"rows": rows, "cols": cols, "positions": 1000, "digital_macs": 1000.0 * rows * cols}


@pytest.mark.parametrize(("name", "cls"), [("isaac", ISAAC), ("puma", PUMA), ("neurram", NeuRRAM)])
def test_a_full_array_runs_at_the_chips_own_efficiency(name: str, cls: Callable[[], TableEstimator]) -> None:
    table = load(name)
    made = LayerProfile(**(IDLE | layer(table)))
    report = cls().estimate(WorkloadProfile((made,), 0.0, 1e-8, 1, "none", "none"))
    assert report.tops_per_watt == pytest.approx(table.ops_per_joule * 1e-12, rel=1e-9)
    assert report.latency_s == pytest.approx(1000 * table.seconds)
    assert report.tops == pytest.approx(table.peak / table.arrays * 1e-12, rel=1e-9)
    whole = total(table.chip, area)
    assert report.area_m2 == (pytest.approx(whole / table.arrays) if whole else None)


@pytest.mark.parametrize(
    ("name", "cls", "blocks"),
    # 2 groups of 200 x 65 weights, 2 banks: ISAAC 2 x 5 arrays a group and bank, PUMA 2 x 1, NeuRRAM 2 x 1.
    [("isaac", ISAAC, 40), ("puma", PUMA, 8), ("neurram", NeuRRAM, 8)],
)
def test_blocks_of_a_grouped_layer(name: str, cls: Callable[[], TableEstimator], blocks: int) -> None:
    made = LayerProfile(**(IDLE | {"rows": 200, "cols": 130, "groups": 2, "banks": 2, "positions": 1}))
    assert cls().blocks(made) == blocks


def test_scaling_moves_digital_parts_only() -> None:
    own, new = load("isaac"), load("isaac").at(45)
    for (before, _), (after, _) in zip(leaves(own.chip), leaves(new.chip), strict=True):
        energy, size = (energy_factor(32, 45), area_factor(32, 45)) if before.scales else (1.0, 1.0)
        assert after.power == pytest.approx(before.power * energy)
        assert after.area == pytest.approx(before.area * size)
    assert new.seconds == own.seconds


def test_scaling_factors_of_the_source() -> None:
    """Stillmaker and Baas 2017: 32 nm is 0.46 of the area at 45 nm, 7 nm 0.13 of 32 nm (Table 1, two digits)."""
    assert area_factor(45, 32) == pytest.approx(0.46, rel=0.03)
    assert area_factor(32, 7) == pytest.approx(0.13, rel=0.03)
    assert area_factor(130, 45) == 0.16
    energies = [energy_factor(130, node) for node in NODES]
    assert energies == sorted(energies, reverse=True)
    # Its 45 and 32 nm curves at 1.0 V and 0.9 V: (0.8367 * 0.81 - 0.4341 * 0.9 + 0.1701) / (1.018 - 0.3107 + 0.1539).
    assert energy_factor(45, 32) == pytest.approx(0.457137 / 0.8612, rel=1e-6)
    for a in NODES:
        for b in NODES:
            assert energy_factor(a, b) * energy_factor(b, a) == pytest.approx(1.0)


def test_a_node_without_scaling_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        ConfigError, match=r"energies\.isaac\.node: no scaling for 28 nm; the nearest valid value is 32"
    ):
        ISAAC(node=28)
