"""Checks of a kernel strategy."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from memristor_plugins.crossbar.modulated import modulated_conv2d
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.devices.adaptive_2d import Adaptive2D
from memristor_plugins.errors import ConfigError, SimulationError
from memristor_plugins.interfaces.kernel import ConvSpec, Kernel, KernelStrategy, Modulation
from memristor_plugins.nonidealities.programming import Programming
from memristor_plugins.testing._behaviour import SPEC, built
from memristor_plugins.testing._core import CheckSkipped, Subject, check, expect
from memristor_plugins.testing._samples import array_mapping, copied, numbers, same, small, train_one_batch

SPECS = (SPEC, ConvSpec(3, 8, (1, 1)), ConvSpec(8, 8, (3, 3), groups=2), ConvSpec(6, 4, (5, 3)))


def _kernels(strategy: KernelStrategy) -> Iterator[tuple[ConvSpec, Kernel]]:
    """Kernels of all kinds of convolution; a strategy may refuse grouped ones by name."""
    for spec in SPECS:
        try:
            yield spec, built(strategy, spec)
        except ConfigError:
            if spec.groups == 1:
                raise


@check("kernel")
def builds_every_convolution(subject: Subject) -> None:
    """Banks have the convolution's shape, finite initial weights, and differ from each other"""
    strategy: KernelStrategy = subject.instance
    expect(isinstance(strategy.banks, int) and strategy.banks >= 1, f"banks must be at least 1, got {strategy.banks}")
    for spec, kernel in _kernels(strategy):
        expect(isinstance(kernel, Kernel), f"build() gives a {type(kernel).__name__}, not a Kernel")
        if "drive" in kernel.factors:  # cells of one pixel, as many as the convolution takes
            channels = kernel.weight.shape[2]
            wanted: tuple[int, ...] = (kernel.banks, spec.out_channels, channels, 1, 1)
            expect(spec.in_channels % channels == 0, f"cells of {channels} channels do not make up {spec.in_channels}")
        else:
            wanted = (strategy.banks, *spec.weight_shape)
            expect(kernel.banks == strategy.banks, f"the kernel has {kernel.banks} banks, not {strategy.banks}")
        expect(tuple(kernel.weight.shape) == wanted, f"weight has shape {tuple(kernel.weight.shape)}, must be {wanted}")
        expect(kernel.weight.isfinite().all(), "initial weights are not finite: was `weight` initialised?")
        expect(float(kernel.weight.detach().std()) > 1e-4, "initial weights are (nearly) all the same")
        alike = any(torch.equal(kernel.weight[0], other) for other in kernel.weight[1:])
        expect(not alike, "banks start alike, and would stay so")


@check("kernel")
def modulation_shapes(subject: Subject) -> None:
    """Factors have the shapes that the contract gives, and are finite"""
    for spec, kernel in _kernels(subject.instance):
        m = kernel.modulate(numbers(3, spec.in_channels, 6, 6))
        expect(isinstance(m, Modulation), f"modulate() gives a {type(m).__name__}, not a Modulation")
        wanted = {
            "bank": (3, kernel.banks),
            "output": (3, spec.out_channels),
            "input": (3, spec.in_channels),
            "position": (3, *spec.kernel_size),
            "column": (3, kernel.banks, kernel.parts, spec.out_channels),
            "drive": (3, kernel.banks, spec.in_channels // kernel.weight.shape[2], *spec.kernel_size),
        }
        for name in m.factors:
            factor: Tensor = getattr(m, name)
            expect(factor.isfinite().all(), f"'{name}' is not finite")
            if name == "joint":
                torch.broadcast_shapes(factor.shape, (3, *kernel.weight.shape))
                expect(factor.dim() == 6, f"'joint' must have 6 axes, has {factor.dim()}")
                continue
            expect(name in kernel.factors, f"modulate() gives '{name}', which is not in Kernel.factors")
            expect(
                tuple(factor.shape) == wanted[name], f"'{name}' has shape {tuple(factor.shape)}, must be {wanted[name]}"
            )


@check("kernel")
def images_are_independent(subject: Subject) -> None:
    """In evaluation an image's factors do not depend on what else is in the batch"""
    kernel = built(subject.instance)
    x = numbers(4, SPEC.in_channels, 6, 6)
    with torch.no_grad():
        whole, part = kernel.modulate(x), kernel.modulate(x[1:2])
    for name in whole.factors:
        factor = getattr(whole, name)
        one = factor[1:2] if factor.shape[0] == 4 else factor
        expect(
            torch.allclose(one, getattr(part, name), rtol=1e-4, atol=1e-6), f"'{name}' depends on the rest of the batch"
        )


@check("kernel")
def gains_stay_in_range(subject: Subject) -> None:
    """Where it says a gain range, bank factors never leave it, whatever the input"""
    kernel = built(subject.instance)
    if kernel.gain_range is None:
        raise CheckSkipped("says no gain range: its factors are free")
    low, high = kernel.gain_range
    expect(0 < low < high <= 1, f"gain_range must be within (0, 1], got {kernel.gain_range}")
    for scale in (0.0, 1.0, 1e4):
        bank = kernel.modulate(scale * numbers(16, SPEC.in_channels, 6, 6)).bank
        expect(bank is not None, "says a gain range and has no bank factors")
        assert bank is not None
        inside = bool(((bank >= low - 1e-5) & (bank <= high + 1e-5)).all())
        expect(inside, f"bank factors leave [{low:g}, {high:g}]: {float(bank.min()):g} to {float(bank.max()):g}")


@check("kernel")
def kernel_gradients(subject: Subject) -> None:
    """Gradients reach every parameter, are finite, and are the slope of the output"""
    kernel = built(subject.instance).double()
    x = numbers(2, SPEC.in_channels, 4, 4, dtype=torch.float64).requires_grad_(True)

    def output(x: Tensor) -> Tensor:
        return modulated_conv2d(x, kernel.weight, kernel.modulate(x), padding=1)

    torch.autograd.backward((output(x) * numbers(2, SPEC.out_channels, 4, 4, seed=6, dtype=torch.float64)).sum())
    for name, parameter in kernel.named_parameters():
        expect(parameter.grad is not None, f"no gradient reaches '{name}'")
        assert parameter.grad is not None
        expect(parameter.grad.isfinite().all(), f"the gradient of '{name}' is not finite")
    expect(_slope_is_right(output, x.detach()), "the gradient with respect to the input is not its slope")


def _slope_is_right(output: object, x: Tensor) -> bool:
    """Along a fixed direction, in float64; factors that a strategy computes in float32 limit what can be seen."""
    assert callable(output)
    direction = numbers(*x.shape, seed=9, dtype=torch.float64)
    weights = numbers(*output(x).shape, seed=6, dtype=torch.float64)
    step = 1e-3
    with torch.no_grad():
        rise = float((weights * (output(x + step * direction) - output(x - step * direction))).sum()) / (2 * step)
    at = x.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad((weights * output(at)).sum(), at)
    told = float((gradient * direction).sum())
    return abs(told - rise) <= 1e-2 * max(abs(told), abs(rise), 1e-6)


@check("kernel")
def state_dict(subject: Subject) -> None:
    """A checkpoint holds all that evaluation depends on, epochs of annealing too"""
    kernel = built(subject.instance)
    kernel.train()
    kernel.set_epoch(3)
    x = numbers(3, SPEC.in_channels, 6, 6)
    with torch.no_grad():
        for parameter in kernel.parameters():
            parameter.add_(0.1)
    kernel.eval()
    again = built(subject.instance)
    again.load_state_dict(kernel.state_dict())
    with torch.no_grad():
        expect(same(kernel.modulate(x), again.modulate(x)), "after load_state_dict() the factors are others")
    for twin in (copy.deepcopy(kernel), pickle.loads(pickle.dumps(kernel))):
        with torch.no_grad():
            expect(same(kernel.modulate(x), twin.modulate(x)), "a copy of the kernel has other factors")


@check("kernel")
def epochs(subject: Subject) -> None:
    """`set_epoch` takes every epoch in any order, and leaves finite factors"""
    kernel = built(subject.instance).train()
    for epoch in (0, 1, 10, 1000, 0):
        kernel.set_epoch(epoch)
        for name in (m := kernel.modulate(numbers(4, SPEC.in_channels, 6, 6))).factors:
            expect(getattr(m, name).isfinite().all(), f"'{name}' is not finite in epoch {epoch}")


@check("kernel")
def routing_macs(subject: Subject) -> None:
    """`routing_macs` counts the multiply-accumulates that `modulate` does for an image"""
    for spec, kernel in _kernels(subject.instance):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            kernel.modulate(numbers(1, spec.in_channels, 6, 6))
        done, told = counter.get_total_flops() // 2, kernel.routing_macs()
        expect(isinstance(told, int) and told >= 0, f"routing_macs() must be a whole number >= 0, got {told}")
        expect(abs(told - done) <= 0.01 * done, f"routing_macs() says {told}, and modulate() does {done}")


@check("kernel")
def input_untouched(subject: Subject) -> None:
    """`modulate` leaves its input and the banks as they were"""
    kernel = built(subject.instance)
    x = numbers(3, SPEC.in_channels, 6, 6)
    kept = copied([x, kernel])
    with torch.no_grad():
        kernel.modulate(x)
    expect(same(kept, [x, kernel]), "modulate() changed its input or the kernel in place")


@check("kernel")
def kernel_depends_on_input(subject: Subject) -> None:
    """A strategy with a routing network gives different images different factors"""
    kernel = built(subject.instance)
    if not any(name != "weight" for name, _ in kernel.named_parameters()):
        raise CheckSkipped("has no routing network")
    if kernel.constant:
        raise CheckSkipped("says that its factors are constant")
    kernel.set_epoch(1000)  # annealing may start where every image has the same
    with torch.no_grad():
        m = kernel.modulate(numbers(8, SPEC.in_channels, 6, 6))
    varied = [n for n in m.factors if not torch.allclose(getattr(m, n)[:1].expand_as(getattr(m, n)), getattr(m, n))]
    expect(varied, "all images have the same factors: the routing network has no effect")


@check("kernel")
def kernel_trains(subject: Subject) -> None:
    """A small network trains a batch with it, and runs on chips where the crossbar engine can realise its factors"""
    network: nn.Module = small(subject.make())
    wrong = train_one_batch(copy.deepcopy(network), None)
    expect(not wrong, "; ".join(wrong))
    try:
        wrong = train_one_batch(network, Stack(Adaptive2D(), array_mapping(), {"programming": Programming()}))
    except SimulationError as error:
        raise CheckSkipped(f"trains digitally; {error}") from error
    expect(not wrong, "; ".join(wrong))
