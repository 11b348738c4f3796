"""Planted faults: each is a plugin that is right but for one thing, and the check that is meant to must find it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from memristor_plugins import registry
from memristor_plugins.api import (
    Cells,
    CellState,
    ConvSpec,
    CostReport,
    Device,
    EnergyEstimator,
    Kernel,
    KernelStrategy,
    Mapped,
    Mapping,
    Modulation,
    NonIdeality,
    Param,
    Site,
    WorkloadProfile,
    standard_normal,
)
from memristor_plugins.devices.adaptive_2d import Adaptive2D
from memristor_plugins.devices.generic import Generic
from memristor_plugins.energy.crossbar import Crossbar
from memristor_plugins.kernels.dynamic import Dynamic, DynamicKernel
from memristor_plugins.kernels.heterosynaptic import Heterosynaptic, HeterosynapticKernel
from memristor_plugins.mappings.differential import Differential
from memristor_plugins.mappings.offset import Offset
from memristor_plugins.nonidealities.adc import ADC
from memristor_plugins.nonidealities.flicker import Flicker
from memristor_plugins.nonidealities.gate_crosstalk import GateCrosstalk
from memristor_plugins.nonidealities.gate_noise import GateNoise
from memristor_plugins.nonidealities.stuck_at import StuckAt
from memristor_plugins.testing import run_checks

MUTANTS: list[tuple[type, str]] = []


def caught_by(check: str) -> Callable[[type], type]:
    """Register a mutant and the check that must find it."""

    def register(mutant: type) -> type:
        MUTANTS.append((mutant, check))
        return mutant

    return register


# --- devices -------------------------------------------------------------------------------------------------------


@caught_by("global_generators")
class HiddenGenerator(Generic):
    """Programs with torch's global generator."""

    def program(self, target: Tensor, **options: Any) -> CellState:  # type: ignore[override]
        state = super().program(target, **options)
        return replace(state, g=state.g * (1 + 0.01 * torch.randn_like(state.g)).abs())


@caught_by("global_generators")
class NumpyGenerator(Generic):
    """Reads with numpy's global generator."""

    def read(self, g: Tensor, state: CellState, **options: Any) -> Tensor:
        return g * float(1 + 0.01 * np.random.randn())


@caught_by("arguments_untouched")
class InPlace(Generic):
    """Ages its state in place."""

    def conductance(self, state: CellState, seconds: float) -> Tensor:
        if seconds > 0:
            state.g.mul_(0.99)
        return state.g


@caught_by("shapes_and_dtypes")
class Promoting(Generic):
    """Returns float64 whatever it is given."""

    def conductance(self, state: CellState, seconds: float) -> Tensor:
        return super().conductance(state, seconds).double()


@caught_by("shapes_and_dtypes")
class WideConstants(Generic):
    """Fabricates constants in float64."""

    def fabricate(self, shape: Any, *, generator: torch.Generator) -> Cells:
        return Cells({"rate": torch.ones(shape, dtype=torch.float64)})


@caught_by("read_noise_statistics")
class LyingDeviation(Generic):
    """States half of the read noise that it has."""

    def read_std(self, g: Tensor, state: CellState, seconds: float) -> Tensor:
        return 0.01 * self.g_max * torch.ones_like(g)

    def read(self, g: Tensor, state: CellState, *, generator: torch.Generator, **options: Any) -> Tensor:
        return g + 2 * self.read_std(g, state, 0.0) * standard_normal(g, generator)


@caught_by("read_noise_statistics")
class BiasedRead(LyingDeviation):
    """Reads too high by a tenth of its noise."""

    def read(self, g: Tensor, state: CellState, *, generator: torch.Generator, **options: Any) -> Tensor:
        return g + self.read_std(g, state, 0.0) * (0.1 + standard_normal(g, generator))


@caught_by("read_noise_statistics")
class UniformRead(LyingDeviation):
    """Noise of the right deviation that is not Gaussian."""

    def read(self, g: Tensor, state: CellState, *, generator: torch.Generator, **options: Any) -> Tensor:
        uniform = torch.rand(g.shape, generator=generator) - 0.5
        return g + self.read_std(g, state, 0.0) * uniform * 12**0.5


@caught_by("read_correlation")
class FrozenRead(LyingDeviation):
    """Says that each multiply reads anew, and half of its noise stays."""

    def read(self, g: Tensor, state: CellState, *, generator: torch.Generator, **options: Any) -> Tensor:
        stays = torch.randn(g.shape, generator=torch.Generator().manual_seed(1))
        noise = (stays + standard_normal(g, generator)) / 2**0.5
        return g + self.read_std(g, state, 0.0) * noise


@caught_by("current_law")
class WrongSign(Generic):
    """Its current flows against the voltage."""

    def current(self, g: Tensor, v: Tensor, **options: Any) -> Tensor:
        return -g * v


@caught_by("current_gradients")
class CutGradient(Generic):
    """Its current loses half of its gradient."""

    def current(self, g: Tensor, v: Tensor, **options: Any) -> Tensor:
        return g * v - 0.5 * (g * v - (g * v).detach())


@caught_by("time_is_absolute")
class Remembering(Generic):
    """Ages a little at every look."""

    looks = 0

    def conductance(self, state: CellState, seconds: float) -> Tensor:
        self.looks += seconds > 0
        return state.g * 0.999**self.looks


@caught_by("seeds")
class Unseeded(Generic):
    """Draws from a generator of its own, of a fixed seed."""

    def program(self, target: Tensor, *, generator: torch.Generator, **options: Any) -> CellState:  # type: ignore[override]
        return super().program(target, generator=torch.Generator().manual_seed(0), **options)


@caught_by("values_are_physical")
class Negative(Generic):
    """Its conductances fall below zero."""

    def conductance(self, state: CellState, seconds: float) -> Tensor:
        return state.g - (self.g_max if seconds > 1 else 0.0)


@caught_by("cells_are_independent")
class SwappedAxes(Generic):
    """A cell ages by its place in the array."""

    def conductance(self, state: CellState, seconds: float) -> Tensor:
        if seconds == 0 or state.g.dim() < 2:
            return state.g
        place = torch.linspace(0.5, 1, state.g.shape[-1]).to(state.g)
        return state.g * place


@caught_by("gate")
class LyingGate(Adaptive2D):
    """Has a gate and says that it has none."""

    gated: ClassVar[bool] = False


@caught_by("gate")
class WrongInverse(Adaptive2D):
    """Its gate voltage does not set the gain that was asked for."""

    def gate_voltage(self, gain: Tensor) -> Tensor:
        return super().gate_voltage(gain) * 0.9


@caught_by("hold_is_exact")
class NoisyHold(Generic):
    """Holds with an error."""

    def hold(self, target: Tensor, *, generator: torch.Generator) -> CellState:
        return self.program(target, generator=generator)


@caught_by("pickled")
class Unpicklable(Generic):
    """Holds a function of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.law = lambda g: g


# --- non-idealities ------------------------------------------------------------------------------------------------


@caught_by("linear")
class LyingLinear(ADC):
    """A converter that says it is linear. Assumed."""

    linear = True


@caught_by("per_tile")
class LyingTile(ADC):
    """A converter that says that its partial sums may be added before it. Assumed."""

    per_tile = False


@caught_by("static")
class LyingStatic(GateNoise):
    """Noise that says it is static. Assumed."""

    static = True


@caught_by("static")
class NeedlesslyDynamic(GateCrosstalk):
    """A fixed coupling that says it draws anew. Assumed."""

    static = False


@caught_by("neutral_parameters")
class NotNeutral(GateCrosstalk):
    """Says that a fraction switches it off which does not. Assumed."""

    neutral: ClassVar[Any] = {"fraction": 0.001}


@caught_by("moments")
class LyingMoments(Flicker):
    """States a deviation that it has not. Assumed."""

    def moments(self, x: Any, context: Any) -> Any:
        mean, std = super().moments(x, context)
        return mean, 1.1 * std


@caught_by("is_pure")
class InPlaceStuck(StuckAt):
    """Fixes the cells of its argument. Assumed."""

    def __init__(self, p_on: Annotated[float, Param("share stuck", source="assumed", ge=0, le=1)] = 0.3) -> None:
        super().__init__(p_on, 0.3)

    def apply(self, x: Tensor, state: Any, context: Any) -> Tensor:
        return x.masked_fill_(state != 0, context.device.g_max)


@caught_by("sampling")
class UnseededChip(StuckAt):
    """Its chips are all the same. Assumed."""

    def sample(self, shape: Any, *, generator: torch.Generator) -> Tensor:
        return super().sample(shape, generator=torch.Generator().manual_seed(1))


@caught_by("parts_are_independent")
class BatchScaled(ADC):
    """Converts over the range of the batch instead of its own. Assumed."""

    def apply(self, x: Tensor, state: Any, context: Any) -> Tensor:
        return super().apply(x, state, replace(context, full_scale=context.full_scale * x.abs().max() / 2))


@caught_by("needs_range")
class DeafToItsRange(NonIdeality):
    """Rounds by a step of its own, and asks for a range that it never uses. Assumed."""

    site = Site.SUM
    linear = False
    per_tile = True
    needs_range = True

    def calibrate(self, x: Tensor) -> Tensor:
        return torch.stack((-x.abs().max(), x.abs().max()))

    def apply(self, x: Tensor, state: Any, context: Any) -> Tensor:
        return x + ((x / 0.1).round() * 0.1 - x).detach()

    def bits_used(self) -> int:
        return 8


@caught_by("gradients")
class RoundsGradientsAway(ADC):
    """Lets no gradient pass. Assumed."""

    def apply(self, x: Tensor, state: Any, context: Any) -> Tensor:
        return super().apply(x.detach(), state, context) + 0 * x


# --- mappings ------------------------------------------------------------------------------------------------------


@caught_by("exact_inverse")
class SwappedPair(Differential):
    """Positive weights on the negative cell. Assumed."""

    def to_effective(self, g: Tensor, scale: Tensor) -> Tensor:
        return super().to_effective(g.flip(0), scale)


@caught_by("exact_inverse")
class ForgottenOffset(Offset):
    """Never subtracts the middle. Assumed."""

    def to_conductance(self, weight: Tensor, device: Device) -> Mapped:
        return replace(super().to_conductance(weight, device), offset=None)


@caught_by("targets_within_range")
class BeyondRange(Differential):
    """Asks cells for more than g_max. Assumed."""

    def to_conductance(self, weight: Tensor, device: Device) -> Mapped:
        mapped = super().to_conductance(weight, device)
        return Mapped(mapped.g * 1.5, mapped.scale / 1.5)


@caught_by("deviation_of_errors")
class AddedDeviations(Differential):
    """Adds deviations instead of variances. Assumed."""

    def effective_std(self, std: Tensor, scale: Tensor) -> Tensor:
        return ((std[0] + std[1]) * scale).unsqueeze(0)


@caught_by("is_linear")
class ClippedSum(Differential):
    """Clips what it reads out. Assumed."""

    def from_current(self, partial: Tensor) -> Tensor:
        return super().from_current(partial).clamp(-1e-3, 1e-3)


# --- kernels -------------------------------------------------------------------------------------------------------


class _BatchNormed(DynamicKernel):
    def modulate(self, x: Tensor) -> Modulation:
        return super().modulate(x - x.mean(dim=0, keepdim=True))


@caught_by("images_are_independent")
class SeesTheBatch(Dynamic):
    """Subtracts the batch's mean in evaluation, too. Chen et al., CVPR 2020."""

    def build(self, spec: ConvSpec) -> Kernel:
        return _BatchNormed(spec, self)


class _Transposed(DynamicKernel):
    def modulate(self, x: Tensor) -> Modulation:
        bank = super().modulate(x).bank
        assert bank is not None
        return Modulation(bank=bank.T)


@caught_by("modulation_shapes")
class SwappedFactors(Dynamic):
    """Gives [banks, batch] for [batch, banks]. Chen et al., CVPR 2020."""

    def build(self, spec: ConvSpec) -> Kernel:
        return _Transposed(spec, self)


class _Unbounded(HeterosynapticKernel):
    def modulate(self, x: Tensor) -> Modulation:
        return Modulation(bank=0.6 + 0.1 * self.routing(x).float())


@caught_by("gains_stay_in_range")
class LyingRange(Heterosynaptic):
    """Says a gain range and does not keep to it. Hong et al."""

    def build(self, spec: ConvSpec) -> Kernel:
        return _Unbounded(spec, self)


class _Forgetful(DynamicKernel):
    def __init__(self, spec: ConvSpec, strategy: Dynamic) -> None:
        super().__init__(spec, strategy)
        self.register_buffer("temperature", torch.tensor(self.start), persistent=False)


@caught_by("state_dict")
class ForgottenTemperature(Dynamic):
    """Its checkpoints lose the temperature. Chen et al., CVPR 2020."""

    def build(self, spec: ConvSpec) -> Kernel:
        return _Forgetful(spec, self)


class _Cheap(DynamicKernel):
    def routing_macs(self) -> int:
        return super().routing_macs() // 2


@caught_by("routing_macs")
class UndercountedRouting(Dynamic):
    """Tells half of what its routing costs. Chen et al., CVPR 2020."""

    def build(self, spec: ConvSpec) -> Kernel:
        return _Cheap(spec, self)


class _Alike(DynamicKernel):
    def __init__(self, spec: ConvSpec, strategy: Dynamic) -> None:
        super().__init__(spec, strategy)
        nn.init.constant_(self.weight, 0.1)


@caught_by("builds_every_convolution")
class AlikeBanks(Dynamic):
    """Starts all banks alike. Chen et al., CVPR 2020."""

    def build(self, spec: ConvSpec) -> Kernel:
        return _Alike(spec, self)


# --- energy estimators ---------------------------------------------------------------------------------------------


@caught_by("energy_is_plausible")
class Picojoules(Crossbar):
    """Reports picojoules as joules. Assumed."""

    def estimate(self, profile: WorkloadProfile) -> CostReport:
        report = super().estimate(profile)
        entries = tuple(replace(e, energy_j=e.energy_j * 1e12) for e in report.entries)
        return replace(report, entries=entries)


@caught_by("entries_are_costs")
class NegativeEnergy(Crossbar):
    """Credits what it saves. Assumed."""

    def estimate(self, profile: WorkloadProfile) -> CostReport:
        report = super().estimate(profile)
        first, *rest = report.entries
        return replace(report, entries=(replace(first, energy_j=-first.energy_j), *rest))


@caught_by("operations_are_the_networks")
class CreditForBanks(Crossbar):
    """Counts every bank's work as useful. Assumed."""

    def estimate(self, profile: WorkloadProfile) -> CostReport:
        return replace(super().estimate(profile), ops=2 * profile.ops)


@caught_by("more_work_costs_more")
class HandTyped(Crossbar):
    """Answers from a table, whatever the network did. Assumed."""

    def estimate(self, profile: WorkloadProfile) -> CostReport:
        report = super().estimate(profile)
        total = sum(layer.macs for layer in profile.layers)
        return replace(report, entries=tuple(replace(e, energy_j=1e-9 + 0 * total) for e in report.entries[:3]))


# --- every group ---------------------------------------------------------------------------------------------------


@caught_by("signature")
class NoSource(GateNoise):
    """A parameter without a source. Assumed."""

    def __init__(self, std: Annotated[float, Param("deviation")] = 0.1) -> None:
        super().__init__(std)


@caught_by("units")
class NoUnit(Generic):
    """A voltage that is a bare number. Assumed."""

    def __init__(self, read_voltage: Annotated[float, Param("read voltage", source="assumed")] = 0.1) -> None:
        super().__init__(read_voltage=read_voltage)


@caught_by("units")
class PrefixedUnit(Generic):
    """A conductance in microsiemens. Assumed."""

    def __init__(self, g_max: Annotated[float, Param("highest", unit="uS", source="assumed")] = 1e-4) -> None:
        super().__init__(g_max=g_max)


@caught_by("docstring")
class NoDocstring(GateNoise):
    pass


@caught_by("requires_api")
class FromTheFuture(GateNoise):
    """Was written for contracts that are not there yet. Assumed."""

    requires_api: ClassVar[int] = 2


@caught_by("contract")
class Unfinished(EnergyEstimator):
    """Implements nothing. Assumed."""


@caught_by("quiet")
class Warning(GateNoise):
    """Warns at its own defaults. Assumed."""

    def __init__(self, std: Annotated[float, Param("deviation", source="assumed")] = 0.1) -> None:
        import warnings

        warnings.warn("std has no effect", stacklevel=2)
        super().__init__(std)


@caught_by("config_round_trip")
class LosesItsParameter(GateNoise):
    """Remembers how often it was made instead of its parameter. Assumed."""

    made = 0

    def __init__(self, std: Annotated[float, Param("deviation", source="assumed")] = 0.1) -> None:
        LosesItsParameter.made += 1
        super().__init__(std * LosesItsParameter.made)


@pytest.mark.parametrize(("mutant", "check"), MUTANTS, ids=lambda v: v if isinstance(v, str) else v.__name__)
def test_a_planted_fault_is_found_by_the_check_that_is_meant_to(mutant: type, check: str) -> None:
    found = {r.check: r for r in run_checks(mutant) if r.status == "failed"}
    assert check in found, f"{mutant.__name__} passed '{check}'; failed: {sorted(found)}"
    assert "raised" not in found[check].message or mutant in (Unpicklable,), found[check].message


def _is(plugin: registry.Plugin, kind: type) -> bool:
    return plugin.target == f"{kind.__module__}:{kind.__qualname__}"


PARENTS = {(p.group, p.name) for m, _ in MUTANTS for c in m.__mro__[1:] for p in registry.plugins() if _is(p, c)}


def test_what_the_mutants_are_made_from_is_sound() -> None:
    assert len(PARENTS) >= 11
    for group, name in sorted(PARENTS):
        assert [r for r in run_checks(f"{group}/{name}") if r.status == "failed"] == []


def test_there_are_twenty_mutants_of_all_groups() -> None:
    contracts = (Device, NonIdeality, Mapping, KernelStrategy, EnergyEstimator)
    assert len(MUTANTS) >= 40
    assert all(sum(issubclass(m, c) for m, _ in MUTANTS) >= 4 for c in contracts)
