"""Strategies that run models: `soft` lets several generate together, `soup` averages their weights into one.

info = blend_splits("soft", strategy, folders, splits, out, generation=…, granularity="morpheme")
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from yoyak import project
from yoyak.data.records import Dialogue
from yoyak.decoding.candidates import Candidate
from yoyak.decoding.summarizer import Summarizer, texts_to_read
from yoyak.decoding.torch import TorchSummarizer
from yoyak.ensemble import soup, weights
from yoyak.ensemble.compatibility import check_same_architecture, load_members
from yoyak.ensemble.folds import make_folds, mean_of
from yoyak.ensemble.info import INFO_FILE
from yoyak.ensemble.soft import SoftSummarizer
from yoyak.ensemble.soft_weights import fit_weights
from yoyak.ensemble.target import score_texts
from yoyak.errors import UserError
from yoyak.files import write_json
from yoyak.params import Generation
from yoyak.params.ensemble import Soft, Soup
from yoyak.project import DEV


@dataclass(frozen=True, slots=True, kw_only=True)
class BlendInfo:
    """ensembles/<name>/info.json: a human-readable description of a strategy that runs models."""

    type: str
    method: str
    members: Sequence[str]
    weights: Mapping[str, float]
    """By member; they sum to one."""
    pass_through: bool
    """Whether a single member has all the weight."""
    cross_fitted: bool
    """Whether it learned from dev, so that each dev dialogue is summarized by a fit that has not seen it."""
    dev_scores: Mapping[str, float] | None = None
    """For weights by dev score: each member's."""
    steps: Sequence[soup.Step] = ()
    """The steps of a greedy soup."""
    truncated: Mapping[str, int]
    """By split: the number of truncated dialogues."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossFit:
    """A summarizer fitted to a part of dev, for rows that it has not seen."""

    held_out: Sequence[int]
    make_summarizer: Callable[[], Summarizer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Blend:
    """A summarizer that combines several models."""

    summarizer: Summarizer
    method: str
    weights: Mapping[str, float]
    cross_fits: Sequence[CrossFit] = ()
    """Used to summarize dev if something was learned there."""
    dev_scores: Mapping[str, float] | None = None
    steps: Sequence[soup.Step] = ()


def blend_splits(
    name: str,
    strategy: Soft | Soup,
    folders: Mapping[str, Path],
    splits: Mapping[str, Sequence[Dialogue]],
    out: Path,
    *,
    generation: Generation,
    granularity: str,
) -> BlendInfo:
    """Write the summaries of every split, the model of a soup and info.json into ``out``.

    Args:
        folders: The members' models.
        splits: Dialogues by split, ``dev`` among them.
        out: An existing folder.

    Raises UserError if there is no dev split or the members are incompatible.
    """
    if not splits.get(DEV):
        raise UserError("ensembles are fitted on the dev split, and there is none: see data.files and data.split.")
    where = f"ensemble.models.{name}"
    members = load_members(folders, where, generation.max_new_tokens)

    def score(summarizer: Summarizer) -> np.ndarray:
        return score_dialogues(summarizer, splits[DEV], generation, granularity)

    if isinstance(strategy, Soft):
        blend = _make_soft(strategy, members, splits[DEV], score)
    else:
        check_same_architecture(members, where)
        blend = _make_soup(name, strategy, members, splits[DEV], score, out / project.soup_folder(name).name)
    truncated = {}
    for split, rows in splits.items():
        candidates, truncated[split] = _summarize(blend, rows, generation, cross_fit=split == DEV)
        _write_candidates(out / f"{split}.jsonl", rows, candidates)
    info = BlendInfo(
        type=strategy.type,
        method=blend.method,
        members=strategy.members,
        weights=blend.weights,
        pass_through=sum(weight > 0 for weight in blend.weights.values()) == 1,
        cross_fitted=bool(blend.cross_fits),
        dev_scores=blend.dev_scores,
        steps=blend.steps,
        truncated=truncated,
    )
    write_json(out / INFO_FILE, asdict(info))
    return info


def score_dialogues(
    summarizer: Summarizer, dialogues: Sequence[Dialogue], generation: Generation, granularity: str
) -> np.ndarray:
    """Return [dialogues]: the combined ROUGE of greedy summaries, 0 to 1; ``generation`` applies except its beams."""
    greedy = generation.model_copy(update={"num_beams": 1, "num_return_sequences": 1})
    summaries = summarizer.summarize(texts_to_read(summarizer, dialogues), generation=greedy, progress=True)
    return score_texts(summaries.texts, [row.summaries for row in dialogues], granularity)


def _make_soft(
    strategy: Soft,
    members: Mapping[str, TorchSummarizer],
    dev: Sequence[Dialogue],
    score: Callable[[Summarizer], np.ndarray],
) -> Blend:
    """Determine the members' weights, and combine the members by soft voting."""

    def make_summarizer(member_weights: Mapping[str, float]) -> Summarizer:
        return SoftSummarizer([members[name] for name in member_weights], list(member_weights.values()))

    fold_weights: list[tuple[Sequence[int], Mapping[str, float]]] = []
    dev_scores = None
    if isinstance(strategy.weights, dict):
        all_weights = weights.normalised(strategy.weights, list(members))
    elif strategy.weights == "dev" and len(members) > 1:
        scores = {name: score(member) for name, member in members.items()}

        def by_score(rows: Sequence[int]) -> dict[str, float]:
            return weights.by_score({name: mean_of(values, rows) for name, values in scores.items()})

        all_weights = by_score(range(len(dev)))
        fold_weights = [(fold.held_out, by_score(fold.fitted_to)) for fold in make_folds([row.dialogue for row in dev])]
        dev_scores = {name: round(float(values.mean()), 6) for name, values in scores.items()}
    elif strategy.weights == "fit" and len(members) > 1:
        all_weights, fitted = fit_weights(members, dev)
        fold_weights.extend(fitted)
    else:
        all_weights = weights.equal(list(members))
    return Blend(
        summarizer=make_summarizer(all_weights),
        method="weighted mean of the members' next-token probabilities",
        weights=all_weights,
        cross_fits=[
            CrossFit(held_out=held_out, make_summarizer=partial(make_summarizer, member_weights))
            for held_out, member_weights in fold_weights
        ],
        dev_scores=dev_scores,
    )


def _make_soup(
    name: str,
    strategy: Soup,
    members: Mapping[str, TorchSummarizer],
    dev: Sequence[Dialogue],
    score: Callable[[Summarizer], np.ndarray],
    out: Path,
) -> Blend:
    """Average the members' weights, and save the model to ``out`` like a member."""
    chosen = soup.choose_ingredients(members, strategy.method, [row.dialogue for row in dev], score)

    def average(ingredients: soup.Ingredients) -> TorchSummarizer:
        return soup.average(name, [members[member] for member in ingredients])

    model = average(chosen.ingredients)
    soup.save(model, out)
    return Blend(
        summarizer=model,
        method=strategy.method,
        weights={m: 1 / len(chosen.ingredients) if m in chosen.ingredients else 0.0 for m in members},
        cross_fits=[
            CrossFit(held_out=held_out, make_summarizer=partial(average, ingredients))
            for ingredients, held_out in (chosen.cross_fits or {}).items()
        ],
        steps=chosen.steps,
    )


def _summarize(
    blend: Blend, rows: Sequence[Dialogue], generation: Generation, *, cross_fit: bool
) -> tuple[list[list[Candidate]], int]:
    """Return the candidates of each row, and the number of truncated dialogues."""
    parts = blend.cross_fits if cross_fit else ()
    candidates: dict[int, list[Candidate]] = {}
    truncated = 0
    for part in parts or [CrossFit(held_out=range(len(rows)), make_summarizer=lambda: blend.summarizer)]:
        summarizer = part.make_summarizer()
        texts = texts_to_read(summarizer, [rows[index] for index in part.held_out])
        summaries = summarizer.summarize(texts, generation=generation, progress=True)
        candidates |= zip(part.held_out, summaries.candidates, strict=True)
        truncated += summaries.truncated
    return [candidates[index] for index in range(len(rows))], truncated


def _write_candidates(path: Path, rows: Sequence[Dialogue], candidates: Sequence[Sequence[Candidate]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row, nbest in zip(rows, candidates, strict=True):
            line = {
                "fname": row.fname,
                "candidates": [{"text": candidate.text, "score": candidate.score} for candidate in nbest],
                "member": "",
                "rank": 0,
                "without": {},
            }
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
