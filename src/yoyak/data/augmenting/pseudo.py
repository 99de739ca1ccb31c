"""Summaries that an earlier run's models wrote, of unlabelled dialogues and of those of train, as training rows."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path

from yoyak import params
from yoyak.data.cleaning import clean_line
from yoyak.data.keys import dialogue_key
from yoyak.data.preparing import read_input
from yoyak.data.records import Dialogue
from yoyak.errors import UserError
from yoyak.korean.facts import find_made_up
from yoyak.params.augmentation import PseudoLabels

METHOD = "pseudo_labels"
TRAIN_METHOD = "train_summaries"
"""Of rows whose dialogue is one of train."""
REPEATED_WORDS = 4
"""A summary that has so many words in a row twice repeats itself."""


def read_pseudo_labels(data: params.Data, settings: PseudoLabels) -> list[Dialogue]:
    """Return the dialogues with their summaries; those that have none have an empty one.

    Raises UserError if a file is missing or has other columns.
    """
    if settings.dialogues is None or settings.summaries is None:
        return []
    dialogues = _find_file(data, "dialogues", settings.dialogues)
    summaries = _read_summaries(_find_file(data, "summaries", settings.summaries))
    rows = read_input(dialogues, data, Path(settings.dialogues).stem)
    return [replace(row, summaries=(summaries.get(row.fname, ""),)) for row in rows]


def read_train_summaries(data: params.Data, settings: PseudoLabels, train: Iterable[Dialogue]) -> list[Dialogue]:
    """Return the rows of train with the summaries of the file in place of the references; "" where it has none.

    Raises UserError if the file is missing, has other columns, or has no summary of any row.
    """
    if settings.train_summaries is None:
        return []
    path = _find_file(data, "train_summaries", settings.train_summaries)
    summaries = _read_summaries(path)
    rows = [replace(row, summaries=(summaries.get(row.fname, ""),)) for row in train]
    if not any(row.fname in summaries for row in rows):
        raise UserError(
            f"augmentation.pseudo_labels.train_summaries: {path} has no summary of any row of train; its column fname "
            "has to have the ids of train's rows."
        )
    return rows


def filter_pseudo_labels(
    rows: Collection[Dialogue],
    splits: dict[str, str],
    settings: PseudoLabels,
    reasons: Counter[str],
    method: str = METHOD,
) -> list[Dialogue]:
    """Return the rows that are good enough to train on; ``reasons`` counts why others are left out.

    Args:
        splits: By key of a dialogue: the split that has it, if no row may.
        method: `METHOD`, or `TRAIN_METHOD` for rows that have the ids of those of train.
    """
    known, kept = dict(splits), []
    made_up = find_made_up([row.summaries[0] for row in rows], [row.dialogue for row in rows])
    for row, found in zip(rows, made_up, strict=True):
        key, summary = dialogue_key(row.dialogue), row.summaries[0]
        reason = ""
        if not row.dialogue or not summary:
            reason = "no dialogue" if not row.dialogue else "no summary"
        elif key in known:
            reason = f"also in {known[key]}"
        elif len(summary) > settings.max_length_share * len(row.dialogue):
            reason = "too long a summary"
        elif _repeats(summary):
            reason = "the summary repeats itself"
        elif any(found.values()):
            reason = "a mask, number or name that the dialogue does not have"
        if reason:
            reasons[reason] += 1
            continue
        known[key] = "an earlier row"
        source = row.fname if method == TRAIN_METHOD else ""
        kept.append(replace(row, fname=f"{row.fname}~{method}", group="", source=source, method=method))
    return kept


def _find_file(data: params.Data, key: str, name: str) -> Path:
    path = Path(data.folder, name)
    if not path.is_file():
        raise UserError(f"augmentation.pseudo_labels.{key}: {path} does not exist.")
    return path


def _read_summaries(path: Path) -> dict[str, str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if not {"fname", "summary"} <= set(reader.fieldnames or ()):
                raise UserError(f"{path} needs the columns fname and summary, as `yoyak summarize` writes them.")
            return {row["fname"]: clean_line(row["summary"] or "")[0] for row in reader}
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as CSV in UTF-8 ({error}).") from error


def _repeats(summary: str) -> bool:
    words = summary.split()
    runs = [tuple(words[start : start + REPEATED_WORDS]) for start in range(len(words) - REPEATED_WORDS + 1)]
    return len(set(runs)) < len(runs)
