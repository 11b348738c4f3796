"""Write-verify on top of a device's own single write."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, ClassVar

import torch
from torch import Generator, Tensor

from memristor_plugins.interfaces.device import Cells, CellState, Device
from memristor_plugins.interfaces.nonideality import Context, NonIdeality, Site
from memristor_plugins.interfaces.parameter import Param


class WriteVerify(NonIdeality):
    """Write-verify: cells that a write leaves too far from their targets are written again, some times over.

    After the device's own write, at most `iterations` rounds in which each cell with |g - target| > tolerance g_max is
    written once more by the same `program`, on the same cells; the last write stays. Verification itself is exact.
    If one write fails with probability p, a share 1 - p^(iterations + 1) of the cells converges, after
    (1 - p^(iterations + 1)) / (1 - p) writes on average, and a converged cell's error is that of one write within the
    tolerance. iterations=0 is `programming`. A target that a cell cannot hold never converges.

    `CellState.pulses` and `energy_j` add up over all writes; where the device counts no pulses, `pulses` is the number
    of writes of each cell; `writes` is the largest. Replaces `programming`; devices whose write is verified already
    refuse it.
    """

    site = Site.WRITE
    uses: ClassVar[frozenset[str]] = frozenset({"programming"})

    def __init__(
        self,
        iterations: Annotated[int, Param("most rewrites of a cell", source="assumed", ge=0, le=1000)] = 10,
        tolerance: Annotated[float, Param("accepted error over g_max", source="assumed", gt=0, le=1)] = 0.02,
    ) -> None:
        self.iterations, self.tolerance = iterations, tolerance

    def apply(self, x: Tensor, state: Any, context: Context) -> CellState:
        assert context.generator is not None, "a write draws from the chip's generator"
        device, generator = context.device, context.generator
        written = device.program(x, generator=generator, temperature=context.temperature)
        if written.pulses is None:
            written = replace(written, pulses=torch.ones_like(written.g))
        for _ in range(self.iterations):
            off = (~self._close(written, device)).flatten().nonzero().squeeze(1)
            if not off.numel():
                break
            written = _rewritten(written, off, device, generator, context.temperature)
        return written

    def _close(self, state: CellState, device: Device) -> Tensor:
        return (state.g - state.target).abs() <= self.tolerance * device.g_max

    def converged(self, state: CellState, device: Device) -> float:
        """Share of the cells that a write left within the tolerance."""
        return float(self._close(state, device).double().mean())


def _rewritten(state: CellState, at: Tensor, device: Device, generator: Generator, temperature: float) -> CellState:
    """`state` with the cells at flat indices `at` (at least one) written once more; all others keep what they have."""
    shape = state.g.shape

    def take(values: Tensor) -> Tensor:
        return values.expand(shape).flatten()[at]

    def put(values: Tensor, new: Tensor) -> Tensor:
        flat = values.expand(shape).flatten().clone()
        flat[at] = new.to(flat)
        return flat.view(shape)

    before = state.cells.map(take)
    new = device.program(take(state.target), generator=generator, cells=before, temperature=temperature)
    # Most constants are given back as they are; what a write records in its cells is new.
    constants = {
        name: put(value, new.cells[name]) if new.cells[name] is not before[name] else value
        for name, value in state.cells.constants.items()
    }
    pulses = torch.ones_like(new.g) if new.pulses is None else new.pulses
    energy = state.energy_j
    if energy is not None and new.energy_j is not None:
        energy = put(energy, take(energy) + new.energy_j)
    return replace(
        state,
        g=put(state.g, new.g),
        cells=Cells(constants),
        ageing=state.ageing if state.ageing is None or new.ageing is None else put(state.ageing, new.ageing),
        writes=state.writes + 1,
        pulses=None if state.pulses is None else put(state.pulses, take(state.pulses) + pulses),
        energy_j=energy,
    )
