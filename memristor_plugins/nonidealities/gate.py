"""The third terminal as it really is."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from torch import Tensor

from memristor_plugins.errors import SimulationError
from memristor_plugins.interfaces.nonideality import Context, NonIdeality, Site
from memristor_plugins.interfaces.parameter import Param


class Gate(NonIdeality):
    """Gate driver and gate response: banks are scaled by cells whose gain depends on what they hold.

    The wanted gain becomes a gate voltage of finite bits, on the nominal gain curve; each cell then answers with its
    own gain, which the engine interpolates in ln(gain) between `nodes` Chebyshev points. Without this effect a gated
    device scales a bank by exactly the wanted gain.
    """

    site = Site.GATE

    def __init__(
        self,
        bits: Annotated[
            int, Param("resolution of the gate DAC", unit="bit", source="headline stack (assumed)", ge=1, le=16)
        ] = 6,
        nodes: Annotated[
            int, Param("gate voltages at which cells' gains are exact", source="interpolation", ge=1, le=8)
        ] = 2,
    ) -> None:
        self.bits, self.nodes = bits, nodes

    def apply(self, x: Tensor, state: Any, context: Context) -> Tensor:
        """Nominal gains [batch, banks] that the gate DAC can set; the gradient passes straight through."""
        device = context.device
        if not device.gated:
            raise SimulationError(f"gate needs a device with a third terminal, which {type(device).__name__} has not")
        low, high = device.gate_range
        step = (high - low) / (2**self.bits - 1)
        with torch.no_grad():
            voltage = device.gate_voltage(x.float())
            set_voltage = low + ((voltage - low) / step).round().clamp(0, 2**self.bits - 1) * step
            gain = device.nominal_gain(set_voltage).to(x.dtype)
        return x + (gain - x).detach() if x.requires_grad else gain

    def bits_used(self) -> int:
        return self.bits
