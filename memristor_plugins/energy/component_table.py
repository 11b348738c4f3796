"""Component tables of published chips: what a chip is made of, and what its parts add up to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from memristor_plugins.energy.scaling import area_factor, energy_factor

FOLDER = Path(__file__).parent / "tables"


@dataclass(frozen=True)
class Part:
    """All equal parts of one assembly.

    Args:
        name: as its source calls it.
        component: the cost component it counts as.
        count: how many there are in the assembly.
        power: watts of all of them, in use; 0 where `energy_per_op` is told.
        energy_per_op: joules of all of them for each operation of the chip.
        area: square metres of all of them.
        scales: digital logic or memory, which follows the technology node.
    """

    name: str
    component: str
    count: float
    power: float
    energy_per_op: float
    area: float
    scales: bool


@dataclass(frozen=True)
class Assembly:
    """`count` equal assemblies of parts and of further assemblies."""

    name: str
    count: float
    parts: tuple[Part | Assembly, ...]


@dataclass(frozen=True)
class Table:
    """A chip.

    Args:
        name, source: of the publication.
        node: technology, nm.
        chip: its parts.
        array_part: the part that performs one matrix-vector product.
        rows, columns: of that part, in cells.
        rows_per_weight, columns_per_weight: cells of one weight.
        seconds: duration of one product of all input bits.
        precision: bit widths, in words.
        assumed: what the table takes for granted.
    """

    name: str
    source: str
    node: int
    chip: Assembly
    array_part: str
    rows: int
    columns: int
    rows_per_weight: int
    columns_per_weight: int
    seconds: float
    precision: str
    assumed: tuple[str, ...]

    @property
    def arrays(self) -> float:
        """How many products the chip computes at once."""
        return sum(times * part.count for part, times in leaves(self.chip) if part.name == self.array_part)

    @property
    def ops_per_product(self) -> float:
        """Multiplications and additions of one product."""
        return 2.0 * self.rows / self.rows_per_weight * self.columns / self.columns_per_weight

    @property
    def peak(self) -> float:
        """Operations a second when every array is busy."""
        return self.arrays * self.ops_per_product / self.seconds

    @property
    def ops_per_joule(self) -> float:
        """Operations a joule when every array is busy."""
        return self.peak / (total(self.chip, power) + self.peak * total(self.chip, energy_per_op))

    def per_product(self) -> dict[str, tuple[float, float]]:
        """By component: joules of one product, and square metres of the share of one array in the chip."""
        found: dict[str, tuple[float, float]] = {}
        for part, times in leaves(self.chip):
            joules, area = found.get(part.component, (0.0, 0.0))
            joules += times * (part.power * self.seconds / self.arrays + part.energy_per_op * self.ops_per_product)
            found[part.component] = joules, area + times * part.area / self.arrays
        return found

    def at(self, node: int) -> Table:
        """The same chip at another node: what scales follows `scaling.py`, times stay."""
        energy, area = energy_factor(self.node, node), area_factor(self.node, node)

        def scaled(item: Part | Assembly) -> Part | Assembly:
            if isinstance(item, Assembly):
                return replace(item, parts=tuple(map(scaled, item.parts)))
            if not item.scales:
                return item
            return replace(
                item, power=item.power * energy, energy_per_op=item.energy_per_op * energy, area=item.area * area
            )

        chip = replace(self.chip, parts=tuple(map(scaled, self.chip.parts)))
        return replace(self, node=node, chip=chip)


def power(part: Part) -> float:
    """Watts of a part."""
    return part.power


def energy_per_op(part: Part) -> float:
    """Joules of a part for each operation of the chip."""
    return part.energy_per_op


def area(part: Part) -> float:
    """Square metres of a part."""
    return part.area


def total(assembly: Assembly, quantity: Callable[[Part], float]) -> float:
    """Sum of `quantity` over one assembly: its parts, and each assembly inside times its count."""
    return sum(times * quantity(part) for part, times in leaves(replace(assembly, count=1)))


def leaves(item: Part | Assembly, times: float = 1.0) -> Iterator[tuple[Part, float]]:
    """Every part with the number of times that its entry stands in the chip."""
    if isinstance(item, Part):
        yield item, times
    else:
        for part in item.parts:
            yield from leaves(part, times * item.count)


def assembly(table: Table, name: str) -> Assembly:
    """The assembly of this name anywhere in the chip."""

    def search(item: Assembly) -> Assembly | None:
        inside = [p for p in item.parts if isinstance(p, Assembly)]
        return next((a for a in inside if a.name == name), None) or next(filter(None, map(search, inside)), None)

    found = search(table.chip)
    if found is None:
        raise KeyError(f"{table.name} has no assembly '{name}'")
    return found


@cache
def load(name: str) -> Table:
    """The table `tables/NAME.yaml` of this package."""
    from omegaconf import OmegaConf

    content: Any = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{name}.yaml"))
    array, operation = content["array"], content["operation"]
    return Table(
        name=content["name"],
        source=content["source"],
        node=content["node_nm"],
        chip=Assembly("chip", 1, tuple(map(_part, content["parts"]))),
        array_part=array["part"],
        rows=array["rows"],
        columns=array["columns"],
        rows_per_weight=array["rows_per_weight"],
        columns_per_weight=array["columns_per_weight"],
        seconds=operation["seconds"],
        precision=operation["precision"],
        assumed=tuple(content["assumed"]),
    )


def _part(entry: Mapping[str, Any]) -> Part | Assembly:
    count = float(entry.get("count", 1))
    if "parts" in entry:
        return Assembly(entry["name"], count, tuple(map(_part, entry["parts"])))
    return Part(
        name=entry["name"],
        component=entry["component"],
        count=count,
        power=entry.get("power_mw", 0.0) * 1e-3,
        energy_per_op=entry.get("energy_fj", 0.0) * 1e-15,
        area=entry["area_mm2"] * 1e-6,
        scales=entry["scales"],
    )
