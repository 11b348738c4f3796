"""Energy of as many synaptic events in a human brain."""

from __future__ import annotations

from typing import Annotated, Literal

from memristor_plugins.errors import ConfigError
from memristor_plugins.interfaces.energy import CostEntry, CostReport, EnergyEstimator, WorkloadProfile
from memristor_plugins.interfaces.parameter import Param

Account = Literal["whole", "communication", "computation"]

LEVY = "Levy and Calvert, PNAS 2021, 10.1073/pnas.2008173118"

COMPUTATION = "computation"
COMMUNICATION = "communication"
REMAINDER = "remainder"

# Components that each account adds up, from the narrowest audit to the whole organ.
_PARTS: dict[Account, tuple[str, ...]] = {
    "computation": (COMPUTATION,),
    "communication": (COMPUTATION, COMMUNICATION),
    "whole": (COMPUTATION, COMMUNICATION, REMAINDER),
}


class Brain(EnergyEstimator):
    """Human brain: as many synaptic events as the network has, at the brain's energy an event.

    A synaptic event is an input that is not zero times a synapse that it reaches, so a layer has
    `nonzero_macs` of them (spikes times fan-out); routing is not counted. One image costs

        events * power / event_rate

    in joules. 20 W over 1e14-1e15 events/s is 200-20 fJ an event; the default rate is the geometric middle,
    63 fJ. The power splits into cortical computation (0.1 W), cortical communication (3.5 W, both audited
    in ATP) and the remainder (glucose to ATP, resting potentials, upkeep, the rest of the brain). `account`
    chooses what adds up: `computation` (0.32 fJ an event at the default rate), `communication` (with
    computation: 11 fJ) or `whole` (63 fJ). State which: they differ 200 times.

    Valid range: a scale, not a model: a brain computes other things in other ways, and the cortical powers
    are divided by the event rate of the whole brain, which makes them a lower bound.

    Sources: 20 W and 1e14-1e15 events/s are textbook orders of magnitude; the split is Levy and Calvert,
    PNAS 118(18) e2008173118 (2021).

    Raises:
        ConfigError: computation and communication together exceed the power.
    """

    def __init__(
        self,
        *,
        account: Annotated[
            Account,
            Param("what is counted: computation, with communication, or the whole brain", source=LEVY),
        ] = "whole",
        power: Annotated[
            float, Param("power of the brain", unit="W", source=f"the oft-quoted figure, as in {LEVY}", gt=0)
        ] = 20.0,
        event_rate: Annotated[
            float,
            Param(
                "synaptic events a second",
                unit="1/s",
                source="assumed: geometric middle of 1e14-1e15, 1e14 synapses at 1-10 Hz",
                gt=0,
            ),
        ] = 10**14.5,
        computation: Annotated[float, Param("cortical computation", unit="W", source=LEVY, ge=0)] = 0.1,
        communication: Annotated[float, Param("cortical communication", unit="W", source=LEVY, ge=0)] = 3.5,
    ) -> None:
        if computation + communication > power:
            raise ConfigError(
                "energies.brain.power",
                f"must be at least computation + communication, {computation + communication:g} W; got {power:g}",
            )
        self.account: Account = account
        self.power = power
        self.event_rate = event_rate
        self.computation = computation
        self.communication = communication

    @property
    def joule_per_event(self) -> dict[str, float]:
        """Joules of one synaptic event, by the components of the chosen account."""
        watts = {
            COMPUTATION: self.computation,
            COMMUNICATION: self.communication,
            REMAINDER: self.power - self.computation - self.communication,
        }
        return {part: watts[part] / self.event_rate for part in _PARTS[self.account]}

    def estimate(self, profile: WorkloadProfile) -> CostReport:
        """Joules of as many events in a brain."""
        entries = tuple(
            CostEntry(layer.name, part, layer.nonzero_macs * energy)
            for layer in profile.layers
            for part, energy in self.joule_per_event.items()
        )
        events = sum(layer.nonzero_macs for layer in profile.layers)
        joules = sum(self.joule_per_event.values())
        watts = joules * self.event_rate
        assumptions = (
            f"an event is a MAC whose input is not zero: {events:.3g} an image, without routing",
            f"{joules * 1e15:.3g} fJ an event: {watts:.3g} W ({_ABOUT[self.account]}) over "
            f"{self.event_rate:.3g} events/s",
            *self._accounts(events),
            f"1e14 to 1e15 events/s would give {events * watts / 1e14:.3g} to {events * watts / 1e15:.3g} J",
        )
        return CostReport("brain", entries, assumptions, ops=profile.ops, precision="synaptic events")

    def _accounts(self, events: float) -> tuple[str, ...]:
        """What the narrower accounts would say, for a chip's narrower boundaries."""
        if self.account != "whole":
            return ()
        alone = self.computation * events / self.event_rate
        both = alone + self.communication * events / self.event_rate
        return (f"of which cortical computation {alone:.3g} J, with communication {both:.3g} J",)


_ABOUT: dict[Account, str] = {
    "computation": f"cortical computation only, {LEVY}",
    "communication": f"cortical computation and communication, {LEVY}",
    "whole": f"the whole brain, of which computation and communication as in {LEVY}",
}
