"""The roofline both digital references share: design power, bound by arithmetic or by memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from memristor_plugins.energy.components import NETWORK
from memristor_plugins.interfaces.energy import CostEntry, CostReport, WorkloadProfile

Traffic = Literal["all", "weights", "none"]

COMPUTE = "compute"
MEMORY_WAIT = "memory wait"

# The profile counts bytes at 4 a value; a machine moves its own number format.
PROFILE_BYTES_PER_VALUE = 4.0
FLOP_PER_MAC = 2.0


@dataclass(frozen=True)
class Machine:
    """A digital processor.

    Args:
        name: what a caption calls it, with its number format.
        power: design power (TDP), W.
        peak: dense arithmetic rate, FLOP/s.
        bandwidth: main memory, B/s.
        value_bytes: bytes of one value in its number format.
    """

    name: str
    power: float
    peak: float
    bandwidth: float
    value_bytes: float

    @property
    def joule_per_flop(self) -> float:
        """Energy of an operation at design power and peak rate, J."""
        return self.power / self.peak


def roofline(
    profile: WorkloadProfile,
    machine: Machine,
    *,
    estimator: str,
    batch: int,
    utilisation: float,
    traffic: Traffic,
) -> CostReport:
    """Joules and seconds of one inference: `power * max(flops/peak, bytes/bandwidth) / utilisation`, layer by layer.

    The part up to `flops/peak` is "compute"; what the machine idles on top, waiting for bytes, is "memory
    wait".
    """
    format_ratio = machine.value_bytes / PROFILE_BYTES_PER_VALUE
    entries = []
    for layer in profile.layers:
        flops = FLOP_PER_MAC * (layer.digital_macs + layer.routing_macs)
        moved = 0.0
        if traffic != "none":
            # A routing network uses each of its weights once an image.
            moved += (layer.weight_bytes * format_ratio + layer.routing_macs * machine.value_bytes) / batch
        if traffic == "all":
            moved += (layer.input_bytes + layer.output_bytes) * format_ratio
        busy = flops / machine.peak
        wait = max(0.0, moved / machine.bandwidth - busy)
        entries.append(_entry(layer.name, COMPUTE, machine.power, busy / utilisation, batch))
        entries.append(_entry(layer.name, MEMORY_WAIT, machine.power, wait / utilisation, batch))
    # Normalisation and activation are fused into the layers' kernels: arithmetic without traffic of its own.
    busy = profile.digital_ops / machine.peak
    entries.append(_entry(NETWORK, COMPUTE, machine.power, busy / utilisation, batch))
    said = {
        "all": "weights once a batch, activations in and out of every layer",
        "weights": "weights once a batch, activations stay in cache",
        "none": "no memory traffic: a strict lower bound",
    }
    assumptions = (
        f"{machine.name}, {machine.power:g} W, {machine.joule_per_flop * 1e12:.3g} pJ/FLOP, 2 FLOP a MAC",
        f"cheapest digital form of the same network, batch {batch}; {said[traffic]}",
        f"{utilisation:.0%} of the roofline",
    )
    return CostReport(
        estimator,
        tuple(entries),
        assumptions,
        ops=profile.ops,
        precision=f"{8 * machine.value_bytes:g}-bit floats",
        batch=batch,
        interval_s=sum(e.latency_s for e in entries) / batch or None,
    )


def _entry(layer: str, component: str, power: float, seconds: float, batch: int) -> CostEntry:
    """One image's joules; an image is done when its whole batch is."""
    return CostEntry(layer, component, power * seconds, seconds * batch)
