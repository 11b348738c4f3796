"""The node of PUMA, from its table of components."""

from __future__ import annotations

from typing import Annotated

from memristor_plugins.energy.table_estimator import TableEstimator
from memristor_plugins.interfaces.parameter import Param


class PUMA(TableEstimator):
    """PUMA at 32 nm: a programmable node of 138 tiles, 16-bit weights and inputs.

    A matrix-vector product of a 128x128 matrix unit costs the unit's share of the node's power (62.5 W over 2,208
    units: 28.3 mW) for as long as the published peak rate gives it, 1.38 us. See `TableEstimator` for the mapping.

    Source: Ankit et al., ASPLOS 2019, 10.1145/3297858.3304049, Table 3, and the authors' simulator
    (`tables/puma.yaml`); core power, node power, area and efficiency come out within 1 %. Valid for its own node;
    `node` scales the digital parts by Stillmaker and Baas, 10.1016/j.vlsi.2017.02.002.

    Raises:
        ConfigError: a node that there is no scaling for.
    """

    def __init__(
        self,
        *,
        node: Annotated[
            int | None,
            Param("technology node; null: its own", unit="nm", source="null: PUMA Table 3, 32 nm", gt=0),
        ] = None,
    ) -> None:
        super().__init__("puma", node)
