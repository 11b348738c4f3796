"""The chip of ISAAC, from its table of components."""

from __future__ import annotations

from typing import Annotated

from memristor_plugins.energy.table_estimator import TableEstimator
from memristor_plugins.interfaces.parameter import Param


class ISAAC(TableEstimator):
    """ISAAC-CE at 32 nm: 16-bit weights on eight 2-bit cells, inputs bit by bit, one 8-bit ADC an array.

    A matrix-vector product of a 128x128 array takes 16 reads of 100 ns and costs the array's share of the chip's power
    (65.8 W over 16,128 arrays: 4.08 mW, 6.5 nJ). See `TableEstimator` for the mapping of a network.

    Source: Shafiee et al., ISCA 2016, 10.1109/ISCA.2016.12, Table I (`tables/isaac.yaml`); its totals come out within
    1 %. Valid for its own node; `node` scales the digital parts by Stillmaker and Baas, 10.1016/j.vlsi.2017.02.002.

    Raises:
        ConfigError: a node that there is no scaling for.
    """

    def __init__(
        self,
        *,
        node: Annotated[
            int | None,
            Param("technology node; null: its own", unit="nm", source="null: ISAAC Table I, 32 nm", gt=0),
        ] = None,
    ) -> None:
        super().__init__("isaac", node)
