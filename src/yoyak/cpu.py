"""The number of CPU cores that this process may use, and what the processor can do."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")
CPU_INFO = Path("/proc/cpuinfo")


def cores() -> int:
    """Return how many cores this process may use: those of its affinity, and no more than its container's quota."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(CGROUPS, OWN_CGROUPS)
    return available if quota is None else max(1, min(available, math.ceil(quota)))


def has_vnni(info: Path = CPU_INFO) -> bool:
    """Return whether the processor can multiply unsigned by signed bytes without overflow; False if it does not say."""
    flags = info.read_text(encoding="utf-8", errors="replace").split() if info.is_file() else []
    return bool({"avx512_vnni", "avx_vnni"} & set(flags))


def cpu_quota(cgroups: Path, own: Path) -> float | None:
    """Return the cores that the control groups of this process allow, which may be a fraction; None without a limit.

    Args:
        cgroups: Where the control groups are mounted.
        own: The file that names those of the process.
    """
    return min(_quotas(cgroups, own), default=None)


def _quotas(cgroups: Path, own: Path) -> Iterator[float]:
    """Yield the quota of each group that the process is in, up to the root: all of them apply."""
    try:
        lines = own.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            mount, read = cgroups, _read_v2
        elif "cpu" in controllers.split(","):
            mount = next((cgroups / name for name in (controllers, "cpu") if (cgroups / name).is_dir()), cgroups)
            read = _read_v1
        else:
            continue
        # In a container the path is that of the host, which is not mounted: the group is the root of the mount then.
        group = mount / path.lstrip("/")
        for folder in (group, *group.parents):
            quota = read(folder)
            if quota:
                yield quota
            if folder == mount:
                break


def _read_v2(folder: Path) -> float | None:
    try:
        quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _read_v1(folder: Path) -> float | None:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text(encoding="utf-8"))
        return quota / int((folder / "cpu.cfs_period_us").read_text(encoding="utf-8")) if quota > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None
