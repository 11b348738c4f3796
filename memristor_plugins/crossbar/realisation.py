"""The exact ways in which a processor computes a convolution with modulated banks, and which one costs least.

`banks` convolves with the K stationary banks and adds: K times the multiply-accumulates of the static layer. `mixed`
aggregates each image's own kernel first, then multiplies it with the image's own columns: those of the static layer
once, and the kernels of the whole batch in memory.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from memristor_plugins.crossbar.arrangement import drive, parted, views
from memristor_plugins.crossbar.geometry import Geometry
from memristor_plugins.interfaces.kernel import Modulation

Route = Literal["banks", "mixed"]


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
    return (y * factors[..., None, None].to(y.dtype)).sum(dim=(1, 2))


def mixed(x: Tensor, weight: Tensor, m: Modulation, g: Geometry) -> Tensor:
    """Each image's own kernel, multiplied with the image's own columns."""
    return per_image(x, aggregated(weight, m, len(x), g).to(x.dtype), g)


def aggregated(weight: Tensor, m: Modulation, batch: int, g: Geometry) -> Tensor:
    """Kernels of each image [batch, out, in / groups, kh, kw], without factors of input and output channels."""
    if m.drive is not None:
        # [batch, chunks, kh, kw, cells] @ [cells, out * in / chunks]
        of = torch.tensordot(m.drive, weight[..., 0, 0].to(m.drive.dtype), dims=([1], [0]))
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
    """x [batch, in, h, w] under a kernel for each image [batch, out, in / groups, kh, kw].

    A product of each image's columns with its kernel; a grouped convolution, which is the same, takes PLACEHOLDER.
    """
    height, width = g.output_size(x.shape[2], x.shape[3])
    seen = torch.stack(views(g, x), dim=2)  # [batch, in, places, h, w]
    columns = seen.view(len(x) * g.groups, -1, height * width)
    rows = kernels.reshape(len(x) * g.groups, g.cols, -1)
    return torch.bmm(rows, columns).view(len(x), g.out_channels, height, width)


def cheapest(x: Tensor, weight: Tensor, m: Modulation, g: Geometry) -> Route:
    """The route that costs least for these shapes on this device."""
    return "mixed" if m.joint is not None else "banks"
