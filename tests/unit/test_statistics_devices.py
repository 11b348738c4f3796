"""What every device draws, over 1e5 cells: errors of writes, ageing and reads are independent, of the stated moments.

Intervals hold with 1e-6 probability of a false alarm. The published numbers themselves are in tests/fidelity.
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Generator, Tensor

from memristor_plugins import registry
from memristor_plugins.api import compose_stack
from memristor_plugins.interfaces.device import Device

Z = 4.9  # two-sided normal quantile of 1e-6
N = 100_000
DAY = 86_400.0
ERRORS = {"generic": ["device.drift=0.05", "device.drift_std=0.01"]}


@pytest.fixture(params=registry.names("device"))
def device(request: pytest.FixtureRequest, tmp_path: Path) -> Device:
    overrides = ERRORS.get(request.param, [])
    if request.param == "table":
        (tmp_path / "reads.csv").write_text("target_us,mean_us,std_us,read_std_us\n1,1.0,0.1,0.01\n20,20.0,0.4,0.2\n")
        overrides = [f"device.file={tmp_path / 'reads.csv'}"]
    return compose_stack([f"device={request.param}", *overrides]).device


def generator(seed: int) -> Generator:
    return Generator().manual_seed(seed)


def middle(device: Device) -> Tensor:
    return torch.full((N,), 0.4 * device.g_min + 0.6 * device.g_max, dtype=torch.float64)


def uncorrelated(*samples: Tensor) -> None:
    """Neighbours of each, and every two of them."""
    centred = [(s - s.mean()).double() for s in samples]
    scaled = [c / c.std() for c in centred if float(c.std()) > 0]
    for s in scaled:
        assert abs(float((s[1:] * s[:-1]).mean())) < Z / math.sqrt(N)
    for i, s in enumerate(scaled):
        for other in scaled[:i]:
            assert abs(float((s * other).mean())) < Z / math.sqrt(N)


def test_reads(device: Device) -> None:
    """g + std n: mean, variance, and independence of cells and of reads."""
    g = middle(device)
    state = device.hold(g, generator=generator(0))
    held = device.conductance(state, 3600.0)
    std = device.read_std(held, state, 3600.0)
    assert std is not None
    one, two = (device.read(held, state, generator=generator(s), seconds=3600.0) - held for s in (1, 2))
    if not bool(std.any()):
        assert torch.equal(one, torch.zeros_like(one))
        return
    z, again = one / std, two / std
    assert abs(float(z.mean())) < Z / math.sqrt(N)
    spread = float((z.square() - 1).square().mean().sqrt())
    assert abs(float(z.square().mean()) - 1) < Z * spread / math.sqrt(N)
    uncorrelated(z, again)


def test_writes_and_ageing(device: Device) -> None:
    """Errors of cells, of two chips, and of a cell's write and its later change are independent."""
    target = middle(device)
    one, two = (device.program(target, generator=generator(s)) for s in (1, 2))
    errors = [s.g - target for s in (one, two)]
    normals = [s.ageing for s in (one, two) if s.ageing is not None]
    if getattr(device, "drifts_apart", True):
        uncorrelated(*errors, *normals)
    else:  # one stored normal: a cell keeps its rank among all cells at all times
        uncorrelated(*errors)
        uncorrelated(*normals)
        for error, normal in zip(errors, normals, strict=True):
            assert float(torch.corrcoef(torch.stack((error, normal.to(error))))[0, 1]) > 0.999
    for z in normals:
        assert abs(float(z.double().mean())) < Z / math.sqrt(N)
        assert abs(float(z.double().var()) - 1) < Z * math.sqrt(2 / N)
    deviation = getattr(device, "programming_std", None)
    if callable(deviation):
        sigma = deviation(target[:1]).item()
        assert abs(float(errors[0].mean())) < Z * sigma / math.sqrt(N)
        spread = float((errors[0].square() - sigma**2).square().mean().sqrt())
        assert abs(float(errors[0].square().mean()) - sigma**2) < Z * spread / math.sqrt(N)
    # The same seed is the same chip, and time zero is what the write left.
    assert torch.equal(device.program(target, generator=generator(1)).g, one.g)
    assert torch.equal(device.conductance(one, 0.0), one.g)
