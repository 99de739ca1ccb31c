"""How likely each member finds the candidates of all members: candidate_scores/<member>/<split>.jsonl.

A line has the fname of a dialogue and ``scores``, by text: the log-likelihood in nats per character, so that those of
members with other tokenizers can be averaged (`yoyak.decoding.likelihood`).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yoyak
from yoyak.data.records import DialogueFile, in_parts
from yoyak.decoding.likelihood import per_character
from yoyak.decoding.likelihood_store import find_or_score
from yoyak.decoding.summarizer import Scorer
from yoyak.ensemble.pool import Row, read_rows
from yoyak.errors import UserError
from yoyak.models.steps import add_topics
from yoyak.tracking import lineage

DIGITS = 6
WINDOW = 4096
"""Dialogues whose candidates are scored at once: those of similar length share a batch."""
CODE_PACKAGES = ("decoding", "korean", "models")
"""Packages of yoyak that decide a likelihood."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredCandidates:
    """How many candidates a member has scored."""

    candidates: int
    computed: int
    """Those that were not known from an earlier run."""


def identify_scorer(model: str) -> str:
    """Return a digest of all that decides a member's likelihoods: its files, the code, the libraries and the device.

    Args:
        model: The digest of its files.
    """
    package = Path(yoyak.__file__).parent
    paths = (path.relative_to(package) for name in CODE_PACKAGES for path in sorted((package / name).rglob("*.py")))
    parts = [model, lineage.source_digest(package, paths), lineage.versions(), lineage.device()]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def score_splits(
    load: Callable[[], Scorer],
    model: str,
    preprocessing: Sequence[str],
    splits: Path,
    predictions: Mapping[str, Path],
    out: Path,
) -> ScoredCandidates:
    """Write a member's score of every candidate of every split into ``out``, an existing folder with its name.

    Raises UserError if a score is not a finite number.

    Args:
        load: Loads the member; called once, and only if some candidates are new.
        model: A digest of all that decides its likelihoods, see `identify_scorer`.
        preprocessing: Its steps, which say whether it reads a dialogue with its topic.
        splits: Folder with the dialogues of each split.
        predictions: Folder of each member's candidates.
    """
    load_once = cache(load)
    candidates = computed = 0
    for path in sorted(splits.glob("*.jsonl")):
        rows = read_rows(path, {member: folder / path.name for member, folder in predictions.items()})
        with (out / path.name).open("w", encoding="utf-8", newline="\n") as file:
            for part in in_parts(zip(rows, DialogueFile(path), strict=True), WINDOW):
                texts = [distinct_texts(row) for row, _ in part]
                topics = [dialogue.topic for _, dialogue in part]
                dialogues = add_topics([row.dialogue for row, _ in part], topics, preprocessing)
                totals, new = find_or_score(load_once, model, dialogues, texts)
                candidates += sum(map(len, texts))
                computed += new
                for (row, _), row_texts, values in zip(part, texts, totals, strict=True):
                    if not all(map(math.isfinite, values)):
                        raise UserError(
                            f"members.{out.name} computes log-likelihoods of dialogue '{row.fname}' that are not "
                            "finite numbers: train it again, in fp32 if it overflows, or leave likelihoods out."
                        )
                    line = {"fname": row.fname, "scores": by_text(row_texts, values)}
                    file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return ScoredCandidates(candidates=candidates, computed=computed)


def distinct_texts(row: Row) -> list[str]:
    """Return the different texts of all candidates of a row."""
    return list(dict.fromkeys(candidate.text for nbest in row.candidates.values() for candidate in nbest))


def by_text(texts: Sequence[str], log_likelihoods: Sequence[float]) -> dict[str, float]:
    """Return the scores of the texts of a row, in nats per character."""
    return {text: round(per_character(value, text), DIGITS) for text, value in zip(texts, log_likelihoods, strict=True)}
