"""Predicting a split: a model's candidates of each dialogue, written some dialogues at a time."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from yoyak.data.records import Dialogue, in_parts
from yoyak.decoding.candidates import open_candidates
from yoyak.decoding.summarizer import Summarizer, describe_reading_counts, texts_to_read
from yoyak.decoding.views import add_view_candidates
from yoyak.params import Generation

WINDOW = 4096
"""Dialogues that are encoded and decoded at once. Those of similar length share a batch, for which a few thousand are
as good as all of them; what is held of them does not grow with the split."""


@dataclass(slots=True, kw_only=True)
class Predicted:
    """What is known of a split once it was predicted."""

    dialogues: int = 0
    truncated: int = 0
    read: Counter[str] = field(default_factory=Counter)
    """How many dialogues were read in each way."""
    views: int = 0
    measures: Counter[str] = field(default_factory=Counter)
    """What else the summarizer told, such as its cost, added up."""

    def describe_readings(self) -> str:
        """Return what was done with dialogues that did not fit into the window, as a line of text; empty if all did."""
        return describe_reading_counts(self.read, self.truncated)


def predict_split(
    summarizer: Summarizer, rows: Collection[Dialogue], path: Path, *, generation: Generation, views: int, seed: int
) -> Predicted:
    """Write the candidates of each dialogue to ``path``, and after them those of up to ``views`` views of it."""
    result = Predicted()
    with open_candidates(path) as write:
        for part in in_parts(rows, WINDOW):
            if len(rows) > WINDOW:
                first = result.dialogues + 1
                print(
                    f"{path.stem}: dialogues {first:,} to {first + len(part) - 1:,} of {len(rows):,}", file=sys.stderr
                )
            dialogues = texts_to_read(summarizer, part)
            summaries = summarizer.summarize(dialogues, generation=generation, progress=True)
            candidates = summaries.candidates
            if views:
                candidates, made = add_view_candidates(
                    summarizer, dialogues, candidates, generation=generation, views=views, seed=seed
                )
                result.views += made
            write(zip([row.fname for row in part], candidates, strict=True), summaries.read)
            result.dialogues += len(part)
            result.truncated += summaries.truncated
            result.read.update(summaries.read)
            for name, value in summaries.measures.items():
                result.measures[name] += value  # type: ignore[assignment]
    return result
