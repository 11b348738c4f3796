"""The VGG family with batch norm, built from a kernel strategy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from torch import Tensor, nn

from memristor_plugins.crossbar.modulated import ModulatedConv2d
from memristor_plugins.errors import ConfigError
from memristor_plugins.interfaces.kernel import Kernel, KernelStrategy
from memristor_plugins.interfaces.parameter import Param
from memristor_plugins.kernels.static import Static
from memristor_plugins.models.stem import Whitening, dirac

# Channels of each convolution; "M" is a 2x2 max pool. Simonyan and Zisserman 2015, Table 1 (A, B, D, E). VGG8 is the
# six-convolution network usual for CIFAR in the in-memory computing literature (e.g. DNN+NeuroSim, IEDM 2019).
LAYERS: dict[int, tuple[int | str, ...]] = {
    8: (128, 128, "M", 256, 256, "M", 512, 512, "M"),
    11: (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    13: (64, 64, "M", 128, 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    16: (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"),
    19: (64, 64, "M", 128, 128, "M", *(256,) * 4, "M", *(512,) * 4, "M", *(512,) * 4, "M"),
}
SPEEDRUN = "Jordan 2024, arXiv:2404.00498"


class VGG(nn.Module):
    """VGG 8/11/13/16/19 with batch norm, for any input size.

    Each 3x3 convolution is followed by batch norm and ReLU. Max pooling stands before batch norm, which commutes with
    it where the scale is positive and then costs a quarter; it stops where one pixel is left. What remains is pooled
    into one linear layer. Convolutions come from the kernel strategy.

    Args:
        kernel: builds the kernels.
        input_shape: (channels, height, width) of an image.
        num_classes: outputs.
        depth: weight layers of the original network.
        width: multiplies every layer's channels.
        static_first: keep the first convolution static, as dynamic-convolution papers do: it has few channels to
            route on.
        head: how the remaining pixels are pooled.
        head_scale: multiplies the logits; below 1 it lets a classifier without batch norm learn at a high rate.
        channels: channels of each block of convolutions before `width`; null: the original network's.
        pool: each block's max pool follows its last convolution, or its first: then the others cost a quarter.
        stem: `whitening` puts a frozen 2x2 convolution before the network that makes the patches of training images
            white (`ImageClassifier` sets it from images before the first step).
        stem_components: principal components of the patches that the whitening stem keeps; null: all.
        init: `kaiming` normal; `dirac`: a convolution passes its inputs through, as far as it has outputs for them.
        norm_scale: batch norms have a trained scale; without one only their bias is trained.
        norm_momentum: of the running statistics.
        round_to: channels are rounded to multiples of this.
    """

    def __init__(
        self,
        kernel: KernelStrategy,
        input_shape: tuple[int, int, int],
        num_classes: int,
        depth: Annotated[Literal[8, 11, 13, 16, 19], Param("weight layers", source="Simonyan 2015, Table 1")] = 8,
        width: Annotated[float, Param("multiplies channels", source="assumed", gt=0, le=8)] = 1.0,
        static_first: Annotated[bool, Param("keep the first convolution static", source="Chen, CVPR 2020")] = True,
        head: Annotated[Literal["mean", "max"], Param("pooling before the classifier", source="assumed")] = "mean",
        head_scale: Annotated[float, Param("multiplies the logits", source="assumed", gt=0)] = 1.0,
        channels: Annotated[
            list[int] | None, Param("channels of each block; null: the original's", source=SPEEDRUN)
        ] = None,
        pool: Annotated[Literal["last", "first"], Param("place of a block's max pool", source=SPEEDRUN)] = "last",
        stem: Annotated[Literal["none", "whitening"], Param("what precedes the network", source=SPEEDRUN)] = "none",
        stem_components: Annotated[
            int | None, Param("components that a whitening stem keeps; null: all", source="assumed", ge=1)
        ] = None,
        init: Annotated[Literal["kaiming", "dirac"], Param("of convolutions", source=SPEEDRUN)] = "kaiming",
        norm_scale: Annotated[bool, Param("batch norms have a trained scale", source=SPEEDRUN)] = True,
        norm_momentum: Annotated[float, Param("of running statistics", source="torch's default", gt=0, le=1)] = 0.1,
        round_to: Annotated[int, Param("channels are multiples of it", source="assumed", ge=1)] = 1,
    ) -> None:
        super().__init__()
        kernel = kernel.for_network()
        side = min(input_shape[1:])
        layers: list[nn.Module] = []
        self.stem: Whitening | None = None
        if stem == "whitening":
            self.stem = Whitening(input_shape[0], stem_components)
        elif stem_components is not None:
            raise ConfigError("model.stem_components", "has no effect without model.stem=whitening; leave it null")
        inputs, first = input_shape[0], True
        if self.stem is not None:
            inputs, side = self.stem.channels, side - 1
        for block in blocks(depth, channels):
            place = 0 if pool == "first" else len(block) - 1
            for index, item in enumerate(block):
                out = max(1, round(item * width / round_to)) * round_to
                strategy = Static() if first and static_first else kernel
                conv = ModulatedConv2d(strategy, inputs, out, 3, padding=1)
                if init == "dirac":
                    dirac(conv.kernel.weight)
                layers.append(conv)
                if index == place and side > 1:
                    layers.append(nn.MaxPool2d(2))
                    side //= 2
                norm = nn.BatchNorm2d(out, momentum=norm_momentum)
                norm.weight.requires_grad_(norm_scale)
                layers += [norm, nn.ReLU(inplace=True)]
                inputs, first = out, False
        self.features = nn.Sequential(*layers)
        self.head, self.head_scale = head, head_scale
        self.classifier = nn.Linear(inputs, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images [batch, channels, height, width] -> logits [batch, classes]."""
        features = self.features(x if self.stem is None else self.stem(x))
        pooled = features.mean(dim=(2, 3)) if self.head == "mean" else features.amax(dim=(2, 3))
        logits: Tensor = self.classifier(pooled) * self.head_scale
        return logits


def blocks(depth: int, channels: list[int] | None) -> Iterator[list[int]]:
    """Channels of the convolutions between two pools.

    Raises:
        ConfigError: `channels` does not name one number a block.
    """
    plan: list[list[int]] = [[]]
    for item in LAYERS[depth]:
        if isinstance(item, str):
            plan.append([])
        else:
            plan[-1].append(item)
    plan = [block for block in plan if block]
    if channels is None:
        yield from plan
        return
    if len(channels) != len(plan) or any(c < 1 for c in channels):
        raise ConfigError("model.channels", f"VGG{depth} has {len(plan)} blocks; give as many numbers >= 1")
    for block, own in zip(plan, channels, strict=True):
        yield [own] * len(block)


def set_epoch(network: nn.Module, epoch: int) -> None:
    """Tell every kernel that anneals which training epoch starts."""
    for module in network.modules():
        if isinstance(module, Kernel):
            module.set_epoch(epoch)


def count_parameters(network: nn.Module) -> int:
    """Trained values."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)
