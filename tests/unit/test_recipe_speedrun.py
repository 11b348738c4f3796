"""What published speed runs do: whitening, dirac start, Muon, lookahead, six views."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from memristor_plugins.errors import ConfigError
from memristor_plugins.kernels.dynamic import Dynamic
from memristor_plugins.kernels.heterosynaptic import Heterosynaptic
from memristor_plugins.kernels.static import Static
from memristor_plugins.models.evaluation import six_views
from memristor_plugins.models.lookahead import Lookahead
from memristor_plugins.models.muon import Muon, orthogonalise
from memristor_plugins.models.recipe import Recipe, convolutions
from memristor_plugins.models.stem import EPSILON, Whitening, dirac
from memristor_plugins.models.vgg import VGG, blocks


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_whitened_patches_are_uncorrelated_with_variance_one() -> None:
    mixing = torch.tensor([[1.0, 0.6, 0.2], [0.0, 0.7, -0.4], [0.0, 0.0, 0.5]])
    smooth = F.avg_pool2d(random(64, 3, 20, 20), 3, stride=1)
    images = torch.einsum("ij,bjhw->bihw", mixing, smooth)
    images = images - images.mean(dim=(0, 2, 3), keepdim=True)
    stem = Whitening(3)
    stem.fit(images)
    out = stem(images)
    assert out.shape[1] == stem.channels == 24
    assert bool((out >= 0).all())
    torch.testing.assert_close(stem.conv.kernel.weight[0].flatten(1).norm(dim=1), torch.ones(12))
    whitened = (out[:, :12] - out[:, 12:]).double().transpose(0, 1).flatten(1)
    covariance = torch.cov(whitened)
    # variances lambda / (lambda + 5e-4), 1 but for the directions that hardly vary
    patches = F.unfold(images, 2).transpose(1, 2).flatten(0, 1).double()
    variances = torch.linalg.eigvalsh(torch.cov(patches.T)).flip(0)
    torch.testing.assert_close(covariance.diagonal(), variances / (variances + EPSILON), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(covariance, covariance.diagonal().diag(), rtol=0, atol=1e-3)


def test_a_stem_keeps_the_leading_components() -> None:
    images = F.avg_pool2d(random(64, 3, 20, 20), 3, stride=1)
    few, all_of_them = Whitening(3, 5), Whitening(3)
    few.fit(images)
    all_of_them.fit(images)
    expected = all_of_them(images)
    torch.testing.assert_close(few(images), torch.cat((expected[:, :5], expected[:, 12:17]), dim=1))
    with pytest.raises(ConfigError, match=r"model.stem_components: patches have 12 components, got 13; take 12"):
        Whitening(3, 13)
    with pytest.raises(ConfigError, match=r"model.stem_components: has no effect without model.stem=whitening"):
        VGG(Heterosynaptic(banks=2), (3, 32, 32), 10, stem_components=5)


def test_a_dirac_start_passes_inputs_through_and_banks_differ() -> None:
    x = random(2, 4, 5, 5)
    single = random(1, 6, 4, 3, 3)
    kept = single[0, 4:].clone()
    dirac(single)
    torch.testing.assert_close(F.conv2d(x, single[0], padding=1)[:, :4], x)
    torch.testing.assert_close(single[0, 4:], kept)
    several = random(3, 4, 4, 3, 3)
    before = several.clone()
    dirac(several)
    assert not torch.equal(several[0], several[1])
    identity = torch.zeros(4, 4, 3, 3)
    nn.init.dirac_(identity)
    torch.testing.assert_close(several, identity + 0.5 * before)


@pytest.mark.parametrize("shape", [(3, 8, 40), (2, 40, 8), (1, 12, 12)])
def test_orthogonalised_matrices_keep_their_singular_vectors(shape: tuple[int, int, int]) -> None:
    matrices = random(*shape)
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    found = orthogonalise(matrices, steps=5)
    inner = u.mT @ found @ v.mT
    diagonal = inner.diagonal(dim1=-2, dim2=-1)
    # square matrices have singular values near zero, which five steps raise only so far
    assert diagonal.max() < 1.3
    assert diagonal.min() > (0.1 if shape[1] == shape[2] else 0.6)
    assert (inner - torch.diag_embed(diagonal)).abs().max() < 0.08  # bfloat16


def test_muon_updates_banks_alone_and_sgd_the_rest() -> None:
    torch.manual_seed(0)
    network = VGG(Dynamic(banks=2), (3, 8, 8), 4, width=0.05)
    recipe = Recipe(optimizer="muon", lr=0.1, muon_lr=0.2, momentum=0.6, warmup=0.0)
    update = recipe.configure(network, 10)["optimizer"]
    assert isinstance(update, Muon)
    banks = convolutions(network)
    of = {id(p): g for g in update.param_groups for p in g["params"]}
    assert len(of) == sum(len(g["params"]) for g in update.param_groups) == len(list(network.parameters()))
    assert all(of[id(p)]["muon"] and of[id(p)]["initial_lr"] == 0.2 for p in banks)
    loss = F.cross_entropy(network(random(6, 3, 8, 8)), torch.tensor([0, 1, 2, 3, 0, 1]))
    loss.backward()
    classifier, weight = network.classifier.weight, banks[1]
    gradient, before = classifier.grad.clone(), classifier.detach().clone()
    decay = of[id(classifier)]["weight_decay"]
    start = weight.detach().clone()
    update.step()
    wanted = before - 0.1 * 1.6 * (gradient + decay * before)  # the first Nesterov step
    torch.testing.assert_close(classifier.detach(), wanted)
    scaled = start * weight.shape[1] ** 0.5 / start.flatten(2).norm(dim=(1, 2)).view(-1, 1, 1, 1, 1)
    moved = (scaled - weight.detach()).flatten(2) / 0.2
    assert torch.linalg.svdvals(moved).max() < 1.35
    assert weight.grad is not None


def test_muon_resumes_from_its_state() -> None:
    def steps(network: nn.Module, update: torch.optim.Optimizer, count: int, first: int) -> None:
        for step in range(first, first + count):
            update.zero_grad()
            network(random(4, 3, 8, 8, seed=step)).square().mean().backward()
            update.step()

    def made() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        network = VGG(Static(), (3, 8, 8), 4, width=0.05)
        return network, Recipe(optimizer="muon", lr=0.01, muon_lr=0.02).configure(network, 10)["optimizer"]

    whole, resumed = made(), made()
    steps(*whole, 4, 0)
    steps(*resumed, 2, 0)
    fresh = made()
    fresh[0].load_state_dict(resumed[0].state_dict())
    fresh[1].load_state_dict(resumed[1].state_dict())
    steps(*fresh, 2, 2)
    for one, other in zip(whole[0].parameters(), fresh[0].parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_lookahead_merges_slow_and_fast_weights() -> None:
    module = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    weight = module[0].weight
    weight.data.fill_(1.0)
    callback = Lookahead(every=2, decay=0.5)
    trainer = SimpleNamespace(global_step=0, estimated_stepping_batches=4)
    seen = []
    for step in range(1, 5):
        weight.data.add_(1.0)
        module[1].running_mean.add_(1.0)
        trainer.global_step = step
        if step == 3:  # as after an interruption
            state = callback.state_dict()
            callback = Lookahead(every=2, decay=0.5)
            callback.load_state_dict(state)
        callback.on_train_batch_end(trainer, module)  # type: ignore[arg-type]
        seen.append(float(weight.detach()))
    # Slow weights are first seen after the first step, 2; then d = 0.5 (2/4)^3 = 1/16 and, at the end, 1/2.
    second = 2 / 16 + 3 * 15 / 16
    assert seen == pytest.approx([2, second, second + 1, second / 2 + (second + 2) / 2])
    assert float(module[1].running_mean) != 4.0


def test_six_views_weigh_the_image_and_its_moved_copies() -> None:
    seen = []

    def network(x: torch.Tensor) -> torch.Tensor:
        seen.append(x)
        return x[:, 0, 2, 1:2]

    x = random(2, 1, 5, 5)
    found = six_views(network, x)  # type: ignore[arg-type]
    image = x[:, 0]
    near = 0.5 * (image[:, 2, 1] + image[:, 2, 3])
    up = 0.5 * (image[:, 1, 0] + image[:, 1, 2])  # moved down and right, then its mirror image
    down = 0.5 * (image[:, 3, 2] + image[:, 3, 4])
    torch.testing.assert_close(found[:, 0], 0.5 * near + 0.25 * (up + down))
    assert len(seen) == 6
    constant = torch.full((1, 1, 5, 5), 3.0)
    torch.testing.assert_close(six_views(network, constant), torch.full((1, 1), 3.0))  # type: ignore[arg-type]


def test_speed_run_proportions() -> None:
    network = VGG(
        Heterosynaptic(banks=2),
        (3, 32, 32),
        10,
        channels=[64, 256, 256],
        pool="first",
        stem="whitening",
        init="dirac",
        norm_scale=False,
        norm_momentum=0.4,
        head="max",
        width=0.25,
        round_to=4,
    )
    sides = []
    for part in network.features:
        if isinstance(part, nn.BatchNorm2d):
            part.register_forward_pre_hook(lambda _, x: sides.append(tuple(x[0].shape[1:3])))
            assert not part.weight.requires_grad
            assert part.bias.requires_grad
            assert part.momentum == 0.4
    network(random(2, 3, 32, 32))
    assert sides == [(16, 15), (16, 15), (64, 7), (64, 7), (64, 3), (64, 3)]
    assert network.stem is not None
    assert not network.stem.conv.kernel.weight.requires_grad


def test_channels_name_one_number_a_block() -> None:
    assert list(blocks(8, [4, 5, 6])) == [[4, 4], [5, 5], [6, 6]]
    with pytest.raises(ConfigError, match=r"model.channels: VGG8 has 3 blocks"):
        list(blocks(8, [4, 5]))
