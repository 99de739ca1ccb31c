"""yoyak samples: write generated Korean sample dialogues."""

from __future__ import annotations

import sys

from yoyak.files import atomic_path


def run(n: int = 1000, seed: int = 20, output: str = "-") -> None:
    """Write ``n`` rows to ``output`` (``-``: standard output)."""
    from yoyak.data.samples import write_samples

    if output == "-":
        write_samples(sys.stdout, n, seed)
    else:
        with atomic_path(output) as work, work.open("w", encoding="utf-8", newline="") as out:
            write_samples(out, n, seed)
