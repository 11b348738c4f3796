"""Gradients of a layer whose forward ran on a chip: straight through converters and noise to the effective weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from memristor_plugins.crossbar.geometry import Geometry
from memristor_plugins.crossbar.realisation import cheapest
from memristor_plugins.interfaces.kernel import Modulation


class StraightThrough(torch.autograd.Function):
    """y = compute(), with the gradients of sum_k factors[:, k] * convolve(x, seen[k]); `weight` gets that of `seen`.

    The cost of the backward pass is the digital layer's, by the route that costs it least (`realisation.cheapest`): the
    sums of each bank are not kept, since dL/dfactors[b, k] = <dL/dx_b of bank k, x_b>, or, of an image's mixed kernel
    M_b = sum_k factors[b, k] weight[k], <dL/dM_b, weight[k]>.

    Args:
        x: [batch, in, height, width].
        weight: [banks, out, in / groups, kh, kw], as trained.
        seen: the same as the chip has them, in any precision.
        factors: [batch, banks], or None for ones.
        compute: the forward, without gradients; gives [batch, out, height', width'].
        geometry: the layer.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        seen: Tensor,
        factors: Tensor | None,
        compute: Callable[[], Tensor],
        geometry: Geometry,
    ) -> Tensor:
        ctx.save_for_backward(x, seen, factors)
        ctx.precision = weight.dtype
        ctx.geometry = geometry
        return compute()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, Tensor | None, None, None]:
        x, weight, factors = ctx.saved_tensors
        need_x, need_weight, _, need_factors = ctx.needs_input_grad[:4]
        grad = grad.to(x.dtype)
        if factors is None and weight.shape[0] == 1:
            grad_x, grad_weight = _back(ctx.geometry, grad, x, weight[0].to(x.dtype), (need_x, need_weight))
            if grad_weight is not None:
                grad_weight = grad_weight.unsqueeze(0).to(ctx.precision)
            return grad_x, grad_weight, None, None, None, None
        if factors is not None and cheapest(x, weight, Modulation(bank=factors), ctx.geometry) == "mixed":
            of_x, of_weight, of_factors = _back_mixed(ctx.geometry, grad, x, weight, factors)
            return of_x, of_weight.to(ctx.precision), None, of_factors, None, None
        grad_x = None
        by_factor, by_weight = [], []
        for bank in range(weight.shape[0]):
            kernel = weight[bank].to(x.dtype)
            factor = None if factors is None else factors[:, bank, None, None, None].to(x.dtype)
            if need_x or need_factors:
                back = _back(ctx.geometry, grad, x, kernel, (True, False))[0]
                if need_factors:
                    by_factor.append((back * x).sum(dim=(1, 2, 3), dtype=torch.promote_types(x.dtype, torch.float32)))
                if need_x:
                    back = back if factor is None else back.mul_(factor)
                    grad_x = back if grad_x is None else grad_x.add_(back)
            if need_weight:
                scaled = x if factor is None else x * factor
                by_weight.append(_back(ctx.geometry, grad, scaled, kernel, (False, True))[1])
        grad_factors = torch.stack(by_factor, dim=1).to(factors.dtype) if by_factor else None
        grad_weight = torch.stack(by_weight).to(ctx.precision) if by_weight else None
        return grad_x, grad_weight, None, grad_factors, None, None


def _back(g: Geometry, grad: Tensor, x: Tensor, kernel: Tensor, which: tuple[bool, bool]) -> tuple[Any, Any]:
    # A kernel in another memory format than x would have x, grad and their gradients copied into its own.
    last = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
    kernel = kernel.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
    grad_x, grad_kernel, _ = torch.ops.aten.convolution_backward(
        grad, x, kernel, None, g.stride, g.padding, g.dilation, False, (0, 0), g.groups, (*which, False)
    )
    return grad_x, grad_kernel


def _back_mixed(g: Geometry, grad: Tensor, x: Tensor, weight: Tensor, factors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, weight and factors through one kernel for each image."""
    batch, banks, by = len(x), weight.flatten(1).to(x.dtype), factors.to(x.dtype)
    kernels = (by @ banks).view(-1, *weight.shape[2:])
    wide = replace(g, groups=batch * g.groups)
    grad_x, grad_kernels = _back(
        wide, grad.reshape(1, -1, *grad.shape[2:]), x.reshape(1, -1, *x.shape[2:]), kernels, (True, True)
    )
    of = grad_kernels.view(batch, -1)
    grad_weight = (by.T @ of).view(weight.shape)
    return grad_x.view(x.shape), grad_weight, (of @ banks.T).to(factors.dtype)
