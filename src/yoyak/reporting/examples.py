"""The dialogues that are shown in full: which ones, their text, and their summaries."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from yoyak import project
from yoyak.data.records import Dialogue
from yoyak.errors import UserError
from yoyak.files import read_json_lines
from yoyak.korean.masks import MASK
from yoyak.reporting.differences import Segment, compare, find_nearest_reference
from yoyak.reporting.view import Example, Output
from yoyak.scoring.metrics import METRICS
from yoyak.scoring.results import ALL, Part

MAX_DIALOGUE_CHARS = 4000
"""Longer dialogues are cut after a turn, so that a huge one does not bloat the page."""
SPEAKER = re.compile(rf"((?i:{MASK.pattern})|[^\s:#][^:#]{{0,24}}):\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A dialogue to show, and its rank within its part."""

    part: Part
    fname: str
    rank: str


def choose(table: pd.DataFrame, parts: Sequence[Part], best: str, count: int) -> tuple[Choice, ...]:
    """Return ``count`` dialogues, spread evenly over the test parts and, in each, over the best member's scores.

    The best and the worst dialogue of a part and those at even intervals between them are chosen; none is picked by
    hand. Dev is left out, because models were selected on it.
    """
    sliced = {part.split for part in parts if part.slice != ALL}
    shown = [part for part in parts if part.split != project.DEV and (part.slice == ALL) != (part.split in sliced)]
    if not shown:
        shown = [part for part in parts if part.slice == ALL]
    scores = table[table["system"] == best]
    rows = [scores[_is_in_part(scores, part)] for part in shown]
    counts = _distribute(count, [len(part_rows) for part_rows in rows])
    choices: list[Choice] = []
    for part, part_rows, part_count in zip(shown, rows, counts, strict=True):
        ordered = part_rows.sort_values(["combined", "fname"], ascending=[False, True], kind="stable")
        names = ordered["fname"].tolist()
        for number in range(part_count):
            index = 0 if part_count == 1 else round(number * (len(names) - 1) / (part_count - 1))
            choices.append(Choice(part=part, fname=names[index], rank=_describe_rank(index, len(names))))
    return tuple(choices)


def _is_in_part(scores: pd.DataFrame, part: Part) -> pd.Series[bool]:
    in_split = scores["split"] == part.split
    return in_split if part.slice == ALL else in_split & (scores["slice"] == part.slice)


def _distribute(count: int, sizes: Sequence[int]) -> list[int]:
    """Distribute ``count`` evenly over parts of these sizes."""
    counts = [0] * len(sizes)
    for _ in range(min(count, sum(sizes))):
        unfilled = (part for part, size in enumerate(sizes) if counts[part] < size)
        counts[min(unfilled, key=counts.__getitem__)] += 1
    return counts


def _describe_rank(index: int, n: int) -> str:
    if index == 0:
        return "best"
    if index == n - 1:
        return "worst"
    if index in ((n - 1) // 2, n // 2):
        return "median"
    return f"rank {index + 1} of {n}"


def scored(table: pd.DataFrame, system: str, choices: Sequence[Choice]) -> list[Choice]:
    """Return the choices that a system was scored on: a member may have summarized only a sample."""
    rows = table[table["system"] == system]
    known = set(zip(rows["split"], rows["fname"], strict=True))
    return [choice for choice in choices if (choice.part.split, choice.fname) in known]


def read_dialogues(root: Path, choices: Sequence[Choice]) -> dict[tuple[str, str], Dialogue]:
    """Return the chosen rows of the prepared splits by split and fname."""
    return {
        (split, fname): Dialogue(**{**row, "summaries": tuple(row["summaries"])})
        for split, fnames in _group_by_split(choices).items()
        for fname, row in _read_rows(root / project.split_file(split), "prepare", fnames).items()
    }


def read_summaries(root: Path, folder: str, stage: str, choices: Sequence[Choice]) -> dict[tuple[str, str], str]:
    """Return the first candidate for each chosen dialogue by split and fname; empty if there are no candidates.

    ``folder`` holds a member's predictions or an ensemble's summaries; ``stage`` is the stage that writes it.
    """
    return {
        (split, fname): row["candidates"][0]["text"] if row["candidates"] else ""
        for split, fnames in _group_by_split(choices).items()
        for fname, row in _read_rows(root / folder / f"{split}.jsonl", stage, fnames).items()
    }


def assemble(
    table: pd.DataFrame,
    choices: Sequence[Choice],
    texts: Mapping[tuple[str, str], Dialogue],
    outputs: Mapping[str, Mapping[tuple[str, str], str]],
) -> tuple[Example, ...]:
    """Return the examples, with each output compared with its most similar reference."""
    fnames = {choice.fname for choice in choices}
    rows = table[table["fname"].isin(fnames) & table["system"].isin(set(outputs))]
    scores = {
        (str(row["split"]), str(row["fname"]), str(row["system"])): {name: float(row[name]) for name in METRICS}
        for row in rows.to_dict("records")
    }
    examples = []
    for choice in choices:
        row = texts[choice.part.split, choice.fname]
        turns, more_turns = _split_into_turns(row.dialogue)
        examples.append(
            Example(
                part=choice.part,
                fname=choice.fname,
                topic=row.topic,
                rank=choice.rank,
                turns=turns,
                more_turns=more_turns,
                references=row.summaries,
                outputs=tuple(
                    _make_output(
                        member,
                        row.summaries,
                        summaries[choice.part.split, choice.fname],
                        scores.get((choice.part.split, choice.fname, member), {}),
                    )
                    for member, summaries in outputs.items()
                    if (choice.part.split, choice.fname) in summaries
                ),
            )
        )
    return tuple(examples)


def _make_output(member: str, references: Sequence[str], summary: str, scores: Mapping[str, float]) -> Output:
    nearest = find_nearest_reference(references, summary)
    segments = compare(references[nearest], summary) if nearest >= 0 else (Segment(kind="same", text=summary),)
    return Output(member=member, segments=segments, reference=nearest, scores=scores)


def _split_into_turns(dialogue: str) -> tuple[tuple[tuple[str, str], ...], int]:
    """Return the turns to show as (speaker, words), and how many are left out."""
    lines = dialogue.split("\n")
    shown: list[tuple[str, str]] = []
    chars = 0
    for line in lines:
        chars += len(line)
        if chars > MAX_DIALOGUE_CHARS and shown:
            break
        match = SPEAKER.match(line)
        words = line[match.end() :] if match else line
        room = MAX_DIALOGUE_CHARS + len(words) - chars
        shown.append((match.group(1) if match else "", words if len(words) <= room else words[:room] + " …"))
    return tuple(shown), len(lines) - len(shown)


def _group_by_split(choices: Sequence[Choice]) -> dict[str, set[str]]:
    by_split: dict[str, set[str]] = {}
    for choice in choices:
        by_split.setdefault(choice.part.split, set()).add(choice.fname)
    return by_split


def _read_rows(path: Path, stage: str, fnames: set[str]) -> dict[str, dict[str, Any]]:
    """Return the rows of these dialogues by fname. Raises UserError if the file or a row is missing."""
    try:
        rows = {row["fname"]: row for row in read_json_lines(path) if row["fname"] in fnames}
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run the {stage} stage first (dvc repro {stage}).") from None
    missing = sorted(fnames - rows.keys())
    if missing:
        raise UserError(
            f"{path} has no line for dialogue '{missing[0]}', which evaluation/dialogues.csv scores: "
            "run the stages before the report again (dvc repro)."
        )
    return rows
