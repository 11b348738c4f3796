"""The VGG family with batch norm, built from a kernel strategy."""

from __future__ import annotations

from typing import Annotated, Literal

from torch import Tensor, nn

from memristor_plugins.crossbar.modulated import ModulatedConv2d
from memristor_plugins.interfaces.kernel import Kernel, KernelStrategy
from memristor_plugins.interfaces.parameter import Param
from memristor_plugins.kernels.static import Static

# Channels of each convolution; "M" is a 2x2 max pool. Simonyan and Zisserman 2015, Table 1 (A, B, D, E). VGG8 is the
# six-convolution network usual for CIFAR in the in-memory computing literature (e.g. DNN+NeuroSim, IEDM 2019).
LAYERS: dict[int, tuple[int | str, ...]] = {
    8: (128, 128, "M", 256, 256, "M", 512, 512, "M"),
    11: (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    13: (64, 64, "M", 128, 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    16: (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"),
    19: (64, 64, "M", 128, 128, "M", *(256,) * 4, "M", *(512,) * 4, "M", *(512,) * 4, "M"),
}


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
    ) -> None:
        super().__init__()
        kernel = kernel.for_network()
        channels, height, size = input_shape[0], input_shape[1], input_shape[2]
        side = min(height, size)
        layers: list[nn.Module] = []
        first = True
        plan = LAYERS[depth]
        for item, following in zip(plan, (*plan[1:], None), strict=True):
            if item == "M":
                continue
            out = max(1, round(int(item) * width))
            layers.append(ModulatedConv2d(Static() if first and static_first else kernel, channels, out, 3, padding=1))
            if following == "M" and side > 1:
                layers.append(nn.MaxPool2d(2))
                side //= 2
            layers += [nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
            channels, first = out, False
        self.features = nn.Sequential(*layers)
        self.head, self.head_scale = head, head_scale
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images [batch, channels, height, width] -> logits [batch, classes]."""
        features = self.features(x)
        pooled = features.mean(dim=(2, 3)) if self.head == "mean" else features.amax(dim=(2, 3))
        logits: Tensor = self.classifier(pooled) * self.head_scale
        return logits


def set_epoch(network: nn.Module, epoch: int) -> None:
    """Tell every kernel that anneals which training epoch starts."""
    for module in network.modules():
        if isinstance(module, Kernel):
            module.set_epoch(epoch)


def count_parameters(network: nn.Module) -> int:
    """Trained values."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)
