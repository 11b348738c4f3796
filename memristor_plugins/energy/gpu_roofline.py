"""Energy of the same network on a data-centre GPU."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Annotated, Literal, get_args

from memristor_plugins.energy.roofline import Machine, Traffic, roofline
from memristor_plugins.errors import ConfigError, nearest
from memristor_plugins.interfaces.energy import CostReport, EnergyEstimator, WorkloadProfile
from memristor_plugins.interfaces.parameter import Param

Part = Literal["a100_fp32", "a100_fp16", "h100_fp32", "h100_fp16", "h100_fp8"]

# Dense rates (no structured sparsity); FP32 outside the tensor cores.
# A100 SXM4 80 GB: NVIDIA A100 data sheet (nvidia-1758950).
# H100 SXM5: NVIDIA H100 architecture white paper; 3.35 TB/s and 700 W from the H100 data sheet.
_A100_POWER, _A100_BANDWIDTH = 400.0, 2039e9
_H100_POWER, _H100_BANDWIDTH = 700.0, 3350e9

PARTS = MappingProxyType(
    {
        "a100_fp32": Machine("A100 SXM FP32", _A100_POWER, 19.5e12, _A100_BANDWIDTH, 4),
        "a100_fp16": Machine("A100 SXM FP16", _A100_POWER, 312e12, _A100_BANDWIDTH, 2),
        "h100_fp32": Machine("H100 SXM FP32", _H100_POWER, 66.9e12, _H100_BANDWIDTH, 4),
        "h100_fp16": Machine("H100 SXM FP16", _H100_POWER, 989.4e12, _H100_BANDWIDTH, 2),
        "h100_fp8": Machine("H100 SXM FP8", _H100_POWER, 1978.9e12, _H100_BANDWIDTH, 1),
    }
)


class GPURoofline(EnergyEstimator):
    """GPU at its roofline: the same network's digital arithmetic at design power over peak rate.

    For each layer and one image

        flops  = 2 * (digital_macs + routing_macs)
        bytes  = (weights + routing weights) / batch + inputs + outputs, in the part's number format
        time   = max(flops / peak, bytes / bandwidth) / utilisation
        energy = design power * time

    plus one FLOP for each of `digital_ops`. Joules, seconds, B/s, FLOP/s. Compute-bound this is 20.5 and
    1.28 pJ/FLOP (A100 FP32, FP16), 10.5, 0.71 and 0.35 (H100 FP32, FP16, FP8). The default part runs FP16,
    the format in which such networks are served without calibration, as an 8-bit format would need;
    `h100_fp8` is the strictest opponent of an 8-bit crossbar: state both.

    Valid range: `utilisation=1` is the roofline. Real inference at batch 1 is expected 10-100 times above its
    compute part (assumed; for memory, launches and idle units): measure it where there is a GPU. With
    `traffic=all` every layer passes main memory, which for small networks at batch 1 dominates; weights that
    fit the cache (29 MB of a VGG16 in FP16 fit 40 MB) can beat that, so `traffic=none` is the strict lower
    bound: state both. Aggregated kernels of dynamic layers are taken to stay on chip.

    Sources: NVIDIA A100 data sheet (SXM4 80 GB: 400 W, 19.5 and 312 TFLOP/s, 2039 GB/s); NVIDIA H100 white
    paper and data sheet (SXM5: 700 W, 66.9, 989.4 and 1978.9 TFLOP/s, 3350 GB/s). All dense.

    Raises:
        ConfigError: no such part.
    """

    def __init__(
        self,
        *,
        part: Annotated[
            Part, Param("GPU and number format", source="NVIDIA A100 and H100 data sheets and white papers")
        ] = "a100_fp16",
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
        if part not in PARTS:
            raise ConfigError("energies.gpu_roofline.part", f"no part '{part}'; {nearest(part, get_args(Part))}")
        self.part = part
        self.batch = batch
        self.utilisation = utilisation
        self.traffic: Traffic = traffic

    @property
    def machine(self) -> Machine:
        """Power, peak rate and bandwidth of the part."""
        return PARTS[self.part]

    def estimate(self, profile: WorkloadProfile) -> CostReport:
        """Joules of one inference on this GPU."""
        report = roofline(
            profile,
            self.machine,
            estimator="gpu_roofline",
            batch=self.batch,
            utilisation=self.utilisation,
            traffic=self.traffic,
        )
        if self.utilisation < 1.0:
            return report
        # The project's own expectation; a measurement replaces it where there is a GPU.
        caveat = "real inference at batch 1 is expected 10-100 times above the compute part (assumed)"
        return replace(report, assumptions=(*report.assumptions, caveat))
