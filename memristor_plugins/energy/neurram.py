"""The chip of NeuRRAM, from its measured energies."""

from __future__ import annotations

from typing import Annotated

from memristor_plugins.energy.table_estimator import TableEstimator
from memristor_plugins.interfaces.parameter import Param


class NeuRRAM(TableEstimator):
    """NeuRRAM at 130 nm, measured: 256x256 arrays of pairs, voltage-mode neurons, 4-bit inputs, 6-bit outputs.

    An operation costs 62.4 fJ (word lines 21.76, neurons 29.11, inputs 11.51); a product of a core has 65,536 of them.
    See `TableEstimator` for the mapping of a network. No area.

    Source: Wan et al., Nature 608, 504 (2022), 10.1038/s41586-022-04992-8 (`tables/neurram.yaml`); its 15.95 TOPS/W
    come out within 1 %. All of it is analog or drives analog lines: `node` scales none of its parts.

    Raises:
        ConfigError: a node that there is no scaling for.
    """

    def __init__(
        self,
        *,
        node: Annotated[
            int | None,
            Param("technology node; null: its own", unit="nm", source="null: Wan 2022, 130 nm", gt=0),
        ] = None,
    ) -> None:
        super().__init__("neurram", node)
