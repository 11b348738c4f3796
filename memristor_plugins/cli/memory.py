"""Allocator settings of long CPU runs."""

from __future__ import annotations

import ctypes
import platform

# Parameters of glibc's mallopt(3).
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


def keep_buffers() -> None:
    """Let glibc keep large buffers instead of returning them after each operation; elsewhere nothing is done.

    Every activation would otherwise be fresh pages, and faulting them in costs more than the batch norm that fills
    them: 13.3 ms against 6.2 ms for a batch of 256 on two cores.
    """
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL("libc.so.6")
    libc.mallopt(M_MMAP_MAX, 0)
    libc.mallopt(M_TRIM_THRESHOLD, -1)  # never: steps that hold more than any threshold would fault it in anew
    libc.mallopt(M_TOP_PAD, 64 << 20)
