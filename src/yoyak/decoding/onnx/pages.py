"""Weights on large pages of memory.

Each step of a decoder reads all of its weights. On pages of 4 KB the processor spends a part of that time on finding
out where each of them is; on pages of 2 MB it does not. Linux gives a process such pages by itself only if it is set up
to do so.
"""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

PAGE = 2 * 2**20
COLLAPSE = 25
"""MADV_COLLAPSE of Linux 6.1: move memory that is in use to large pages now, if there are some."""
MAPS = Path("/proc/self/maps")
ANONYMOUS = re.compile(r"([0-9a-f]+)-([0-9a-f]+) rw-p 00000000 00:00 0\s*(?:\[heap\])?")


def use_large_pages() -> int:
    """Ask the kernel to move what the process has allocated to large pages; return for how many bytes.

    It moves what it can and has time for. On other systems, and before Linux 6.1, nothing happens.
    """
    if not MAPS.is_file():
        return 0
    advise = ctypes.CDLL(None).madvise
    asked = 0
    for line in MAPS.read_text(encoding="utf-8").splitlines():
        found = ANONYMOUS.fullmatch(line)
        if found is None:
            continue
        first, end = (int(address, 16) for address in found.groups())
        first, end = -(-first // PAGE) * PAGE, end // PAGE * PAGE
        if first < end:
            # What cannot be moved stays where it is: an error changes nothing.
            advise(ctypes.c_void_p(first), ctypes.c_size_t(end - first), COLLAPSE)
            asked += end - first
    return asked
