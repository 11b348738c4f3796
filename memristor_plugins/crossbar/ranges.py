"""The converters of a layer, and the ranges that they convert over."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from memristor_plugins.crossbar.chip import LayerChip
from memristor_plugins.crossbar.codes import Uniform
from memristor_plugins.crossbar.noise import NormalSource
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.crossbar.sums import Finish
from memristor_plugins.interfaces.nonideality import NonIdeality, Site

SITES = {"input": Site.INPUT, "sum": Site.SUM}
Phase = Literal["", "input", "sum"]
TINY = 1e-30  # a range of a signal that is always zero: known, and converts it exactly
SEEN = 1 << 20  # at least so many values of a batch are looked at, and at most twice as many


class Ranges(nn.Module):
    """Ranges of a layer's input and sum converters: calibrated, and learned where a converter says so.

    Attributes:
        input, sum: [low, high] as calibrated; [0, 0] means not yet. Saved with the layer.
        calibrating: the signals of these converters are looked at, and not converted; while the inputs are, sums are
            left as they are too.
    """

    input: Tensor
    sum: Tensor
    input_factor: nn.Parameter | None
    sum_factor: nn.Parameter | None

    def __init__(self, stack: Stack, name: str, device: torch.device) -> None:
        super().__init__()
        self.name = name
        self._phase: Phase = ""
        self._fixed = {which: _fixed(stack.at(site)) for which, site in SITES.items()}
        self._seen: tuple[NonIdeality, _Seen] | None = None
        for which, site in SITES.items():
            self.register_buffer(which, torch.zeros(2, device=device))
            effect = stack.at(site)
            learned = effect is not None and effect.learned_range
            # ln of the learned range over the calibrated one.
            factor = nn.Parameter(torch.zeros((), device=device)) if learned else None
            self.register_parameter(f"{which}_factor", factor)
        self.reset()

    @property
    def calibrating(self) -> Phase:
        """Whose signals are looked at."""
        return self._phase

    @calibrating.setter
    def calibrating(self, value: Phase) -> None:
        self._merge_sums()
        self._phase = value

    def complete(self, state: dict[str, Any], prefix: str) -> None:
        """Let a digital checkpoint load: it has no ranges, and they stay uncalibrated. A fixed range is none of its."""
        for which, fixed in self._fixed.items():
            state.setdefault(f"{prefix}{which}", torch.zeros(2))
            if fixed is not None:
                state[f"{prefix}{which}"] = torch.tensor(fixed)
            if getattr(self, f"{which}_factor") is not None:
                state.setdefault(f"{prefix}{which}_factor", torch.zeros(()))

    def calibrated(self, stack: Stack) -> bool:
        """Every converter has a range."""
        effects = {which: stack.at(site) for which, site in SITES.items()}
        return all(self._is_known(which) for which, e in effects.items() if e is not None and e.needs_range)

    def reset(self) -> None:
        """Forget all ranges but fixed ones. A learned factor is kept: it is relative to the calibrated range."""
        self._seen = None
        for which, fixed in self._fixed.items():
            getattr(self, which).copy_(torch.tensor(fixed or (0.0, 0.0)))

    def known(self, which: str) -> Tensor:
        """[low, high] as it is used now, on the CPU: bounds are plain numbers to element-wise kernels.

        [0, 0] where it is not known, or still being widened.
        """
        if which == self.calibrating and self._fixed[which] is None:
            return torch.zeros(2)
        if which == "sum":
            self._merge_sums()
        factor = getattr(self, f"{which}_factor")
        known: Tensor = getattr(self, which).detach()
        return (known if factor is None else known * factor.detach().exp()).cpu()

    def full_scale_input(self, x: Tensor | None = None) -> float:
        """The input that the device's read voltage stands for: the largest of the range, else of `x`, else 1."""
        full = float(self.known("input").abs().max())
        if full > 0 or x is None:
            return full or 1.0
        return float(x.detach().abs().max()) or 1.0

    def convert_input(self, x: Tensor, stack: Stack) -> Tensor:
        """What the word lines carry. A new batch begins."""
        self._merge_sums()
        effect = stack.at(Site.INPUT)
        if effect is None:
            return x
        if self._must_look("input", effect):
            self._look("input", effect, x)
        if self.calibrating == "input":
            return x
        full: Tensor = self.known("input")
        if self.input_factor is not None and torch.is_grad_enabled():
            full = self.input * self.input_factor.exp()
        converted: Tensor = effect.apply(x, None, replace(stack.context(), full_scale=full))
        return converted

    def learned_sum(self, stack: Stack) -> Tensor | None:
        """The trained parameter of the sums' range, if it is one."""
        effect = stack.at(Site.SUM)
        if effect is None or not effect.learned_range:
            return None
        return self.sum_factor

    def must_look(self, stack: Stack) -> bool:
        """The sums must be looked at before they can be converted."""
        effect = stack.at(Site.SUM)
        return effect is not None and not self.calibrating and self._must_look("sum", effect)

    def finish(
        self,
        stack: Stack,
        chip: LayerChip,
        gains: Tensor | None,
        normals: NormalSource,
        *,
        look: bool = False,
        slope: bool = False,
        shared: bool = False,
        compiled: bool = False,
        merged: bool = False,
    ) -> Finish:
        """What happens to the layer's sums.

        Args:
            look: their range is observed, and nothing converted.
            slope: the derivative with respect to the learned range is wanted.
            shared: banks share their converters.
            compiled: conversion may be compiled.
            merged: banks may be added up as they are converted.
        """
        effect = stack.at(Site.SUM)
        look = (look or self.calibrating == "sum") and effect is not None and self._is_calibrated("sum", effect)
        observe: Callable[[Tensor], None] | None = None
        convert: Callable[[Tensor, int], Tensor] | None = None
        change: Callable[[Tensor, Tensor], Tensor] | None = None
        uniform: Uniform | None = None
        if effect is not None and look:
            observe = self._observer(effect)
        elif effect is not None and self.calibrating != "input":
            full = self.known("sum")
            convert = _converter(effect, stack, chip, full, shared)
            if slope:
                change = _slope(float(full[0]), float(full[1]))
            elif not shared:
                numbers = self.uniform(stack, chip)
                uniform = None if numbers is None else Uniform(*numbers, compiled, merged)
        return Finish(gains, observe, convert, change, normals, stack.mapping.from_current, uniform, shared)

    def uniform(self, stack: Stack, chip: LayerChip) -> tuple[float, float, float] | None:
        """Lowest and highest value and step of the sums' converters, where they round and do nothing else."""
        effect = stack.at(Site.SUM)
        if effect is None:
            return None
        order = [set(vars(cls)) for cls in type(effect).__mro__]
        tells, acts = (
            min(i for i, names in enumerate(order) if names & of) for of in ({"uniform"}, {"apply", "apply_"})
        )
        if tells > acts or _drawn(effect, stack, chip) is not None:
            return None  # a subclass that converts in another way does not say so
        return effect.uniform(replace(stack.context(), full_scale=self.known("sum")))

    def cuts_often(self, stack: Stack) -> bool:
        """The sums' range is not one that nearly all of them lie in: it is given, or leaves more of them out."""
        effect = stack.at(Site.SUM)
        if effect is None:
            return False
        narrow = getattr(effect, "percentile", 100.0) < 99.9 or getattr(effect, "signed", "auto") == "unsigned"
        return effect.fixed_range is not None or narrow

    def _is_known(self, which: str) -> bool:
        if which == "sum":
            self._merge_sums()
        return bool(getattr(self, which).any())

    def _is_calibrated(self, which: str, effect: NonIdeality) -> bool:
        return effect.needs_range and self._fixed[which] is None

    def _must_look(self, which: str, effect: NonIdeality) -> bool:
        if not self._is_calibrated(which, effect):
            return False
        if self.calibrating:
            return self.calibrating == which
        if self._is_known(which):
            return False
        warnings.warn(
            f"layer '{self.name}': the range of its {which} converters is not calibrated and is taken from the first "
            "batch; call calibrate(module, batches)",
            stacklevel=2,
        )
        return True

    def _observer(self, effect: NonIdeality) -> Callable[[Tensor], None]:
        if self._seen is None:
            self._seen = effect, _Seen()
        return self._seen[1].add

    def _merge_sums(self) -> None:
        """A batch is over: its sums, of every slice and array, are one observation."""
        if self._seen is not None:
            effect, seen = self._seen
            self._seen = None
            if seen.values:
                self._look("sum", effect, seen.all())

    @torch.no_grad()
    def _look(self, which: str, effect: NonIdeality, x: Tensor) -> None:
        known: Tensor = getattr(self, which)
        merged = effect.merge(known, effect.calibrate(x.detach()).to(known))
        known.copy_(merged if bool(merged.any()) else torch.tensor([0.0, TINY]))


@dataclass
class _Seen:
    """Part of a batch's sums, which come block by block: evenly spaced ones, and the extremes of all."""

    values: list[Tensor] = field(default_factory=list)
    extremes: list[Tensor] = field(default_factory=list)
    stride: int = 1

    def add(self, block: Tensor) -> None:
        flat = block.detach().reshape(-1)
        if not flat.numel():
            return
        self.extremes.append(torch.stack(flat.aminmax()))
        self.values.append(flat[:: self.stride].clone())
        while sum(v.numel() for v in self.values) > 2 * SEEN:
            self.values = [v[::2] for v in self.values]
            self.stride *= 2

    def all(self) -> Tensor:
        values = torch.cat(self.values)
        if self.stride > 1:
            # Two of a million: a percentile does not notice them, a maximum and a sign do.
            values[:2] = torch.stack(torch.cat(self.extremes).aminmax())
        return values


def _fixed(effect: NonIdeality | None) -> tuple[float, float] | None:
    return None if effect is None else effect.fixed_range


def _converter(
    effect: NonIdeality, stack: Stack, chip: LayerChip, full_scale: Tensor, shared: bool
) -> Callable[[Tensor, int], Tensor]:
    context = replace(stack.context(), full_scale=full_scale)
    drawn = _drawn(effect, stack, chip)

    def convert(partial: Tensor, read: int) -> Tensor:
        # [numbers, converters, banks, groups, reads, lines] -> [numbers, groups, converters, banks, lines]
        state = None if drawn is None else drawn[..., read, :].permute(0, 3, 1, 2, 4)
        if shared and state is not None:
            state = state[..., :1, :]
        converted: Tensor = effect.apply_(partial, state, context)
        return converted

    return convert


def _drawn(effect: NonIdeality, stack: Stack, chip: LayerChip) -> Any:
    return next((chip.drawn.get(name) for name, e in stack.all_at(Site.SUM) if e is effect), None)


def _slope(low: float, high: float) -> Callable[[Tensor, Tensor], Tensor]:
    """d convert(x) / d ln(range), straight through rounding: q - x within the range, q where it saturates."""

    def slope(x: Tensor, converted: Tensor) -> Tensor:
        return converted - x * ((x > low) & (x < high)).to(x.dtype)

    return slope
