"""yoyak samples: write generated Korean sample dialogues."""

from __future__ import annotations

import sys

from yoyak.files import atomic_path


def run(n: int, seed: int, output: str, corpus: str | None) -> None:
    """Write ``n`` rows to ``output``, or the whole sample corpus into the folder ``corpus``."""
    from yoyak.data.samples import write_corpus, write_samples

    if corpus is not None:
        write_corpus(corpus, seed=seed)
    elif output == "-":
        write_samples(sys.stdout, n, seed)
    else:
        with atomic_path(output) as work, work.open("w", encoding="utf-8", newline="") as out:
            write_samples(out, n, seed)
