"""Generators from stable hashes: the same chip whatever the batch, the device or the order of the layers."""

from __future__ import annotations

from hashlib import blake2b

import torch
from torch import Generator

from memristor_plugins.interfaces.normals import PooledGenerator


def derive(seed: int, layer: str, purpose: str, device: torch.device | str = "cpu", *, fast: bool = False) -> Generator:
    """A generator for one purpose in one layer of one chip.

    Seeded with the first 63 bits of blake2b("seed/layer/purpose"), so that it is independent of every other one. Chips
    use the CPU's, so that a seed gives the same chip everywhere; training steps draw where the layer stands, and
    `fast` from a pool on the CPU.
    """
    digest = blake2b(f"{seed}/{layer}/{purpose}".encode(), digest_size=8).digest()
    kind = PooledGenerator if fast and torch.device(device).type == "cpu" else Generator
    return kind(device).manual_seed(int.from_bytes(digest, "little") >> 1)
