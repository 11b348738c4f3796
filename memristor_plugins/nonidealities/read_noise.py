"""Read noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from torch import Tensor

from memristor_plugins.errors import SimulationError
from memristor_plugins.interfaces.nonideality import Context, NonIdeality, Site
from memristor_plugins.interfaces.parameter import Param


class ReadNoise(NonIdeality):
    """Read noise: every multiply reads a conductance with the device's own fluctuation.

    Returns the standard deviation; the engine adds noise of the exact variance of each column's sum,
    sum_r v_r^2 sigma_r^2, to each array's partial sum.
    """

    site = Site.READ
    static = False
    neutral: ClassVar[Mapping[str, Any]] = {"strength": 0.0}

    def __init__(
        self,
        strength: Annotated[float, Param("multiple of the device's own noise", source="1: the device's", ge=0)] = 1.0,
    ) -> None:
        self.strength = strength

    def apply(self, x: Tensor, state: Any, context: Context) -> Tensor:
        device, cells = context.device, context.cells
        if cells is None:
            raise SimulationError("read_noise needs programmed cells")
        if device.read_correlation != "multiply":
            raise SimulationError(
                f"read_noise cannot simulate {type(device).__name__}: its noise stays for a whole "
                f"{device.read_correlation}; devices whose noise is new at each multiply can be simulated"
            )
        std = device.read_std(x, cells, context.seconds)
        if std is None:
            raise SimulationError(f"read_noise needs a Gaussian read noise, which {type(device).__name__} has not")
        return self.strength * std
