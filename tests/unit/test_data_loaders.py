"""The batch loaders, without Lightning."""

from __future__ import annotations

import pytest
import torch

from memristor_plugins.datamodules.augmentation import Augmentation
from memristor_plugins.datamodules.images import Images
from memristor_plugins.datamodules.loaders import EvalBatches, RawBatch, TrainBatches

NOTHING = Augmentation(0, "none", 0, 4, 4)


def numbered(count: int) -> Images:
    """Images whose pixels and label are their number."""
    labels = torch.arange(count)
    return Images(labels.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous(), labels)


def train(count: int = 23, batch_size: int = 5, seed: int = 0, rank: int = 0, world: int = 1) -> TrainBatches:
    return TrainBatches(numbered(count), batch_size, seed, NOTHING, rank=rank, world_size=world)


def labels(batches: TrainBatches | list[RawBatch]) -> list[list[int]]:
    return [batch.labels.tolist() for batch in batches]


def test_an_epoch_has_equal_batches_and_no_image_twice() -> None:
    batches = list(train())
    assert len(batches) == len(train()) == 4
    seen = [label for batch in labels(batches) for label in batch]
    assert len(seen) == len(set(seen)) == 20
    assert seen != sorted(seen)
    for batch in batches:
        assert batch.pixels.shape == (5, 1, 4, 4)
        assert batch.pixels.dtype == torch.uint8
        assert torch.equal(batch.pixels[:, 0, 0, 0].long(), batch.labels)


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    def order(seed: int, epoch: int) -> list[list[int]]:
        loader = train(seed=seed)
        loader.sampler.set_epoch(epoch)
        return labels(loader)

    torch.manual_seed(1)
    first = order(0, 3)
    torch.manual_seed(2)
    assert order(0, 3) == first
    orders = [order(seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert all(a != b for i, a in enumerate(orders) for b in orders[:i])


def test_iterating_again_gives_the_same_epoch_again() -> None:
    loader = train()
    assert labels(loader) == labels(loader)


def test_an_iterator_made_before_set_epoch_serves_the_epoch_set() -> None:
    expected = train()
    expected.sampler.set_epoch(2)
    loader = train()
    iterator = iter(loader)
    loader.sampler.set_epoch(2)
    assert labels(list(iterator)) == labels(expected)


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    list(train())
    assert torch.equal(torch.get_rng_state(), before)


def test_processes_share_an_epoch_without_overlap() -> None:
    alone = labels(train(count=43))
    shares = [labels(train(count=43, rank=rank, world=3)) for rank in range(3)]
    assert [len(share) for share in shares] == [2, 2, 2]
    assert [shares[i % 3][i // 3] for i in range(6)] == alone[:6]


def test_processes_draw_what_one_process_would_draw() -> None:
    settings = Augmentation(2, "random", 2, 4, 4)
    alone = list(TrainBatches(numbered(20), 5, 0, settings))
    second = list(TrainBatches(numbered(20), 5, 0, settings, rank=1, world_size=2))
    assert alone[0].draws is not None
    for mine, whole in zip(second, alone[1::2], strict=True):
        for a, b in zip(mine.draws or (), whole.draws or (), strict=True):
            assert a is not None
            assert b is not None
            assert torch.equal(a, b)


def test_a_saved_state_goes_on_with_the_remaining_batches_once() -> None:
    loader = train()
    loader.sampler.set_epoch(6)
    iterator = iter(loader)
    head = [next(iterator), next(iterator)]
    state = loader.state_dict()
    whole = labels(head) + labels(list(iterator))

    other = train()
    other.load_state_dict(state)
    other.sampler.set_epoch(6)
    assert labels(other) == whole[2:]
    assert labels(other) == whole


def test_a_saved_state_of_another_epoch_is_no_head_start() -> None:
    loader = train()
    list(loader)
    other = train()
    other.load_state_dict(loader.state_dict())
    other.sampler.set_epoch(1)
    assert len(list(other)) == 4


def test_evaluation_sees_every_image_once_in_order() -> None:
    loader = EvalBatches(numbered(23), 5)
    batches = list(loader)
    assert len(batches) == len(loader) == 5
    assert [label for batch in batches for label in batch.labels.tolist()] == list(range(23))
    assert torch.equal(torch.cat([batch.pixels for batch in batches]), numbered(23).pixels)
    assert all(batch.draws is None for batch in batches)


def test_images_check_their_tensors() -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        Images(torch.zeros(2, 1, 4, 4), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"expected int64 \[2\]"):
        Images(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64))
