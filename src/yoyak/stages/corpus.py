"""yoyak corpus: write the whole sample corpus, the data of a fresh clone."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from yoyak.stages.arguments import Seed


def run(folder: Annotated[str, Parameter(help="Folder to write into.")], /, *, seed: Seed = 20) -> None:
    """Write train, dev, test and gate files into ``folder``."""
    from yoyak.data.samples import write_corpus

    write_corpus(folder, seed=seed)
