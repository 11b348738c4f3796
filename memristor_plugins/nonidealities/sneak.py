"""Sneak currents of a passive array."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from torch import Tensor

from memristor_plugins.interfaces.nonideality import Context, NonIdeality, Site
from memristor_plugins.interfaces.parameter import Param


class Sneak(NonIdeality):
    """Sneak currents: in an array without transistors, cells on word lines that are not read leak into the bit lines.

    `rows_per_read` word lines of an array are read at once; the others are held at `bias` times the read voltage V_r,
    bit lines at ground. Their cells carry

        I_leak = bias V_r G / selectivity

    each, where `selectivity` is by how much less a cell and its selector conduct at bias V_r than at V_r. The leak does
    not depend on the inputs: it offsets every sum. Padding cells leak too. With differential pairs only the difference
    of a pair leaks. The half-select scheme is bias 0.5 (Burr et al. 2014, 10.1116/1.4889999, on selectors); 0 leaks
    nothing. With `ir_drop` every read of an array is solved as a circuit of its own, in which unselected cells conduct
    G / selectivity and load the bit lines.
    """

    site = Site.LEAK
    neutral: ClassVar[Mapping[str, Any]] = {"bias": 0.0}

    def __init__(
        self,
        rows_per_read: Annotated[int, Param("word lines of an array read at once", source="assumed", ge=1)] = 32,
        bias: Annotated[
            float, Param("unselected word lines over the read voltage", source="half-select", ge=0, le=1)
        ] = 0.5,
        selectivity: Annotated[
            float, Param("conductance at the read voltage over that at the bias", source="assumed", ge=1)
        ] = 10.0,
    ) -> None:
        self.rows_per_read, self.bias, self.selectivity = rows_per_read, bias, selectivity

    def apply(self, x: Tensor, state: Any, context: Context) -> Tensor:
        """Conductances that would carry the leak at the read voltage."""
        return x * (self.bias / self.selectivity)

    def unselected(self, x: Tensor, context: Context) -> tuple[Tensor, float]:
        return x / self.selectivity, self.bias
