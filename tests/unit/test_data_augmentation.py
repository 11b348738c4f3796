"""The draws of a training batch: what they are keyed by, and their distributions."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from memristor_plugins.datamodules.augmentation import Augmentation, Draws, coin
from memristor_plugins.datamodules.keyed import keyed_generator
from memristor_plugins.errors import ConfigError

INDEX = torch.arange(2_000)


def augmentation(**changes: Any) -> Augmentation:
    values: dict[str, Any] = {"crop_padding": 3, "flip": "random", "cutout": 5, "height": 8, "width": 12}
    return Augmentation(**(values | changes))


def same(a: Draws, b: Draws) -> list[bool]:
    return [torch.equal(x, y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]


def test_the_same_key_draws_the_same_again() -> None:
    first = augmentation().draw(INDEX, seed=3, epoch=5, batch=7)
    torch.manual_seed(99)
    assert same(first, augmentation().draw(INDEX, seed=3, epoch=5, batch=7)) == [True] * 3


@pytest.mark.parametrize("other", [(4, 5, 7), (3, 6, 7), (3, 5, 8), (5, 3, 7), (3, 57, 0)])
def test_another_key_draws_something_else(other: tuple[int, int, int]) -> None:
    first = augmentation().draw(INDEX, seed=3, epoch=5, batch=7)
    seed, epoch, batch = other
    assert same(first, augmentation().draw(INDEX, seed=seed, epoch=epoch, batch=batch)) == [False] * 3


def test_keys_do_not_run_into_each_other() -> None:
    firsts = {
        int(torch.randint(2**62, (), generator=keyed_generator(purpose, *key)))
        for purpose in ("a", "a/1")
        for key in [(1, 23), (12, 3), (1, 2, 3), (123,), (23,)]
    }
    # "a/1" with (23,) is "a" with (1, 23): purposes that end in a number are not used
    assert len(firsts) == 9


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    augmentation().draw(INDEX, seed=0, epoch=0, batch=0)
    augmentation(flip="alternating").draw(INDEX, seed=0, epoch=0, batch=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_offsets_reach_every_shift_equally_often() -> None:
    offsets = augmentation().draw(INDEX, seed=0, epoch=0, batch=0).offsets
    assert offsets is not None
    counts = torch.stack([torch.bincount(offsets[:, axis], minlength=7) for axis in (0, 1)])
    assert counts.shape == (2, 7)
    # 2,000 draws over 7 shifts: 286 each, standard deviation 15.6; five of them
    assert ((counts - 2_000 / 7).abs() < 78).all()
    assert not torch.equal(offsets[:, 0], offsets[:, 1])


def test_centres_cover_the_whole_image() -> None:
    centres = augmentation().draw(INDEX, seed=0, epoch=0, batch=0).centres
    assert centres is not None
    assert set(centres[:, 0].tolist()) == set(range(8))
    assert set(centres[:, 1].tolist()) == set(range(12))


def test_random_flips_are_fair() -> None:
    flips = augmentation().draw(INDEX, seed=0, epoch=0, batch=0).flips
    assert flips is not None
    # standard deviation 22.4 of 2,000 draws; five of them
    assert abs(int(flips.sum()) - 1_000) < 112


def test_switching_one_off_leaves_the_others_alone() -> None:
    whole = augmentation().draw(INDEX, seed=0, epoch=0, batch=0)
    without = augmentation(crop_padding=0, flip="none").draw(INDEX, seed=0, epoch=0, batch=0)
    assert without.offsets is None
    assert without.flips is None
    assert without.centres is not None
    assert whole.centres is not None
    assert torch.equal(whole.centres, without.centres)


def test_everything_off_draws_nothing() -> None:
    nothing = augmentation(crop_padding=0, flip="none", cutout=0).draw(INDEX, seed=0, epoch=0, batch=0)
    assert nothing == Draws(None, None, None)


def test_alternating_shows_the_other_side_in_the_next_epoch() -> None:
    alternating = augmentation(flip="alternating")
    flips = [alternating.draw(INDEX, seed=1, epoch=epoch, batch=epoch).flips for epoch in range(4)]
    assert flips[0] is not None
    assert flips[1] is not None
    assert torch.equal(flips[0], ~flips[1])
    assert flips[2] is not None
    assert torch.equal(flips[0], flips[2])
    assert abs(int(flips[0].sum()) - 1_000) < 112


def test_the_coin_belongs_to_the_image_and_the_seed() -> None:
    whole = coin(INDEX, seed=4)
    order = torch.randperm(2_000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(coin(order, seed=4), whole[order])
    # two independent fair coins agree in half of the cases
    assert abs(int((whole == coin(INDEX, seed=5)).sum()) - 1_000) < 112
    # neighbours must not be related, or whole classes of a sorted file would be mirrored together
    assert abs(int((whole[1:] == whole[:-1]).sum()) - 1_000) < 112


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop_padding": -1}, "data.crop_padding: -1 is too small; the nearest valid value is 0"),
        ({"crop_padding": 8}, "data.crop_padding: 8 is too large; the nearest valid value is 7"),
        ({"flip": "alternate"}, "data.flip: 'alternate' is unknown; did you mean 'alternating'?"),
        ({"cutout": 9}, "data.cutout: 9 is too large; the nearest valid value is 8"),
        ({"cutout": 1.5}, "data.cutout: expected an integer, got 1.5"),
    ],
)
def test_settings_outside_their_range_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        augmentation(**changes)
    assert str(raised.value) == message
