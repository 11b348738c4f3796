"""What a loss may ask of routing: banks used alike over a batch, coefficients that are decisive or even in an image."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def imbalance(coefficients: Tensor) -> Tensor:
    """Squared coefficient of variation of the banks' use in a batch: var_k(u) / mean_k(u)^2, u_k the mean of |a_k|.

    0 where all banks are used alike, K - 1 where one bank is used alone.
    Source: importance loss, Shazeer et al. 2017 (arXiv:1701.06538), eq. 6 and 7.

    Args:
        coefficients: a, [images, banks].
    """
    use = coefficients.abs().mean(dim=0)
    return use.var(correction=0) / use.mean().square().clamp_min(1e-30)


def entropy(coefficients: Tensor) -> Tensor:
    """Of each image, [images]: -sum_k p_k ln p_k / ln K, p the coefficients' sizes over their sum.

    1 where banks share evenly, 0 where one bank takes all; 1 for one bank.

    Args:
        coefficients: [images, banks].
    """
    size = coefficients.abs()
    banks = size.shape[1]
    if banks == 1:
        return torch.ones_like(size[:, 0])
    p = size / size.sum(dim=1, keepdim=True).clamp_min(1e-30)
    share: Tensor = torch.special.entr(p).sum(dim=1) / math.log(banks)
    return share
