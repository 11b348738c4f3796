"""Normals for read noise: two independent streams on the CPU, since a generator fills on one core only."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch
from torch import Generator, Tensor

# Fixed, not the core count: the same seed must give the same noise on every machine.
STREAMS = 2
SMALL = 1 << 14


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(STREAMS, thread_name_prefix="memristor-noise")


class NormalSource:
    """Standard normals from seeds of one parent generator."""

    def __init__(self, parent: Generator) -> None:
        seeds = torch.randint(0, 2**62, (STREAMS,), generator=parent, device=parent.device).tolist()
        self.streams = [Generator(device=parent.device).manual_seed(s) for s in seeds]

    def fill_(self, out: Tensor) -> Tensor:
        """Fill a dense tensor of any memory format in place and return it."""
        if out.device.type != "cpu" or out.numel() < SMALL:
            return out.normal_(generator=self.streams[0])
        inference = torch.is_inference_mode_enabled()  # a state of the thread, to be passed on

        def fill(part: Tensor, stream: Generator) -> None:
            with torch.inference_mode(inference), torch.no_grad():
                part.normal_(generator=stream)

        flat = out.as_strided((out.numel(),), (1,))
        list(_pool().map(fill, flat.chunk(STREAMS), self.streams))
        return out
