"""A device stack: one device, one mapping, any non-idealities."""

from __future__ import annotations

from collections.abc import Mapping as MappingABC
from dataclasses import dataclass, field

from memristor_plugins.errors import SimulationError
from memristor_plugins.interfaces.device import Device
from memristor_plugins.interfaces.mapping import Mapping
from memristor_plugins.interfaces.nonideality import NonIdeality, Site


@dataclass(frozen=True)
class Stack:
    """What networks run on.

    Args:
        device: the cell model.
        mapping: how weights stand on arrays.
        nonidealities: the effects that are switched on, by name.

    Raises:
        SimulationError: two effects at a site that takes one, or an effect that this device cannot have.
    """

    device: Device
    mapping: Mapping
    nonidealities: MappingABC[str, NonIdeality] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for site in (Site.WRITE, Site.AGE, Site.GATE, Site.INPUT, Site.READ, Site.SUM):
            names = [name for name, effect in self.nonidealities.items() if effect.site is site]
            if len(names) > 1:
                raise SimulationError(
                    f"nonideality=[{','.join(names)}]: these act at the same site ({site.value}), which takes one; "
                    f"keep '{names[0]}' or '{names[1]}'"
                )
        if self.at(Site.GATE) is not None and not self.device.gated:
            name = next(n for n, e in self.nonidealities.items() if e.site is Site.GATE)
            raise SimulationError(
                f"nonideality={name} needs a device with a third terminal, which {type(self.device).__name__} has "
                f"not; take '{name}' out or choose a gated device such as device=adaptive_2d"
            )

    def at(self, site: Site) -> NonIdeality | None:
        """The effect at a site that takes one, or None."""
        return next((e for e in self.nonidealities.values() if e.site is site), None)

    def defects(self) -> list[tuple[str, NonIdeality]]:
        """Effects that pin cells, by name, in an order that does not depend on how they were listed."""
        return sorted((n, e) for n, e in self.nonidealities.items() if e.site is Site.DEFECT)

    def keeping(self, names: list[str]) -> Stack:
        """The same stack with only the named effects."""
        return Stack(self.device, self.mapping, {n: e for n, e in self.nonidealities.items() if n in names})
