"""The wires' own resistance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from torch import Tensor

from memristor_plugins.interfaces.nonideality import Context, NonIdeality, Site
from memristor_plugins.interfaces.parameter import Param
from memristor_plugins.wires import effective_conductance, effective_conductance_fast, source_admittance

HEADLINE = "headline stack (assumed)"


class IRDrop(NonIdeality):
    """IR drop: word lines and bit lines have resistance, so that cells far from both ends are read with less voltage.

    I = V G_eff with the exact G_eff of every physical array, padding cells included, solved once a chip, time and gate
    voltage; a read then costs nothing more (`memristor_plugins.wires`). Training steps take an approximation from
    cumulative sums, whose error is stated there, unless `training=exact`; chips do with `evaluation=fast`. Read noise
    of a cell is attenuated as its share of G_eff is, which leaves out what it changes in the other cells' voltages.
    """

    site = Site.WIRES
    neutral: ClassVar[Mapping[str, Any]] = {"r_word": 0.0, "r_bit": 0.0, "r_source": 0.0, "r_sink": 0.0}

    def __init__(
        self,
        r_word: Annotated[float, Param("resistance of a word-line segment", unit="ohm", source=HEADLINE, ge=0)] = 1.0,
        r_bit: Annotated[float, Param("resistance of a bit-line segment", unit="ohm", source=HEADLINE, ge=0)] = 1.0,
        r_source: Annotated[
            float, Param("resistance of a word-line driver", unit="ohm", source=HEADLINE, ge=0)
        ] = 100.0,
        r_sink: Annotated[
            float, Param("resistance of a bit-line termination", unit="ohm", source=HEADLINE, ge=0)
        ] = 100.0,
        training: Annotated[
            Literal["fast", "exact"], Param("how a training step solves its arrays", source="cost")
        ] = "fast",
        evaluation: Annotated[
            Literal["exact", "fast"], Param("how a chip's arrays are solved; fast: as in training", source="cost")
        ] = "exact",
    ) -> None:
        self.r_word, self.r_bit, self.r_source, self.r_sink = r_word, r_bit, r_source, r_sink
        self.training, self.evaluation = training, evaluation

    def apply(self, x: Tensor, state: Any, context: Context) -> Tensor:
        if not any((self.r_word, self.r_bit, self.r_source, self.r_sink)):
            return x
        ohm = {"r_word": self.r_word, "r_bit": self.r_bit, "r_source": self.r_source, "r_sink": self.r_sink}
        if (self.training if context.training else self.evaluation) == "fast":
            return effective_conductance_fast(x, **ohm)
        # In float64: the wires' conductances are a million times the cells'.
        return effective_conductance(x.double(), **ohm).to(x.dtype)

    def circuit(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        solved, admittance = source_admittance(
            x.double(), r_word=self.r_word, r_bit=self.r_bit, r_source=self.r_source, r_sink=self.r_sink
        )
        return solved.to(x.dtype), admittance
