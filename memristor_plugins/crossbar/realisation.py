"""The exact ways in which a processor computes a convolution with modulated banks, and which one costs least.

`banks` convolves with the K stationary banks and adds: K times the multiply-accumulates of the static layer. `mixed`
aggregates each image's own kernel first and runs one grouped convolution: the multiply-accumulates of the static layer
once, and the kernels of the whole batch in memory.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from memristor_plugins.crossbar.arrangement import drive, parted, views
from memristor_plugins.crossbar.geometry import Geometry
from memristor_plugins.interfaces.kernel import Modulation

Route = Literal["banks", "mixed"]

# Kernels of a batch that are mixed hold no more values than this, 1 GiB in float32.
MIXED_VALUES = 1 << 28


def banks(x: Tensor, weight: Tensor, m: Modulation, g: Geometry) -> Tensor:
    """K convolutions and a weighted sum; positions scale shifted views, drive factors mix the inputs of the cells."""
    assert m.joint is None, "a joint factor does not leave the banks as they are"
    if m.drive is not None:
        cells = weight[..., 0, 0].transpose(0, 1).flatten(1)[:, :, None, None]
        return F.conv2d(drive(g, x, m.drive).flatten(1, 2), cells.to(x.dtype))
    if m.position is not None:
        factors = m.position.flatten(1).to(x.dtype)
        seen = [v * factors[:, n, None, None, None] for n, v in enumerate(views(g, x))]
        x = torch.stack(seen, dim=2).flatten(1, 2)  # channel before place: groups and parts stay together
        weight = weight.flatten(3).flatten(2)[..., None, None]
        g = Geometry(x.shape[1], g.out_channels, groups=g.groups)
    if m.column is not None:
        return _parts(x, weight, m, g)
    y: Tensor | None = None
    for bank in range(weight.shape[0]):
        part = g.convolve(x, weight[bank])
        if m.bank is not None:
            part = part * m.bank[:, bank, None, None, None].to(part.dtype)
        y = part if y is None else y + part
    assert y is not None, "a kernel has at least one bank"
    return y


def _parts(x: Tensor, weight: Tensor, m: Modulation, g: Geometry) -> Tensor:
    """Every part of the input channels under its own share of the banks, scaled and added."""
    assert m.column is not None, "there are column factors"
    count, parts = weight.shape[0], m.column.shape[2]
    # [banks, parts * out, in / parts, kh, kw] -> [parts * banks * out, ...]
    split = parted(weight, parts).unflatten(1, (parts, -1)).transpose(0, 1).flatten(0, 2)
    y = replace(g, out_channels=split.shape[0], groups=parts).convolve(x, split).unflatten(1, (parts, count, -1))
    factors = m.column.transpose(1, 2)
    if m.bank is not None:
        factors = factors * m.bank[:, None, :, None]
    scaled: Tensor = y * factors[..., None, None].to(y.dtype)
    return scaled.sum(dim=(1, 2))


def mixed(x: Tensor, weight: Tensor, m: Modulation, g: Geometry) -> Tensor:
    """Each image under its own kernel."""
    return per_image(x, aggregated(weight, m, len(x), g).to(x.dtype), g)


def aggregated(weight: Tensor, m: Modulation, batch: int, g: Geometry) -> Tensor:
    """Kernels of each image [batch, out, in / groups, kh, kw], without factors of input and output channels."""
    if m.drive is not None:
        # [batch, chunks, kh, kw, cells] @ [cells, out * in / chunks]
        of: Tensor = torch.tensordot(m.drive, weight[..., 0, 0].to(m.drive.dtype), dims=([1], [0]))
        return of.permute(0, 4, 1, 5, 2, 3).flatten(2, 3)  # [batch, out, (chunk, j), kh, kw]
    if m.joint is None and m.column is None:
        if m.bank is None:
            kernels = weight.sum(dim=0, keepdim=True)
        else:
            kernels = (m.bank @ weight.flatten(1).to(m.bank.dtype)).unflatten(1, weight.shape[1:])
    else:
        kernels = weight.unsqueeze(0)
        if m.joint is not None:
            kernels = kernels * m.joint
        if m.column is not None:
            each = weight.shape[2] // m.column.shape[2]
            kernels = kernels * m.column.transpose(2, 3).repeat_interleave(each, dim=3)[..., None, None]
        if m.bank is not None:
            kernels = kernels * m.bank[:, :, None, None, None, None]
        kernels = kernels.sum(dim=1)
    if m.position is not None:
        kernels = kernels * m.position[:, None, None]
    return kernels.expand(batch, *kernels.shape[1:])


def per_image(x: Tensor, kernels: Tensor, g: Geometry) -> Tensor:
    """x [batch, in, h, w] under a kernel for each image [batch, out, in / groups, kh, kw]: one grouped convolution."""
    batch = len(x)
    wide = replace(g, in_channels=batch * g.in_channels, out_channels=batch * g.out_channels, groups=batch * g.groups)
    y = wide.convolve(x.reshape(1, -1, *x.shape[2:]), kernels.flatten(0, 1))
    return y.view(batch, g.out_channels, *y.shape[2:])


def cheapest(x: Tensor, weight: Tensor, m: Modulation, g: Geometry) -> Route:
    """The route that costs least for these shapes on this device, from `costs`; `banks` where nothing was measured.

    A joint factor leaves only `mixed`; a batch whose kernels are too many for memory only `banks`.
    """
    if m.joint is not None:
        return "mixed"
    if x.device.type != "cpu" or m.column is not None:
        return "banks"
    if len(x) * g.rows * g.out_channels > MIXED_VALUES:
        return "banks"
    by = costs(weight, m, g, x.shape[2], x.shape[3])
    return "mixed" if by["mixed"] < by["banks"] else "banks"


def costs(weight: Tensor, m: Modulation, g: Geometry, height: int, width: int) -> dict[Route, float]:
    """What a training step costs on a CPU by each route, in steps of the static layer.

    P is the number of the output's pixels, C that of input channels, K of banks:

        banks                1.05 K; with position factors and 1 + 400 / C, for scaled copies of the inputs
        mixed                1.25 + 120 / P: a convolution, and every image's kernel in memory, there and back;
                             150 / P with position factors
        with drive factors   n cells over the m that a kernel is cut into, and 200 / C for mixed inputs; 1.25 + 180 / P

    Fitted to `benchmarks/kernels.py`, which prints measured and predicted side by side.
    """
    rows, columns = g.output_size(height, width)
    pixels = rows * columns
    if m.drive is not None:
        cells, places = m.drive.shape[1], m.drive[0, 0].numel()
        return {"banks": cells / places + 200.0 / g.in_channels, "mixed": 1.25 + 180.0 / pixels}
    each = 1.05 * weight.shape[0]
    if m.position is not None:
        return {"banks": each + 1.0 + 400.0 / g.in_channels, "mixed": 1.25 + 150.0 / pixels}
    # Without bank factors the kernel is the same for every image: there is nothing to mix.
    return {"banks": each, "mixed": math.inf if m.bank is None else 1.25 + 120.0 / pixels}
