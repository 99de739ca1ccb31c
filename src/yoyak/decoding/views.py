"""Test-time augmentation: candidates for slightly modified versions (views) of each dialogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from yoyak.data.augmenting.views import make_views
from yoyak.decoding.candidates import Candidate
from yoyak.decoding.summarizer import Summarizer
from yoyak.params import Generation


def add_view_candidates(
    summarizer: Summarizer,
    dialogues: Sequence[str],
    candidates: Sequence[list[Candidate]],
    *,
    generation: Generation,
    views: int,
    seed: int,
) -> tuple[list[list[Candidate]], int]:
    """Return each dialogue's candidates followed by those of its views, and the total number of views.

    A dialogue has at most ``views`` views: duplicates are dropped.
    """
    views_of_each = [make_views(dialogue, views, seed) for dialogue in dialogues]
    texts = [view for dialogue_views in views_of_each for view in dialogue_views]
    view_candidates = iter(summarizer.summarize(texts, generation=generation, progress=True).candidates)
    merged = []
    for original, dialogue_views in zip(candidates, views_of_each, strict=True):
        added = [
            replace(candidate, view=number)
            for number, _ in enumerate(dialogue_views, 1)
            for candidate in next(view_candidates)
        ]
        merged.append([*original, *added])
    return merged, len(texts)
