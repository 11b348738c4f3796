"""What plugins are tested on: seeds, conductances, a small network, and the workload that it was measured to do."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Generator, Tensor, nn

from memristor_plugins.crossbar.convert import analogize, calibrate, program
from memristor_plugins.crossbar.modulated import ModulatedConv2d
from memristor_plugins.crossbar.profile import profile
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.devices.adaptive_2d import Adaptive2D
from memristor_plugins.devices.generic import Generic
from memristor_plugins.devices.ideal import Ideal
from memristor_plugins.errors import SimulationError
from memristor_plugins.interfaces.device import Device
from memristor_plugins.interfaces.energy import WorkloadProfile
from memristor_plugins.interfaces.kernel import KernelStrategy
from memristor_plugins.interfaces.mapping import Mapping as WeightMapping
from memristor_plugins.interfaces.nonideality import NonIdeality, Site
from memristor_plugins.kernels.heterosynaptic import Heterosynaptic
from memristor_plugins.kernels.static import Static
from memristor_plugins.mappings.differential import Differential
from memristor_plugins.nonidealities.adc import ADC
from memristor_plugins.nonidealities.dac import DAC
from memristor_plugins.nonidealities.gate import Gate
from memristor_plugins.nonidealities.programming import Programming
from memristor_plugins.testing._core import CheckFailed

HOUR = 3600.0
SIGMAS = 5.0  # a correct plugin fails a statistical check about once in two million


def seeded(seed: int = 0) -> Generator:
    """A generator of its own."""
    return torch.Generator().manual_seed(seed)


def numbers(*shape: int, seed: int = 3, dtype: torch.dtype = torch.float32) -> Tensor:
    """Standard normals that do not depend on anything else."""
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64).to(dtype)


def targets(device: Device, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Conductances over a device's whole range, siemens."""
    share = torch.rand(shape, generator=seeded(7), dtype=torch.float64)
    return (device.g_min + (device.g_max - device.g_min) * share).to(dtype)


def middle(device: Device, count: int) -> Tensor:
    """Cells at 0.7 of the range, where noise of the usual strength does not reach a bound."""
    return torch.full((count,), device.g_min + 0.7 * (device.g_max - device.g_min))


def tensors(value: Any) -> list[Tensor]:
    """All tensors in a nested value, in a fixed order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, nn.Module):
        return list(value.state_dict().values())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [t for f in dataclasses.fields(value) for t in tensors(getattr(value, f.name))]
    if isinstance(value, Mapping):
        return [t for key in sorted(value, key=str) for t in tensors(value[key])]
    if isinstance(value, list | tuple):
        return [t for item in value for t in tensors(item)]
    if isinstance(value, bool | int | float):
        return [torch.tensor(value, dtype=torch.float64)]
    return []


def same(one: Any, other: Any) -> bool:
    """Two nested values hold equal tensors; nan equals nan."""
    a, b = tensors(one), tensors(other)
    return len(a) == len(b) and all(
        x.shape == y.shape and x.dtype == y.dtype and bool(((x == y) | ((x != x) & (y != y))).all())
        for x, y in zip(a, b, strict=True)
    )


def copied(value: Any) -> list[Tensor]:
    """Copies of all tensors in a nested value."""
    return [t.detach().clone() for t in tensors(value)]


def deviation_interval(sample: Tensor) -> tuple[float, float]:
    """Standard deviation of a sample and the standard error of it, for any distribution of finite kurtosis."""
    x = sample.detach().double().flatten()
    centred = x - x.mean()
    variance = float(centred.square().mean())
    if variance == 0:
        return 0.0, 0.0
    kurtosis = float((centred**4).mean()) / variance**2
    return math.sqrt(variance), math.sqrt(variance) * math.sqrt(max(kurtosis - 1, 0.1) / (4 * x.numel()))


class Small(nn.Module):
    """One modulated convolution over several row tiles, and a Linear."""

    def __init__(self, strategy: KernelStrategy) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(strategy, 3, 6, 3, padding=1, bias=True)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, 3, height, width] -> [batch, 4]."""
        pooled: Tensor = self.head(self.conv(x).relu().mean(dim=(2, 3)))
        return pooled


def images(count: int = 4) -> Tensor:
    """Non-negative inputs [count, 3, 6, 6]."""
    return torch.rand(count, 3, 6, 6, generator=seeded(11))


def small(strategy: KernelStrategy | None = None) -> Small:
    """The small network, the same one each time."""
    torch.manual_seed(0)
    return Small(Heterosynaptic(banks=2) if strategy is None else strategy)


def array_mapping() -> WeightMapping:
    """Arrays so small that a layer takes several."""
    return Differential(rows=16, columns=16)


def stack_for(effect: NonIdeality, name: str) -> Stack:
    """The first stack that an effect can be part of: gated or not, with the converters that it needs.

    Raises:
        CheckFailed: there is none.
    """
    refusals = []
    for device in (Adaptive2D(), Generic(), Ideal()):
        choices: tuple[dict[str, NonIdeality], ...] = ({}, {"dac": DAC()}, {"dac": DAC(), "adc": ADC()})
        for others in choices:
            if effect.site in (Site.INPUT, Site.SUM):
                others = {n: e for n, e in others.items() if e.site is not effect.site}
            if effect.site in (Site.GATE_COUPLING, Site.GATE_NOISE):
                others = {**others, "gate": Gate()}
            try:
                return Stack(device, array_mapping(), {**others, name: effect})
            except SimulationError as error:
                refusals.append(str(error))
    raise CheckFailed(f"no stack takes it: {refusals[-1]}")


def train_one_batch(network: nn.Module, stack: Stack | None) -> list[str]:
    """Convert, calibrate, train a step and evaluate on two chips; returns what went wrong."""
    x, labels = images(), torch.tensor([0, 1, 2, 3])
    trained = network if stack is None else analogize(network, stack)
    if stack is not None:
        calibrate(trained, [x])
    trained.train()
    optimiser = torch.optim.SGD(trained.parameters(), lr=0.05)
    before = [p.detach().clone() for p in trained.parameters()]
    loss = nn.functional.cross_entropy(trained(x), labels)
    loss.backward()
    wrong = [] if bool(loss.isfinite()) else [f"the loss is {float(loss.detach())}"]
    for name, parameter in trained.named_parameters():
        if parameter.grad is None:
            wrong.append(f"{name} has no gradient")
        elif not bool(parameter.grad.isfinite().all()):
            wrong.append(f"the gradient of {name} is not finite")
    optimiser.step()
    if all(torch.equal(a, p) for a, p in zip(before, trained.parameters(), strict=True)):
        wrong.append("a step changed no parameter")
    trained.eval()
    if stack is None:
        return wrong
    with torch.no_grad():
        calibrate(trained, [x])
        outputs = []
        for chip in (0, 1, 0):
            program(trained, chip, HOUR)
            outputs.append(trained(x))
    if not all(bool(y.isfinite().all()) for y in outputs):
        wrong.append("outputs on a chip are not finite")
    if not torch.equal(outputs[0], outputs[2]):
        wrong.append("one chip seed gives two chips")
    return wrong


@cache
def workload() -> WorkloadProfile:
    """The small network's workload on a gated stack, measured."""
    with torch.random.fork_rng(devices=[]):
        effects = {"programming": Programming(), "gate": Gate(), "dac": DAC(), "adc": ADC()}
        network = analogize(small(), Stack(Adaptive2D(), array_mapping(), effects)).eval()
        calibrate(network, [images()])
        program(network)
        return profile(network, [images()], "uniform random numbers")


def static_network() -> Small:
    """The small network with one bank."""
    return small(Static())
