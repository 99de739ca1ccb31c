"""A strategy over every split of the pipeline: its summaries, and what they would be without each member."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import tee
from pathlib import Path
from typing import Any

from yoyak.data.records import read_jsonl
from yoyak.ensemble.combine import Combiner, Fitted, combine_each, fit
from yoyak.ensemble.pool import Outcome, Row, read_rows
from yoyak.errors import UserError
from yoyak.files import read_json_lines
from yoyak.params.ensemble import Mbr, OfCandidates, Stack

DEV = "dev"


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What `combine_splits` has made."""

    combiner: Combiner
    info: dict[str, Any]
    """What the strategy was given and chose from, for a person to read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A line of ensembles/<name>/<split>.jsonl."""

    text: str
    member: str
    """Who wrote the text; empty where it is made of several."""
    rank: int
    without: Mapping[str, str]
    """By member: the text that is made where this one is left out."""


def combine_splits(
    strategy: OfCandidates,
    prepared: Path,
    predictions: Mapping[str, Path],
    out: Path,
    *,
    granularity: str,
    processes: int,
    seed: int,
) -> Made:
    """Fit a strategy on dev and write its summaries of every split that was predicted to ``out``.

    Args:
        prepared: Folder with the splits' dialogues.
        predictions: Folder of each member's candidates.

    Raises UserError where there is no dev split or a prediction is missing.
    """
    if not (prepared / f"{DEV}.jsonl").is_file():
        raise UserError("ensembles are fitted on the dev split, and there is none: see data.files and data.split.")
    dev = read_jsonl(prepared / f"{DEV}.jsonl")
    if not dev:
        raise UserError("ensembles are fitted on the dev split, and it is empty: see data.files and data.split.")
    rows = list(read_rows(prepared / f"{DEV}.jsonl", _files(predictions, DEV)))
    references = [row.summaries for row in dev]
    members = list(predictions)

    def fitted(part: Sequence[str]) -> Fitted:
        return fit(strategy, part, rows, references, granularity=granularity, seed=seed)

    whole = fitted(members)
    others = {left: fitted([m for m in members if m != left]) for left in members} if len(members) > 1 else {}
    counts = {"dialogues": 0, "candidates": 0, "different": 0, "repaired_scores": 0}
    for path in sorted(prepared.glob("*.jsonl")):
        if path.stem == "train":
            continue
        files = _files(predictions, path.stem)
        every = {"": whole, **others}
        combined, counted = tee(read_rows(path, files))
        outcomes: Iterable[tuple[Outcome, ...]] = (
            zip(*(found.outcomes for found in every.values()), strict=True)
            if path.stem == DEV
            else combine_each([found.combiner for found in every.values()], combined, processes=processes)
        )
        with (out / path.name).open("w", encoding="utf-8", newline="\n") as file:
            for made, row in zip(outcomes, counted, strict=True):
                _count(counts, row, members)
                line = _line(row.fname, dict(zip(every, made, strict=True)))
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return Made(combiner=whole.combiner, info=_info(whole.combiner, counts))


def read_choices(path: Path) -> dict[str, Choice]:
    """Read ensembles/<name>/<split>.jsonl, keyed by fname in file order."""
    return {
        row["fname"]: Choice(
            text=row["candidates"][0]["text"], member=row["member"], rank=row["rank"], without=row["without"]
        )
        for row in read_json_lines(path)
    }


def _files(predictions: Mapping[str, Path], split: str) -> dict[str, Path]:
    return {member: folder / f"{split}.jsonl" for member, folder in predictions.items()}


def _line(fname: str, outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    chosen = outcomes[""]
    return {
        "fname": fname,
        "candidates": [{"text": chosen.text, "score": chosen.score}],
        "member": chosen.member,
        "rank": chosen.rank,
        "without": {member: outcome.text for member, outcome in outcomes.items() if member},
    }


def _count(counts: dict[str, int], row: Row, members: Sequence[str]) -> None:
    texts = [candidate.text for member in members for candidate in row.candidates[member]]
    counts["dialogues"] += 1
    counts["candidates"] += len(texts)
    counts["different"] += len(set(texts))
    counts["repaired_scores"] += row.repaired


def _info(combiner: Combiner, counts: Mapping[str, int]) -> dict[str, Any]:
    each = max(1, counts["dialogues"])
    return {
        **about_combiner(combiner),
        "candidates_per_dialogue": round(counts["candidates"] / each, 2),
        "different_per_dialogue": round(counts["different"] / each, 2),
        "dialogues": counts["dialogues"],
        "repaired_scores": counts["repaired_scores"],
    }


def about_combiner(combiner: Combiner) -> dict[str, Any]:
    """Return what a combiner chooses from and by what, for a person to read."""
    strategy = combiner.strategy
    about: dict[str, Any] = {"type": strategy.type, "granularity": combiner.granularity}
    if isinstance(strategy, Mbr):
        about["utility"] = _utility(strategy, combiner.granularity)
    kept = getattr(strategy, "candidates", None)
    reranking = f"the best {kept} of each member" if kept else "all of each member"
    return {
        **about,
        "members": list(combiner.weights),
        "weights": {member: round(weight, 6) for member, weight in combiner.weights.items()},
        "pass_through": combiner.pass_through,
        "candidates": reranking if isinstance(strategy, Mbr | Stack) else "the best of each member",
    }


def _utility(strategy: Mbr, granularity: str) -> str:
    rouge = "{:g} ROUGE-1 + {:g} ROUGE-2 + {:g} ROUGE-L".format(*strategy.rouge_weights) + f" by {granularity}"
    if strategy.utility == "mix":
        return f"{strategy.chrf_share:g} chrF + {1 - strategy.chrf_share:g} ({rouge})"
    return "chrF" if strategy.utility == "chrf" else rouge
