"""Drift compensation of a programmed network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from memristor_plugins.api import analogize, compensate, compose_stack, program
from memristor_plugins.errors import SimulationError

DAY = 86400.0


def aged(*overrides: str) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """A network a day old, an input, and its output right after programming."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 16, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(256, 40, bias=False))
    stack = compose_stack(["device=adaptive_2d", "nonideality=[programming,drift]", *overrides])
    analog = analogize(network, stack).eval()
    x = torch.rand(6, 3, 6, 6)
    program(analog, 1)
    fresh = analog(x).detach()
    program(analog, 1, DAY)
    return analog, x, fresh


def error(analog: nn.Module, x: torch.Tensor, fresh: torch.Tensor) -> float:
    return float((analog(x).detach() - fresh).norm() / fresh.norm())


def test_every_kind_brings_the_outputs_back_and_none_leaves_them() -> None:
    analog, x, fresh = aged("device.retention_tau=2e6")
    errors = {}
    for kind in ("none", "global", "column", "reference"):
        compensate(analog, kind)  # type: ignore[arg-type]
        errors[kind] = error(analog, x, fresh)
    # A day of 2e6 s (median) takes more than a tenth of every conductance.
    assert errors["none"] > 0.2
    assert errors["global"] < 0.6 * errors["none"]
    assert errors["column"] < 0.6 * errors["none"]
    assert errors["reference"] < errors["global"]


def test_a_chip_that_does_not_age_is_left_as_it_is() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(30, 8, bias=False)
    overrides = ["device=ideal", "nonideality=[programming]"]
    analog = analogize(linear, compose_stack(overrides)).eval()
    x = torch.rand(4, 30)
    program(analog, 0)
    plain = analog(x).detach()
    for kind in ("global", "column", "reference"):
        compensate(analog, kind)  # type: ignore[arg-type]
        torch.testing.assert_close(analog(x).detach(), plain, rtol=1e-6, atol=1e-6)


def test_it_lasts_until_the_next_programming() -> None:
    analog, x, _ = aged()
    before = analog(x).detach()
    compensate(analog, "global")
    assert not torch.equal(analog(x).detach(), before)
    program(analog, 1, DAY)
    assert torch.equal(analog(x).detach(), before)


def test_it_needs_a_chip() -> None:
    analog = analogize(nn.Linear(3, 2), compose_stack([]))
    with pytest.raises(SimulationError, match="call program"):
        compensate(analog, "global")
