"""Weights on large pages of memory.

Each step of a decoder reads all of its weights. On pages of 4 KB the processor spends a part of that time on finding
out where each of them is; on pages of 2 MB it does not. Linux gives a process such pages by itself only if it is set up
to do so.
"""

from __future__ import annotations

import contextlib
import ctypes
import re
from collections.abc import Iterator
from pathlib import Path

PAGE = 2 * 2**20
COLLAPSE = 25
"""MADV_COLLAPSE of Linux 6.1: move memory that is in use to a large page now, if there is one."""
MAPS = Path("/proc/self/maps")
ANONYMOUS = re.compile(r"([0-9a-f]+)-([0-9a-f]+) rw-p 00000000 00:00 0\s*(?:\[heap\])?")


@contextlib.contextmanager
def large_pages() -> Iterator[None]:
    """Ask the kernel to move what is allocated meanwhile to large pages.

    It moves what it can. On other systems, and before Linux 6.1, nothing happens.
    """
    before = list_pages()
    yield
    for address in sorted(list_pages() - before):
        # What cannot be moved stays where it is: an error changes nothing.
        ctypes.CDLL(None).madvise(ctypes.c_void_p(address), ctypes.c_size_t(PAGE), COLLAPSE)


def list_pages() -> set[int]:
    """Return the addresses of the large pages that the memory of this process could be on, without files."""
    addresses: set[int] = set()
    for line in MAPS.read_text(encoding="utf-8").splitlines() if MAPS.is_file() else ():
        found = ANONYMOUS.fullmatch(line)
        if found is not None:
            first, end = (int(address, 16) for address in found.groups())
            addresses.update(range(-(-first // PAGE) * PAGE, end - PAGE + 1, PAGE))
    return addresses
