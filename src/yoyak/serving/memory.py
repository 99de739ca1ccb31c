"""The memory that a server may use, and giving it back after a large request."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from yoyak.cpu import CGROUPS
from yoyak.serving import environment

SHARE = 0.5
"""Of the free memory, what searches may use; the rest is for everything else that runs."""
GROWTH = 64 << 20
"""Bytes by which a process has to have grown until it gives memory back: doing so takes some milliseconds."""


def search_memory(limit_mb: int) -> int:
    """Return the bytes that the search of a batch may use: the setting, or a share of what is free now."""
    if limit_mb:
        return limit_mb << 20
    workers = os.environ.get(environment.WORKERS, "1")
    return int(free_memory() * SHARE) // max(1, int(workers) if workers.isdigit() else 1)


def free_memory() -> int:
    """Return the bytes that are available, in the machine and in its container."""
    machine, container = _free_in_machine(), free_in_container(CGROUPS)
    return max(0, machine if container is None else min(machine, container))


def free_in_container(cgroups: Path) -> int | None:
    """Return the bytes that the limit of a container leaves; None without a limit.

    What it uses includes the files that it has read, such as a model's. Those that were not read lately do not count,
    since they give way to a search.

    Args:
        cgroups: Where the control groups are mounted.
    """
    # Version 2 of control groups, and version 1.
    for folder, limit, used, files in (
        (cgroups, "memory.max", "memory.current", "inactive_file"),
        (cgroups / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        with suppress(OSError, ValueError):
            free = int((folder / limit).read_text()) - int((folder / used).read_text())
            counts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            return free + int(counts.get(files, 0))
    return None


def resident_bytes() -> int:
    """Return how much memory this process has; 0 where that is unknown."""
    with suppress(OSError, ValueError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


class MemoryKeeper:
    """Gives memory back to the system once a process has grown."""

    def __init__(self) -> None:
        self.settled = resident_bytes()
        """What the process had when it last gave memory back."""

    def settle(self, release: Callable[[], object]) -> None:
        """Give back what is free, if that may be much. Call it when nothing is being computed.

        ``release`` is called before: it frees what a library keeps for itself.
        """
        resident = resident_bytes()
        if resident < self.settled + GROWTH:
            self.settled = min(self.settled, resident)
            return
        release()
        return_memory()
        self.settled = resident_bytes()


def return_memory() -> None:
    """Give memory that is free in this process back to the system, where its C library can."""
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> Any:
    """Return glibc's function that gives free memory back, or None: other libraries do so by themselves."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return None


def _free_in_machine() -> int:
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1]) << 10
    return int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
