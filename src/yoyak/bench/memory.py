"""Peak memory of this process."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_mb() -> float:
    """Return the peak resident memory in MB since `reset_peak`, or since the start where it cannot be reset.

    On Linux, ``ru_maxrss`` is inherited from the parent process, so it could be the parent's peak.
    """
    with suppress(OSError):
        return _read_status("VmHWM")
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e6 / 1024)


def reset_peak() -> None:
    """Reset the peak to the current memory, where the system supports it (Linux)."""
    with suppress(OSError):
        _RESET.write_text("5")


def _read_status(name: str) -> float:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError(f"{_STATUS} has no field {name}")
