"""yoyak corpus: write the whole sample corpus, the data of a fresh clone."""

from __future__ import annotations


def run(folder: str, seed: int = 20) -> None:
    """Write train, dev and test files into ``folder``."""
    from yoyak.data.samples import write_corpus

    write_corpus(folder, seed=seed)
