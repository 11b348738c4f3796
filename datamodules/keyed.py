"""Random numbers from a key instead of a history: one key, the same numbers, at any time and anywhere."""

from __future__ import annotations

import hashlib

import torch


def keyed_generator(purpose: str, *key: int) -> torch.Generator:
    """A CPU generator seeded by a stable hash of (purpose, key).

    Seeds such as `seed + epoch` collide (seed 1, epoch 0 and seed 0, epoch 1); a hash of the tuple does not.
    Since nothing is carried from one key to the next, epoch e has the same numbers whether or not epochs
    0..e-1 ran.
    """
    text = "/".join((purpose, *map(str, key)))
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    # 63 bits: manual_seed rejects part of the unsigned 64-bit range on some versions
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
