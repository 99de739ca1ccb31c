"""Comparing the best member of a pipeline with the champion, dialogue by dialogue, on the dev set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from yoyak import project
from yoyak.params import Scoring
from yoyak.registration.dev import DevSet
from yoyak.registration.trainings import RegisteredTraining
from yoyak.registry import promotion
from yoyak.registry.promotion import GateResult
from yoyak.registry.resolve import resolve_model
from yoyak.registry.versions import Version
from yoyak.scoring.results import read_combined_scores


def challenge_champion(
    name: str, best: RegisteredTraining, dev: DevSet, *, scoring: Scoring, significance: float, seed: int
) -> GateResult | None:
    """Compare the best member with the champion of ``name``; None where there is none, or it is the same model."""
    champion = promotion.champion(name)
    if champion is None or champion.model_id == best.version.model_id:
        return None
    return promotion.gate(
        _evaluated_scores(best.member, dev),
        _score(_champion_summaries(champion, dev), dev, scoring),
        significance=significance,
        samples=scoring.bootstrap_samples,
        seed=seed,
    )


def _champion_summaries(champion: Version, dev: DevSet) -> list[str]:
    """Return the champion's summaries of dev: those that were kept, or new ones if it was evaluated on another set."""
    kept = promotion.champion_predictions(champion, dev.md5)
    if kept is not None:
        return [kept[row.fname] for row in dev.rows]
    from yoyak.decoding.loading import load_member

    summarizer = load_member(resolve_model(champion.uri))
    return summarizer.summarize([row.dialogue for row in dev.rows], progress=True).texts


def _evaluated_scores(member: str, dev: DevSet) -> np.ndarray:
    """Return the member's primary score of each dev dialogue, as `evaluate` wrote them."""
    scores = read_combined_scores(project.EVALUATION, split=project.DEV, system=member)
    return np.array([scores[row.fname] for row in dev.rows])


def _score(texts: Sequence[str], dev: DevSet, scoring: Scoring) -> np.ndarray:
    from yoyak.scoring.rouge import rouge

    return rouge(
        texts,
        [row.summaries for row in dev.rows],
        granularity=scoring.granularities[0],
        multi_reference=scoring.multi_reference,
        weights=scoring.weights,
    )["combined"]
