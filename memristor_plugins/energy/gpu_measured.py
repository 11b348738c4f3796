"""Energy of the same network on the GPU of this machine, measured."""

from __future__ import annotations

import importlib
from typing import Annotated, Any, Literal

from memristor_plugins.energy.measuring import measure, replay_of, report
from memristor_plugins.errors import SimulationError
from memristor_plugins.interfaces.energy import CostReport, EnergyEstimator, WorkloadProfile
from memristor_plugins.interfaces.parameter import Param


class GPUMeasured(EnergyEstimator):
    """GPU, measured: the digital network on this machine's NVIDIA GPU, by the board's own energy counter (NVML).

    Batches of the profiled images run for `seconds`; an image costs the counter's joules over the images that ran. The
    whole board counts: memory, idle power, other programs. Latency is that of a batch.

    Valid range: boards since Volta, which count energy; the counter steps every 20-100 ms, so that windows under a
    second are coarse. Layers and components cannot be told apart.

    Source: NVML, nvmlDeviceGetTotalEnergyConsumption, through nvidia-ml-py (`pip install memristor-plugins[gpu]`).

    Raises:
        SimulationError: no NVML, no driver, no such GPU, or a board without the counter.
    """

    def __init__(
        self,
        *,
        batch: Annotated[int, Param("images a batch", source="assumed: one image", ge=1)] = 1,
        precision: Annotated[
            Literal["fp32", "fp16", "bf16"], Param("number format of the network", source="as gpu_roofline")
        ] = "fp16",
        seconds: Annotated[float, Param("how long to measure", unit="s", source="assumed", gt=0)] = 5.0,
        index: Annotated[int, Param("which GPU, as PyTorch counts them", source="assumed: the first", ge=0)] = 0,
    ) -> None:
        self.batch, self.precision, self.seconds, self.index = batch, precision, seconds, index

    def check(self) -> None:
        self._counter()

    def estimate(self, profile: WorkloadProfile) -> CostReport:
        """Joules and seconds of one inference on this GPU."""
        nvml, handle = self._counter()
        replay = replay_of(profile, "gpu_measured")

        def joules() -> float:
            return float(nvml.nvmlDeviceGetTotalEnergyConsumption(handle)) * 1e-3

        run = replay(f"cuda:{self.index}", self.batch, self.precision)
        found = measure(run, joules, self.seconds)
        name = nvml.nvmlDeviceGetName(handle)
        return report(profile, "gpu_measured", found, self.batch, self.precision, f"{name}, energy counter of NVML")

    def _counter(self) -> tuple[Any, Any]:
        """NVML and the handle of the GPU, known to count energy."""
        try:
            nvml = importlib.import_module("pynvml")
        except ImportError as error:
            raise SimulationError(
                "energy=gpu_measured needs nvidia-ml-py: pip install 'memristor-plugins[gpu]'; or choose gpu_roofline"
            ) from error
        try:
            nvml.nvmlInit()
            handle = nvml.nvmlDeviceGetHandleByUUID(_uuid(self.index))
            nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
        except nvml.NVMLError as error:
            raise SimulationError(
                f"energy=gpu_measured: no GPU whose energy can be read ({error}); choose gpu_roofline instead"
            ) from error
        return nvml, handle


def _uuid(index: int) -> str:
    """NVML's name of the GPU that PyTorch counts as `index`, which the environment may have renumbered."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if index >= count:
        raise SimulationError(
            f"energy=gpu_measured: PyTorch sees {count} GPUs here, none with index {index}; choose gpu_roofline instead"
        )
    return f"GPU-{torch.cuda.get_device_properties(index).uuid}"
