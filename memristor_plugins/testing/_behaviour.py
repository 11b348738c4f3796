"""What a plugin does with fixed seeds and inputs, as a nested value of tensors: equal plugins, equal values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from memristor_plugins.errors import MemristorError
from memristor_plugins.interfaces.device import Device
from memristor_plugins.interfaces.energy import EnergyEstimator
from memristor_plugins.interfaces.kernel import ConvSpec, Kernel, KernelStrategy
from memristor_plugins.interfaces.mapping import Mapping
from memristor_plugins.interfaces.nonideality import NonIdeality, Site
from memristor_plugins.testing._core import CheckSkipped, Subject
from memristor_plugins.testing._effects import bench
from memristor_plugins.testing._samples import HOUR, numbers, seeded, targets, workload

SPEC = ConvSpec(4, 6, (3, 3))


def behaviour(subject: Subject, instance: Any) -> Any:
    """What `instance` does with fixed seeds and inputs."""
    return BEHAVIOURS[subject.group](instance)


def _device(device: Device) -> Any:
    generator, target = seeded(1), targets(device, 5, 7)
    state = device.program(target, generator=generator)
    g = device.conductance(state, HOUR)
    read = device.read(g, state, generator=generator, seconds=HOUR)
    volts = torch.linspace(-1, 1, 7) * device.read_voltage
    gains = []
    if device.gated:
        gains = [device.gain(state, torch.tensor(v)) for v in device.gate_range]
    return [state, g, device.read_std(g, state, HOUR), read, device.current(g, volts), gains]


def _nonideality(effect: NonIdeality) -> Any:
    made = bench(effect)
    result = [made.drawn, made.apply()]
    if effect.site is Site.CURRENT:
        result.append(effect.inputs(torch.linspace(-0.1, 0.1, 5), made.context))
    if effect.needs_range:
        result.append(effect.calibrate(made.x))
    return result


def _mapping(mapping: Mapping) -> Any:
    from memristor_plugins.devices.adaptive_2d import Adaptive2D

    mapped = mapping.to_conductance(numbers(2, 1, 20, 5), Adaptive2D())
    seen = mapping.to_effective(mapped.g, mapped.scale)
    return [mapped, seen, mapping.effective_std(mapped.g, mapped.scale), mapping.from_current(seen.sum(dim=-2))]


def built(strategy: KernelStrategy, spec: ConvSpec = SPEC) -> Kernel:
    """The kernel of a convolution, the same one each time, in eval mode.

    Initial weights come from torch's global generator, as those of any module; it is put back.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return strategy.build(spec).eval()


def _kernel(strategy: KernelStrategy) -> Any:
    kernel = built(strategy)
    with torch.no_grad():
        return [kernel, kernel.modulate(numbers(3, 4, 6, 6)), strategy.banks]


def _energy(estimator: EnergyEstimator) -> Any:
    runs_here(estimator)
    report = estimator.estimate(replace(workload(), replay=None))
    return [[e.energy_j, e.latency_s, e.area_m2] for e in report.entries]


def runs_here(estimator: EnergyEstimator) -> None:
    """Skip a check where the estimator says that this machine cannot give its estimate."""
    try:
        estimator.check()
    except MemristorError as error:
        raise CheckSkipped(f"cannot estimate on this machine: {error}") from error


BEHAVIOURS: dict[str, Callable[[Any], Any]] = {
    "device": _device,
    "nonideality": _nonideality,
    "mapping": _mapping,
    "kernel": _kernel,
    "energy": _energy,
}
