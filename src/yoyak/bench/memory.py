"""Memory of this process: what it holds, and the most that it held."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_mb() -> float:
    """Return the most resident memory since `forget_peak`, or since the start where that is not possible, in MB.

    Linux also has ``ru_maxrss``, which a process inherits from the one that started it: it would be the parent's.
    """
    with suppress(OSError):
        return _field("VmHWM")
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e6 / 1024)


def forget_peak() -> None:
    """Let `peak_mb` begin again with what is held now, where the system can (Linux)."""
    with suppress(OSError):
        _RESET.write_text("5")


def _field(name: str) -> float:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError(f"{_STATUS} has no {name}")
