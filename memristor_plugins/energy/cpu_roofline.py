"""Energy of the same network on a server processor."""

from __future__ import annotations

from typing import Annotated

from memristor_plugins.energy.roofline import Machine, Traffic, roofline
from memristor_plugins.interfaces.energy import CostReport, EnergyEstimator, WorkloadProfile
from memristor_plugins.interfaces.parameter import Param

LUMI = "LUMI-C documentation, docs.lumi-supercomputer.eu, AMD EPYC 7763"


class CPURoofline(EnergyEstimator):
    """CPU at its roofline: the same network in FP32 on one server socket (AMD EPYC 7763 by default).

    For each layer and one image

        flops  = 2 * (digital_macs + routing_macs)
        bytes  = (weights + routing weights) / batch + inputs + outputs, at 4 bytes a value
        time   = max(flops / peak, bytes / bandwidth) / utilisation
        energy = power * time

    plus one FLOP for each of `digital_ops`. Joules, seconds, B/s, FLOP/s. The defaults come to 55.8 pJ/FLOP
    where arithmetic binds: 64 cores x 2.45 GHz (base clock) x 32 FLOP a cycle (two 256-bit fused
    multiply-adds in FP32) = 5.02 TFLOP/s at 280 W.

    Valid range: `utilisation=1` is the least this socket can need. Activations and weights of small
    networks stay in its 256 MB of cache: `traffic=none` is the strict lower bound.

    Sources: LUMI-C documentation for clock, cores, 16 FLOP a cycle in FP64 (FP32 has twice the lanes) and
    204.8 GB/s; AMD's product page for 280 W.
    """

    def __init__(
        self,
        *,
        name: Annotated[str, Param("what a caption calls the processor", source=LUMI)] = "EPYC 7763 FP32",
        power: Annotated[
            float,
            Param("design power of the socket", unit="W", source="AMD EPYC 7763 product page: default TDP", gt=0),
        ] = 280.0,
        peak: Annotated[
            float,
            Param("arithmetic rate in FP32", unit="FLOP/s", source=f"{LUMI}: 64 x 2.45 GHz x 2 x 16 FLOP", gt=0),
        ] = 5.0176e12,
        bandwidth: Annotated[float, Param("main memory of a socket", unit="B/s", source=LUMI, gt=0)] = 204.8e9,
        batch: Annotated[
            int,
            Param("images a batch; weights are read once for all of them", source="assumed: one image", ge=1),
        ] = 1,
        utilisation: Annotated[
            float,
            Param("reached fraction of the roofline", source="assumed: 1 is the lower bound", gt=0, le=1),
        ] = 1.0,
        traffic: Annotated[
            Traffic,
            Param("what passes main memory: all, weights only, or none", source="assumed: layers are not fused"),
        ] = "all",
    ) -> None:
        self.machine = Machine(name, power, peak, bandwidth, value_bytes=4)
        self.batch = batch
        self.utilisation = utilisation
        self.traffic: Traffic = traffic

    def estimate(self, profile: WorkloadProfile) -> CostReport:
        """Joules of one inference on this processor."""
        return roofline(
            profile,
            self.machine,
            estimator="cpu_roofline",
            batch=self.batch,
            utilisation=self.utilisation,
            traffic=self.traffic,
        )
