"""Stuck cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import torch
from torch import Generator, Size, Tensor

from memristor_plugins.errors import ConfigError
from memristor_plugins.interfaces.nonideality import Context, NonIdeality, Site
from memristor_plugins.interfaces.parameter import Param


class StuckAt(NonIdeality):
    """Stuck cells: a share of the cells is fixed, whatever is written: on, off, or anywhere between the two.

    Drawn once a chip. A stuck cell does not drift; it still has read noise. `p_any` cells are stuck at conductances
    uniform between g_off and g_on, each at its own.

    With `cluster` > 1 faults come in clusters along bit lines. From row to row a cell shares its neighbour's fate (on,
    off, any or free) with probability q = 1 - 1 / cluster, and draws its own otherwise. So every cell keeps exactly
    the probabilities p_on, p_off and p_any; fates k rows apart are correlated by q^k; and runs of stuck cells are
    cluster / (1 - p) long on average, p = p_on + p_off + p_any. cluster=1: independent cells. Clusters are drawn along
    a layer's rows and run on where these change arrays.
    """

    site = Site.DEFECT
    neutral: ClassVar[Mapping[str, Any]] = {"p_on": 0.0, "p_off": 0.0}

    def __init__(
        self,
        p_on: Annotated[float, Param("share stuck at g_on", source="headline stack (assumed)", ge=0, le=1)] = 0.0005,
        p_off: Annotated[float, Param("share stuck at g_off", source="headline stack (assumed)", ge=0, le=1)] = 0.0005,
        g_on: Annotated[
            float | None, Param("conductance stuck on; null: device.g_max", unit="S", source="assumed", ge=0)
        ] = None,
        g_off: Annotated[
            float | None, Param("conductance stuck off; null: device.g_min", unit="S", source="assumed", ge=0)
        ] = None,
        p_any: Annotated[float, Param("share stuck anywhere in between", source="assumed: none", ge=0, le=1)] = 0.0,
        cluster: Annotated[
            float, Param("mean cells of a cluster along a bit line", source="assumed: independent", ge=1)
        ] = 1.0,
    ) -> None:
        total = p_on + p_off + p_any
        if total > 1:
            raise ConfigError("nonidealities.stuck_at.p_on", f"p_on + p_off + p_any must be at most 1, got {total:g}")
        self.p_on, self.p_off, self.p_any, self.cluster = p_on, p_off, p_any, cluster
        self.g_on, self.g_off = g_on, g_off

    def sample(self, shape: Size | tuple[int, ...], *, generator: Generator) -> Tensor:
        """Which cells are stuck: 1 on, -1 off, 0 free, 2 + share of the range (float32) anywhere; else int8."""
        u = torch.rand(tuple(shape), generator=generator)
        if self.cluster > 1:
            u = _repeated(u, 1 - 1 / self.cluster, generator)
        kind = (u < self.p_on).to(torch.int8) - (u >= 1 - self.p_off).to(torch.int8)
        if self.p_any == 0:
            return kind
        where = (u >= self.p_on) & (u < self.p_on + self.p_any) & (kind == 0)
        return torch.where(where, 2 + torch.rand(tuple(shape), generator=generator), kind)

    def apply(self, x: Tensor, state: Any, context: Context) -> Tensor:
        g_on = context.device.g_max if self.g_on is None else self.g_on
        g_off = context.device.g_min if self.g_off is None else self.g_off
        x = x.masked_fill(state == 1, g_on).masked_fill(state == -1, g_off)
        return torch.where(state >= 2, g_off + (state - 2).to(x) * (g_on - g_off), x) if self.p_any else x


def _repeated(u: Tensor, again: float, generator: Generator) -> Tensor:
    """`u` [..., rows, cols], where a row takes over the one before it with probability `again`, cell by cell."""
    own = torch.rand(u.shape, generator=generator) >= again
    own[..., :1, :] = True
    rows = torch.arange(u.shape[-2]).view(-1, 1).expand(u.shape)
    return u.gather(-2, rows.where(own, torch.zeros_like(rows)).cummax(dim=-2).values)
