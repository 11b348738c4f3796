"""Energy of the same network on the processor of this machine, measured."""

from __future__ import annotations

import importlib
from typing import Annotated, Any, Literal

from memristor_plugins.energy.measuring import measure, replay_of, report
from memristor_plugins.errors import SimulationError
from memristor_plugins.interfaces.energy import CostReport, EnergyEstimator, WorkloadProfile
from memristor_plugins.interfaces.parameter import Param


class CPUMeasured(EnergyEstimator):
    """CPU, measured: the digital network on this machine's processor, by its own energy counters (RAPL).

    Batches of the profiled images run for `seconds`; an image costs the joules of all sockets, and of their memory
    where it is counted, over the images that ran. Idle power and other programs count. Latency is that of a batch.

    Valid range: Intel and AMD processors under Linux whose counters this user may read. Counters step every
    millisecond. Layers and components cannot be told apart.

    Source: RAPL through Linux's powercap, read by zeus (`pip install memristor-plugins[rapl]`).

    Raises:
        SimulationError: no zeus, no counters, or no right to read them.
    """

    def __init__(
        self,
        *,
        batch: Annotated[int, Param("images a batch", source="assumed: one image", ge=1)] = 1,
        precision: Annotated[
            Literal["fp32", "bf16"], Param("number format of the network", source="as cpu_roofline")
        ] = "fp32",
        seconds: Annotated[float, Param("how long to measure", unit="s", source="assumed", gt=0)] = 5.0,
    ) -> None:
        self.batch, self.precision, self.seconds = batch, precision, seconds

    def check(self) -> None:
        _joules(_processors())

    def estimate(self, profile: WorkloadProfile) -> CostReport:
        """Joules and seconds of one inference on this processor."""
        processors = _processors()
        run = replay_of(profile, "cpu_measured")("cpu", self.batch, self.precision)
        found = measure(run, lambda: _joules(processors), self.seconds)
        sockets = len(_sockets(processors))
        about = f"{sockets} socket{'s' if sockets > 1 else ''}, energy counters of RAPL"
        return report(profile, "cpu_measured", found, self.batch, self.precision, about)


def _processors() -> Any:
    """zeus's view of all sockets."""
    try:
        zeus, base = importlib.import_module("zeus.device.cpu"), importlib.import_module("zeus.exception")
    except ImportError as error:
        raise SimulationError(
            "energy=cpu_measured needs zeus: pip install 'memristor-plugins[rapl]'; or choose cpu_roofline"
        ) from error
    try:
        processors = zeus.get_cpus()
        if not _sockets(processors):
            raise OSError("no socket counts")
    except (base.ZeusBaseError, OSError) as error:
        reason = " ".join(str(error).split())
        raise SimulationError(
            f"energy=cpu_measured: RAPL's energy counters cannot be read here ({reason}); choose cpu_roofline instead"
        ) from error
    return processors


def _sockets(processors: Any) -> list[int]:
    """Indices of the sockets; a laptop's whole-platform counter ("psys") contains its socket's."""
    zones = [getattr(getattr(cpu, "rapl_file", None), "name", "") for cpu in processors.cpus]
    return [index for index, name in enumerate(zones) if name != "psys"]


def _joules(processors: Any) -> float:
    """What all sockets have used since some time in the past."""
    total = 0.0
    for index in _sockets(processors):
        used = processors.get_total_energy_consumption(index)
        total += used.cpu_mj + (used.dram_mj or 0.0)
    return total * 1e-3
