"""Generators from stable hashes: the same chip whatever the batch, the device or the order of the layers."""

from __future__ import annotations

from hashlib import blake2b

from torch import Generator


def derive(seed: int, layer: str, purpose: str) -> Generator:
    """A CPU generator for one purpose in one layer of one chip.

    Seeded with the first 63 bits of blake2b("seed/layer/purpose"), so that it is independent of every other one.
    """
    digest = blake2b(f"{seed}/{layer}/{purpose}".encode(), digest_size=8).digest()
    return Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
