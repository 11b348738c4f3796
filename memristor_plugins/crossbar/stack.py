"""A device stack: one device, one mapping, any non-idealities."""

from __future__ import annotations

from collections.abc import Mapping as MappingABC
from dataclasses import dataclass, field, replace

from memristor_plugins.errors import SimulationError
from memristor_plugins.interfaces.device import Device
from memristor_plugins.interfaces.mapping import Mapping
from memristor_plugins.interfaces.nonideality import MANY, Context, NonIdeality, Site

GATED = (Site.GATE, Site.GATE_COUPLING, Site.GATE_NOISE)


@dataclass(frozen=True)
class Stack:
    """What networks run on.

    Args:
        device: the cell model.
        mapping: how weights stand on arrays.
        nonidealities: the effects that are switched on, by name.

    Raises:
        SimulationError: two effects at a site that takes one, an effect that this device cannot have, one that the
            device's own statistics contain already, or one without the converter that it depends on.
    """

    device: Device
    mapping: Mapping
    nonidealities: MappingABC[str, NonIdeality] = field(default_factory=dict)

    def __post_init__(self) -> None:
        chosen, device = self.nonidealities, type(self.device).__name__
        for site in Site:
            names = [name for name, effect in chosen.items() if effect.site is site]
            if len(names) > 1 and site not in MANY:
                raise SimulationError(
                    f"nonideality=[{','.join(names)}]: these act at the same site ({site.value}), which takes one; "
                    f"keep '{names[0]}' or '{names[1]}'"
                )
            if names and site in GATED and not self.device.gated:
                raise SimulationError(
                    f"nonideality={names[0]} needs a device with a third terminal, which {device} has "
                    f"not; take '{names[0]}' out or choose a gated device such as device=adaptive_2d"
                )
        if {"write_verify", "d2d"} <= set(chosen):
            raise SimulationError(
                "nonideality=[write_verify,d2d]: a verified write hides device-to-device variation; take 'd2d' out, or "
                "'programming' for 'write_verify'"
            )
        for name, switch in self.device.includes.items():
            if name in chosen and (switch in chosen or switch in chosen[name].uses):
                other = f" together with '{switch}'" if switch in chosen else ""
                raise SimulationError(
                    f"nonideality={name}{other} would count twice: {device}'s own statistics of {switch} contain it; "
                    f"take '{name}' out, or choose device=generic"
                )
        # Last, so that what it proposes can be built.
        for site in (Site.CURRENT, Site.LEAK):
            effect, dac = self.at(site), self.at(Site.INPUT)
            if effect is not None and dac is None:
                name = next(n for n, e in chosen.items() if e is effect)
                raise SimulationError(
                    f"nonideality={name} depends on the voltage that an input stands for, which a dac's range tells; "
                    f"add dac: nonideality=[{','.join([*chosen, 'dac'])}]"
                )

    def at(self, site: Site) -> NonIdeality | None:
        """The effect at a site that takes one, or None."""
        return next((e for e in self.nonidealities.values() if e.site is site), None)

    def all_at(self, site: Site) -> list[tuple[str, NonIdeality]]:
        """The effects at a site, by name, in an order that does not depend on how they were listed."""
        return sorted((n, e) for n, e in self.nonidealities.items() if e.site is site)

    def has(self, *sites: Site) -> bool:
        """Any effect acts at one of the sites."""
        return any(e.site in sites for e in self.nonidealities.values())

    def context(self, seconds: float = 0.0, *, training: bool = False) -> Context:
        """Where and when effects act, as every effect's `surroundings` leave it."""
        context = Context(self.device, seconds=seconds, training=training)
        for name in sorted(self.nonidealities):
            context = self.nonidealities[name].surroundings(context)
        return context

    def keeping(self, names: list[str]) -> Stack:
        """The same stack with only the named effects."""
        return replace(self, nonidealities={n: e for n, e in self.nonidealities.items() if n in names})

    @property
    def rows_per_read(self) -> int:
        """Word lines of an array that are driven, and whose currents are converted, at once."""
        leak = self.at(Site.LEAK)
        if leak is None or leak.rows_per_read is None:
            return self.mapping.rows
        return min(leak.rows_per_read, self.mapping.rows)
