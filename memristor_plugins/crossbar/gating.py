"""Bank factors as gains of the cells' third terminal, and what of them is left to digital arithmetic."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from memristor_plugins.crossbar.geometry import interpolation
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.interfaces.nonideality import Context, Site


@dataclass(frozen=True)
class Gated:
    """Bank factors of one batch.

    Args:
        wanted: gains that the gate is asked for, [batch, banks]; None: cells stand at their largest gain.
        gains: what the cells apply, [batch, banks, nodes]; None: one everywhere, one node.
        digital: factors that digital arithmetic applies to each bank's sums, [batch, banks]; None: none.
        total: the whole factor of each bank, [batch, banks], with the gradient of what the strategy gave; None: ones.
    """

    wanted: Tensor | None = None
    gains: Tensor | None = None
    digital: Tensor | None = None
    total: Tensor | None = None

    @property
    def shared(self) -> Tensor | None:
        """Which images have one digital factor for all banks, [batch], bool; None without digital factors."""
        return None if self.digital is None else (self.digital == self.digital[:, :1]).all(dim=1)


def split(bank: Tensor, gain_min: float) -> Gated:
    """Factors of any value and sign [batch, banks] as gain times digital factor, with their product exact.

    The image's scale s is its largest |factor|. A bank whose |factor| / s lies in [gain_min, 1] takes that as its gain
    and s, with its sign, as its digital factor; a smaller one takes gain_min and the digital factor that is left. So an
    image all of whose banks reach has one scale, and nothing is clipped.
    """
    with torch.no_grad():
        size = bank.detach().float().abs()
        scale = size.amax(dim=1, keepdim=True)
        ratio = size / scale.clamp_min(torch.finfo(torch.float32).tiny)
        reached = ratio >= gain_min
        wanted = ratio.clamp_min(gain_min)
        digital = torch.where(reached, scale, size / gain_min) * torch.where(bank < 0, -1.0, 1.0)
    return Gated(wanted=wanted.to(bank.dtype), digital=digital.to(bank.dtype), total=bank)


def realise(bank: Gated, stack: Stack, context: Context, nodes: Tensor) -> Gated:
    """What gate DAC, gate lines and cells make of the wanted gains.

    Args:
        context: with the generator of the gate lines' noise.
        nodes: ln of the nominal gains at which cells' own gains are known, [nodes].
    """
    assert bank.wanted is not None, "gains are wanted"
    gain, device = bank.wanted, stack.device
    dac = stack.at(Site.GATE)
    if dac is not None:
        gain = dac.apply(gain, None, context)
    lines = [e for e in (stack.at(Site.GATE_COUPLING), stack.at(Site.GATE_NOISE)) if e is not None]
    if lines:
        with torch.no_grad():
            voltage = device.gate_voltage(gain.detach().float())
            for effect in lines:
                voltage = effect.apply(voltage, None, context)
            gain = device.nominal_gain(voltage).to(bank.wanted.dtype)
    with torch.no_grad():
        seen = gain.detach()
        gains = seen.unsqueeze(-1) * interpolation(seen.log(), nodes.to(seen))
    total = bank.total
    if total is not None:
        told = gains.sum(dim=-1) if bank.digital is None else gains.sum(dim=-1) * bank.digital
        total = total + (told - total).detach()
    return replace(bank, gains=gains, total=total)
