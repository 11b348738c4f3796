"""Elementary functions of a float or a tensor.

Where devices share a voltage or a parameter it stays a plain float: exact to float64 beside float32 states, and
free of tensor work at every step.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from memristor_plugins.interfaces.transient import Number


def _either(of_float: Callable[[float], float], of_tensor: Callable[[Tensor], Tensor]) -> Callable[[Number], Number]:
    def function(x: Number) -> Number:
        if isinstance(x, Tensor):
            return of_tensor(x)
        try:
            return of_float(x)
        except OverflowError:
            return math.inf if x > 0 or of_float is math.cosh else -math.inf

    return function


exp = _either(lambda x: 0.0 if x < -700 else math.exp(x), torch.exp)
log = _either(math.log, torch.log)
sqrt = _either(math.sqrt, torch.sqrt)
sinh = _either(math.sinh, torch.sinh)
cosh = _either(math.cosh, torch.cosh)


def above(x: Number, low: float = 0.0) -> Number:
    """max(x, low)."""
    return x.clamp_min(low) if isinstance(x, Tensor) else max(x, low)


def power(x: Number, exponent: Number) -> Number:
    """x^exponent for x >= 0."""
    if isinstance(x, Tensor):
        # At x = 0 a tensor exponent would have the gradient 0 * log(0) = nan.
        return x**exponent if not isinstance(exponent, Tensor) else torch.where(x > 0, x, 1.0) ** exponent * (x > 0)
    if isinstance(exponent, Tensor):
        return torch.as_tensor(x).to(exponent) ** exponent if x > 0 else torch.zeros_like(exponent)
    return float(x**exponent)


def where(condition: Tensor | bool, yes: Number, no: Number) -> Number:
    """`yes` where the condition holds, else `no`."""
    if isinstance(condition, Tensor):
        return torch.where(condition, yes, no)
    return yes if condition else no
