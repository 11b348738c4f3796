"""The routes of the digital engine: all exact, with the same gradients, and the cheaper one taken."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from memristor_plugins.crossbar import realisation
from memristor_plugins.crossbar.geometry import Geometry
from memristor_plugins.crossbar.modulated import modulated_conv2d
from memristor_plugins.crossbar.realisation import cheapest, costs
from memristor_plugins.crossbar.straight_through import StraightThrough
from memristor_plugins.interfaces.kernel import Modulation

BATCH, IN, OUT, SIDE = 3, 4, 6, 7


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


CASES = {
    "bank": ({"bank": (BATCH, 3)}, (3, OUT, IN, 3, 3), 1),
    "bank, groups": ({"bank": (BATCH, 2)}, (2, OUT, IN // 2, 3, 3), 2),
    "position, bank, groups": ({"bank": (BATCH, 2), "position": (BATCH, 3, 3)}, (2, OUT, IN // 2, 3, 3), 2),
    "all that factorise": (
        {"bank": (BATCH, 2), "position": (BATCH, 3, 3), "input": (BATCH, IN), "output": (BATCH, OUT)},
        (2, OUT, IN, 3, 3),
        1,
    ),
    "column": ({"column": (BATCH, 2, 2, OUT)}, (2, OUT, IN, 3, 3), 1),
    "column, bank, position": (
        {"column": (BATCH, 2, 2, OUT), "bank": (BATCH, 2), "position": (BATCH, 3, 3)},
        (2, OUT, IN, 3, 3),
        1,
    ),
    "drive": ({"drive": (BATCH, 5, 2, 3, 3), "output": (BATCH, OUT)}, (5, OUT, IN // 2, 1, 1), 1),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("stride", [1, 2])
def test_routes_agree_in_values_and_gradients(case: str, stride: int) -> None:
    shapes, size, groups = CASES[case]
    x, weight = numbers(BATCH, IN, SIDE, SIDE, seed=1).requires_grad_(), numbers(*size, seed=2).requires_grad_()
    factors = {n: numbers(*s, seed=3 + i).requires_grad_() for i, (n, s) in enumerate(shapes.items())}
    results = []
    for route in ("banks", "mixed"):
        y = modulated_conv2d(x, weight, Modulation(**factors), stride=stride, padding=1, groups=groups, route=route)
        upstream = numbers(*y.shape, seed=9)
        results.append((y, *torch.autograd.grad((y * upstream).sum(), (x, weight, *factors.values()))))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


def test_a_drive_factor_is_its_kernel() -> None:
    """Against the kernel that the contract defines, one image at a time."""
    x, cells, drive = numbers(2, IN, 6, 5), numbers(5, OUT, IN // 2, 1, 1, seed=1), numbers(2, 5, 2, 3, 3, seed=2)
    y = modulated_conv2d(x, cells, Modulation(drive=drive), padding=1)
    for image in range(2):
        kernel = torch.einsum("kchw,koj->ocjhw", drive[image], cells[..., 0, 0]).flatten(1, 2)
        expected = torch.nn.functional.conv2d(x[image : image + 1], kernel, padding=1)
        torch.testing.assert_close(y[image : image + 1], expected)


def of(kind: str, banks: int, pixels: int, channels: int = 64) -> tuple[Tensor, Modulation, Geometry, int]:
    side = round(pixels**0.5)
    weight = torch.empty(banks, channels, channels, 3, 3)
    m = {
        "bank": Modulation(bank=torch.ones(2, banks)),
        "position": Modulation(bank=torch.ones(2, banks), position=torch.ones(2, 3, 3)),
        "none": Modulation(output=torch.ones(2, channels)),
        "column": Modulation(column=torch.ones(2, banks, 2, channels)),
        "joint": Modulation(joint=torch.ones(2, banks, 1, 1, 1, 1)),
        "drive": Modulation(drive=torch.ones(2, banks, 1, 3, 3)),
    }[kind]
    if kind == "drive":
        weight = torch.empty(banks, channels, channels, 1, 1)
    return weight, m, Geometry(channels, channels, (3, 3), padding=(1, 1)), side


@pytest.mark.parametrize(
    ("kind", "banks", "pixels", "route"),
    [
        # As measured by benchmarks/kernels.py.
        ("bank", 2, 1024, "mixed"),
        ("bank", 2, 256, "mixed"),
        ("bank", 2, 64, "banks"),
        ("bank", 4, 64, "mixed"),
        ("bank", 4, 16, "banks"),
        ("bank", 1, 1024, "banks"),
        ("position", 4, 64, "mixed"),
        ("position", 1, 1024, "mixed"),
        ("none", 1, 1024, "banks"),
        ("column", 2, 1024, "banks"),
        ("joint", 2, 16, "mixed"),
        ("drive", 9, 1024, "mixed"),
        ("drive", 9, 16, "banks"),
    ],
)
def test_the_cheaper_route_is_taken(kind: str, banks: int, pixels: int, route: str) -> None:
    weight, m, geometry, side = of(kind, banks, pixels)
    x = torch.empty(2, geometry.in_channels, side, side)
    assert cheapest(x, weight, m, geometry) == route
    if kind in ("bank", "position", "drive"):
        by = costs(weight, m, geometry, side, side)
        assert min(by, key=lambda r: by[r]) == route
    # Nothing is measured on other devices: banks stay apart there.
    if kind != "joint":
        assert cheapest(x.to("meta"), weight.to("meta"), m, geometry) == "banks"


def test_mixing_costs_more_for_every_pixel_less_and_banks_for_every_bank() -> None:
    weight, m, geometry, _ = of("bank", 4, 64)
    mixed = [costs(weight, m, geometry, side, side)["mixed"] for side in (32, 16, 8, 4, 2)]
    assert mixed == sorted(mixed)
    kept = [costs(*of("bank", k, 64)[:3], 8, 8)["banks"] for k in (1, 2, 4, 8)]
    assert kept == sorted(kept)


def test_the_chosen_route_computes_the_same() -> None:
    x, weight = torch.randn(4, 8, 12, 12), torch.randn(4, 8, 8, 3, 3)
    m = Modulation(bank=torch.rand(4, 4))
    assert cheapest(x, weight, m, Geometry(8, 8, (3, 3), padding=(1, 1))) == "mixed"
    y = modulated_conv2d(x, weight, m, padding=1)
    assert torch.equal(y, modulated_conv2d(x, weight, m, padding=1, route="mixed"))
    torch.testing.assert_close(y, modulated_conv2d(x, weight, m, padding=1, route="banks"), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_routes_agree_to_their_rounding(dtype: torch.dtype) -> None:
    x, weight = torch.randn(4, 16, 12, 12), torch.randn(4, 8, 16, 3, 3)
    m = Modulation(bank=torch.rand(4, 4))
    exact = modulated_conv2d(x, weight, m, padding=1)
    with torch.autocast("cpu", dtype=dtype):
        for route in ("banks", "mixed"):
            y = modulated_conv2d(x, weight, m, padding=1, route=route)
            assert y.dtype == dtype
            assert float((y.float() - exact).std() / exact.std()) < 0.02


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(("banks", "side", "route"), [(4, 9, "mixed"), (2, 4, "banks")])
def test_straight_through_gradients_by_either_route(groups: int, banks: int, side: int, route: str) -> None:
    """Those of the convolution, whatever the forward reported."""
    x, factors = numbers(BATCH, IN, side, side).requires_grad_(), numbers(BATCH, banks, seed=1).requires_grad_()
    weight = numbers(banks, OUT, IN // groups, 3, 3, seed=2).requires_grad_()
    geometry = Geometry(IN, OUT, (3, 3), padding=(1, 1), groups=groups)
    m = Modulation(bank=factors)
    assert cheapest(x, weight, m, geometry) == route
    expected = modulated_conv2d(x, weight, m, padding=1, groups=groups, route="banks")
    upstream = numbers(*expected.shape, seed=3)
    y = StraightThrough.apply(x, weight, weight.detach(), factors, lambda: torch.zeros_like(expected), geometry)
    assert not bool(y.any())
    measured = torch.autograd.grad((y * upstream).sum(), (x, weight, factors))
    by_hand = torch.autograd.grad((expected * upstream).sum(), (x, weight, factors))
    for a, b in zip(measured, by_hand, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)
        # Only what is asked for.
    for wanted in (x, weight, factors):
        y = StraightThrough.apply(x, weight, weight.detach(), factors, lambda: torch.zeros_like(expected), geometry)
        torch.autograd.grad((y * upstream).sum(), wanted)


def test_a_batch_whose_kernels_are_too_many_keeps_its_banks(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, m, geometry, side = of("bank", 4, 1024)
    x = torch.empty(2, geometry.in_channels, side, side)
    assert cheapest(x, weight, m, geometry) == "mixed"
    monkeypatch.setattr(realisation, "MIXED_VALUES", 2 * 64 * 64 * 9 - 1)
    assert cheapest(x, weight, m, geometry) == "banks"
