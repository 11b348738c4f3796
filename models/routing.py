"""How kernels route: bank coefficients by layer and class, and evaluation with those of other images.

Kernels are watched through forward hooks: nothing of a network changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from memristor_plugins.errors import ConfigError, SimulationError
from memristor_plugins.interfaces.kernel import Kernel, Modulation
from memristor_plugins.models.routing_terms import entropy


@dataclass(frozen=True)
class LayerRouting:
    """Bank coefficients of one layer on labelled images.

    Args:
        layer: its name.
        coefficients: [images, banks].
        labels: class of each image, [images].
    """

    layer: str
    coefficients: Tensor
    labels: Tensor

    @property
    def spread(self) -> Tensor:
        """Standard deviation over images, [banks]: 0 where routing does not follow the image."""
        return self.coefficients.double().std(dim=0, correction=0)

    @property
    def entropy(self) -> float:
        """Mean over images of `routing_terms.entropy`."""
        return float(entropy(self.coefficients.double()).mean())

    @property
    def between_class_share(self) -> Tensor:
        """Variance of the classes' means over the variance of all images, [banks], in [0, 1]; 0 without variance."""
        a = self.coefficients.double()
        total = (a - a.mean(dim=0)).square().sum(dim=0)
        between = torch.zeros_like(total)
        for label in self.labels.unique():
            of = a[self.labels == label]
            between += len(of) * (of.mean(dim=0) - a.mean(dim=0)).square()
        return torch.where(total > 1e-12 * len(a), between / total.clamp_min(1e-30), 0.0)

    def of_class(self, label: int) -> Tensor:
        """Coefficients of one class, [its images, banks]."""
        return self.coefficients[self.labels == label]


def kernels(network: nn.Module) -> dict[str, Kernel]:
    """Kernels of a network by the name of their layer."""
    return {
        name.removesuffix(".kernel"): module for name, module in network.named_modules() if isinstance(module, Kernel)
    }


def banked(network: nn.Module) -> dict[str, Kernel]:
    """Kernels of a network whose banks have factors, by the name of their layer."""
    return {name: kernel for name, kernel in kernels(network).items() if "bank" in kernel.factors}


@contextmanager
def watched(network: nn.Module) -> Iterator[dict[str, list[Tensor]]]:
    """Within the block, bank coefficients [batch, banks] that layers compute are collected, by the layer's name."""
    of = banked(network)
    seen: dict[str, list[Tensor]] = {name: [] for name in of}

    def keep(name: str) -> Callable[[nn.Module, Any, Modulation], None]:
        def hook(kernel: nn.Module, inputs: Any, m: Modulation) -> None:
            if m.bank is not None:
                seen[name].append(m.bank)

        return hook

    handles = [kernel.register_forward_hook(keep(name)) for name, kernel in of.items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def routing(
    network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], limit: int | None = None
) -> list[LayerRouting]:
    """Bank coefficients of every layer that has them, as the network now computes them.

    Args:
        batches: prepared images [batch, channels, height, width] and labels [batch].
        limit: stop after this many images.
    """
    labels: list[Tensor] = []
    count = 0
    with watched(network) as seen:
        for images, of in batches if seen else ():
            network(images)
            labels.append(of.cpu())
            count += len(of)
            if limit is not None and count >= limit:
                break
    return [
        LayerRouting(name, torch.cat(parts).detach().float().cpu(), torch.cat(labels))
        for name, parts in seen.items()
        if parts
    ]


def table(found: Iterable[LayerRouting], classes: int) -> Iterator[tuple[str, int, str, int, float, float, Any, Any]]:
    """Rows of `routing.csv`: layer, bank, class, images, mean, std; of all classes also between_class_share, entropy.

    Args:
        classes: labels are 0 to classes - 1.
    """
    for layer in found:
        share, entropy = layer.between_class_share, layer.entropy
        for bank in range(layer.coefficients.shape[1]):
            every = layer.coefficients[:, bank].double()
            spread = float(layer.spread[bank])
            yield layer.layer, bank, "all", len(every), float(every.mean()), spread, float(share[bank]), entropy
            for label in range(classes):
                of = layer.of_class(label)[:, bank].double()
                if len(of):
                    std = float(of.std(correction=0))
                    yield layer.layer, bank, str(label), len(of), float(of.mean()), std, "", ""


def following_kernels(network: nn.Module) -> list[Kernel]:
    """Kernels that depend on the image.

    Raises:
        ConfigError: there are none.
    """
    found = [kernel for kernel in kernels(network).values() if kernel.factors and not kernel.constant]
    if not found:
        raise ConfigError("kernel_control", "permuted needs kernels that follow the image, and this network has none")
    return found


@contextmanager
def permuted(network: nn.Module, seed: int = 0) -> Iterator[None]:
    """Within the block every image is computed with the kernels that another image of its batch asks for.

    One permutation without fixed points is drawn for each batch and holds in all layers: the control that has the same
    kernels and the same distribution of coefficients, and only the wrong ones for each image. Each layer's coefficients
    follow from the features that the other image has in this very pass.

    Args:
        seed: of the permutations.

    Raises:
        ConfigError: no kernel of the network follows the image.
        SimulationError: a batch has one image.
    """
    following = following_kernels(network)
    generator = torch.Generator().manual_seed(seed)
    order = torch.zeros(0, dtype=torch.long)

    def draw(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal order
        images = len(inputs[0])
        if images < 2:
            raise SimulationError("kernel_control=permuted exchanges images of a batch, and a batch has one image")
        cycle = torch.randperm(images, generator=generator)
        order = torch.empty_like(cycle)
        order[cycle] = cycle.roll(1)

    def swap(kernel: nn.Module, inputs: Any, m: Modulation) -> Modulation:
        given = {f.name: getattr(m, f.name) for f in fields(m)}
        # A factor that broadcasts over images is everybody's.
        return replace(
            m, **{name: f[order.to(f.device)] for name, f in given.items() if f is not None and len(f) == len(order)}
        )

    handles = [network.register_forward_pre_hook(draw)]
    handles += [kernel.register_forward_hook(swap) for kernel in following]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
