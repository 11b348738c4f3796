"""How kernels route: statistics of bank coefficients, what a constant routing looks like, the permuted control."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from memristor_plugins.crossbar.modulated import ModulatedConv2d
from memristor_plugins.errors import ConfigError, SimulationError
from memristor_plugins.interfaces.kernel import Modulation
from memristor_plugins.kernels.heterosynaptic import Heterosynaptic
from memristor_plugins.kernels.odconv import ODConv
from memristor_plugins.kernels.static import Static
from memristor_plugins.kernels.weight_net import WeightNet
from memristor_plugins.models.routing import LayerRouting, kernels, permuted, routing, table
from memristor_plugins.reporting.routing import routing as figure


def batches() -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        labels = torch.randint(0, 4, (20,), generator=generator)
        level = (1 + labels.float())[:, None, None, None]
        yield level * torch.rand(20, 6, 5, 5, generator=generator), labels


def network(**options: Any) -> nn.Sequential:
    torch.manual_seed(0)
    strategy = Heterosynaptic(banks=3, **options)
    first = ModulatedConv2d(Static(), 6, 8, 3)
    return nn.Sequential(first, nn.ReLU(), ModulatedConv2d(strategy, 8, 5, 3)).eval()


def test_coefficients_are_those_of_the_kernels() -> None:
    net = network()
    (found,) = routing(net, batches())
    assert found.layer == "2"
    images = torch.cat([x for x, _ in batches()])
    with torch.no_grad():
        expected = net[2].kernel.modulate(net[:2](images)).bank
    torch.testing.assert_close(found.coefficients, expected)
    assert torch.equal(found.labels, torch.cat([y for _, y in batches()]))
    assert not net[2].kernel._forward_hooks
    assert len(routing(net, batches(), limit=30)[0].labels) == 40  # whole batches


def test_routing_that_follows_the_image_is_told_from_one_that_does_not() -> None:
    """The check that routing has not collapsed: it fails for gains that are the same for every image."""

    def follows(found: list[LayerRouting]) -> bool:
        return bool(found) and all(float(layer.spread.max()) > 1e-3 for layer in found)

    assert follows(routing(network(), batches()))
    assert not follows(routing(network(constant=True), batches()))
    dead = network()
    with torch.no_grad():
        dead[2].kernel.routing.expand.weight.zero_()
    assert not follows(routing(dead, batches()))
    assert float(routing(dead, batches())[0].between_class_share.max()) == 0


def test_statistics_by_hand() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    of = LayerRouting("a", torch.tensor([[1.0, 3.0], [1.0, 1.0], [3.0, 3.0], [3.0, 1.0]]), labels)
    torch.testing.assert_close(of.spread, torch.tensor([1.0, 1.0], dtype=torch.float64))
    # The first bank tells the classes apart, the second does not.
    torch.testing.assert_close(of.between_class_share, torch.tensor([1.0, 0.0], dtype=torch.float64))
    p = [(0.25, 0.75), (0.5, 0.5), (0.5, 0.5), (0.75, 0.25)]
    assert of.entropy == pytest.approx(-sum(a * math.log(a) + b * math.log(b) for a, b in p) / 4 / math.log(2))
    assert LayerRouting("a", torch.eye(4), labels).entropy == 0
    assert LayerRouting("a", torch.full((4, 3), 0.5), labels).entropy == pytest.approx(1)
    rows = list(table([of], 3))
    assert [r[:3] for r in rows] == [("a", b, c) for b in (0, 1) for c in ("all", "0", "1")]
    assert rows[0][3:] == (4, 2.0, 1.0, 1.0, pytest.approx(of.entropy))
    assert rows[2][3:] == (2, 3.0, 0.0, "", "")


def test_a_static_network_has_nothing_to_tell() -> None:
    assert routing(nn.Sequential(ModulatedConv2d(Static(), 6, 8, 3)), batches()) == []


def test_permuted_gives_every_image_the_kernels_of_one_other() -> None:
    net = network()
    (x, _), *_ = batches()
    orders = []

    def keep(kernel: nn.Module, inputs: Any, m: Modulation) -> None:
        orders.append((kernel.modulate(inputs[0]).bank.detach(), m.bank.detach()))  # type: ignore[operator, union-attr]

    with torch.no_grad():
        plain = net(x)
        with permuted(net, seed=3):
            handle = net[2].kernel.register_forward_hook(keep)
            swapped = net(x)
            net(x)
        handle.remove()
        for own, given in orders:
            of = (given[:, None] - own[None]).abs().sum(dim=-1).argmin(dim=1)
            assert torch.equal(given, own[of])
            assert sorted(of.tolist()) == list(range(20))
            assert bool((of != torch.arange(20)).all())
        assert not torch.equal(orders[0][1], orders[1][1])  # another permutation for each batch
        assert not torch.allclose(plain, swapped)
        assert torch.equal(net(x), plain)
    assert not net._forward_pre_hooks


@pytest.mark.parametrize("strategy", [ODConv(2), WeightNet()])
def test_permuted_exchanges_every_factor(strategy: Any) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(ModulatedConv2d(strategy, 6, 5, 3)).eval()
    (x, _), *_ = batches()
    with torch.no_grad():
        m = net[0].kernel(x)
        with permuted(net):
            net(x)
            given = net[0].kernel(x)
        for name in m.factors:
            own, other = getattr(m, name), getattr(given, name)
            assert not torch.equal(own, other)
            torch.testing.assert_close(own.double().sum(dim=0), other.double().sum(dim=0))


def test_what_cannot_be_permuted_is_refused() -> None:
    for net in (nn.Sequential(ModulatedConv2d(Static(), 6, 8, 3)), network(constant=True)):
        with (
            pytest.raises(ConfigError, match=r"kernel_control: permuted needs kernels that follow"),
            permuted(net),
        ):
            pass
    net = network()
    with pytest.raises(SimulationError, match="a batch has one image"), permuted(net):
        net(torch.rand(1, 6, 5, 5))


def test_kernels_are_named_by_their_layers() -> None:
    assert list(kernels(network())) == ["0", "2"]


def test_the_figure_is_drawn(tmp_path: Path) -> None:
    (found,) = routing(network(), batches())
    means = [found.of_class(c).mean(dim=0) for c in range(4)]
    figure(tmp_path / "routing.png", [(f"layer {n}", found.coefficients, means, 0.3) for n in range(5)], "test")
    assert (tmp_path / "routing.png").stat().st_size > 10_000


def test_a_run_writes_its_routing(finished: Path) -> None:
    with (finished / "routing.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["layer", "bank", "class", "images", "mean", "std", "between_class_share", "entropy"]
    every = [r for r in rows if r["class"] == "all"]
    assert {r["bank"] for r in every} == {"0", "1"}
    assert len({r["layer"] for r in every}) == 5  # VGG8 with a static first convolution
    assert all(0.26 <= float(r["mean"]) <= 1 for r in rows)
    # Not collapsed: in every layer some gain follows the image.
    for layer in {r["layer"] for r in every}:
        assert max(float(r["std"]) for r in every if r["layer"] == layer) > 1e-3
    assert all(0 <= float(r["between_class_share"]) <= 1 and 0 < float(r["entropy"]) <= 1 for r in every)
    assert (finished / "figures" / "routing.png").exists()


def test_evaluation_under_the_permuted_control(memristor: Callable[..., Any], finished: Path, tmp_path: Path) -> None:
    checkpoint = f"checkpoint={finished}/checkpoints/last.ckpt"
    short = ["chips=1", "energy=[]"]
    done = memristor(tmp_path, "evaluate", checkpoint, "kernel_control=permuted", "hydra.run.dir=p", *short)
    assert (done.code, done.err) == (0, "")
    shares = []
    for folder in (finished, tmp_path / "p"):
        with (folder / "routing.csv").open() as file:
            shares.append([float(r["between_class_share"]) for r in csv.DictReader(file) if r["class"] == "all"])
    assert sum(shares[1]) < sum(shares[0])
    wrong = memristor(tmp_path, "evaluate", checkpoint, "kernel_control=permute", "hydra.run.dir=q", *short)
    assert wrong.code == 2
    assert wrong.err == "error: kernel_control: must be one of none, permuted; did you mean 'permuted'?\n"
    assert not (tmp_path / "q").exists()
