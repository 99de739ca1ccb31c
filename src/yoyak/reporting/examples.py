"""The dialogues that are shown in full: which ones, their texts, and the members' summaries of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from yoyak import project
from yoyak.data.records import Dialogue
from yoyak.errors import UserError
from yoyak.korean.masks import MASK
from yoyak.reporting.differences import Segment, compare, nearest_reference
from yoyak.reporting.view import Example, Output
from yoyak.scoring.metrics import METRICS
from yoyak.scoring.results import Part

SHOWN_CHARS = 4000
"""A longer dialogue is cut after a turn, so that a huge one does not bloat the page."""
SPEAKER = re.compile(rf"((?i:{MASK.pattern})|[^\s:#][^:#]{{0,24}}):\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A dialogue to show, and its rank among those of its part."""

    part: Part
    fname: str
    rank: str


def choose(table: pd.DataFrame, parts: Sequence[Part], best: str, count: int) -> tuple[Choice, ...]:
    """Return ``count`` dialogues, spread evenly over the test parts and, in each, over the best member's scores.

    A part's best and worst dialogue and those at even distances between them are chosen, so that none is picked by
    hand. Dev is left out, because models were chosen on it.
    """
    sliced = {part.split for part in parts if part.slice != "all"}
    wanted = [part for part in parts if part.split != "dev" and (part.slice == "all") != (part.split in sliced)]
    if not wanted:
        wanted = [part for part in parts if part.slice == "all"]
    scores = table[table["system"] == best]
    rows = [scores[_inside(scores, part)] for part in wanted]
    counts = _distribute(count, [len(part_rows) for part_rows in rows])
    choices: list[Choice] = []
    for part, part_rows, part_count in zip(wanted, rows, counts, strict=True):
        ordered = part_rows.sort_values(["combined", "fname"], ascending=[False, True], kind="stable")
        names = ordered["fname"].tolist()
        for number in range(part_count):
            index = 0 if part_count == 1 else round(number * (len(names) - 1) / (part_count - 1))
            choices.append(Choice(part=part, fname=names[index], rank=_rank(index, len(names))))
    return tuple(choices)


def _inside(scores: pd.DataFrame, part: Part) -> pd.Series[bool]:
    inside = scores["split"] == part.split
    return inside if part.slice == "all" else inside & (scores["slice"] == part.slice)


def _distribute(count: int, sizes: Sequence[int]) -> list[int]:
    """Distribute ``count`` evenly over parts of these sizes."""
    counts = [0] * len(sizes)
    for _ in range(min(count, sum(sizes))):
        with_room = (part for part, size in enumerate(sizes) if counts[part] < size)
        counts[min(with_room, key=counts.__getitem__)] += 1
    return counts


def _rank(index: int, n: int) -> str:
    if index == 0:
        return "best"
    if index == n - 1:
        return "worst"
    if index in ((n - 1) // 2, n // 2):
        return "median"
    return f"rank {index + 1} of {n}"


def read_dialogues(root: Path, choices: Sequence[Choice]) -> dict[tuple[str, str], Dialogue]:
    """Return the chosen rows of the prepared splits by split and fname."""
    dialogues = {}
    for split, wanted in _by_split(choices).items():
        name = project.split_file(split).as_posix()
        for value in _read_lines(root, name, "prepare"):
            if value["fname"] in wanted:
                dialogues[split, value["fname"]] = Dialogue(**{**value, "summaries": tuple(value["summaries"])})
        _check_complete(wanted, {fname for where, fname in dialogues if where == split}, name)
    return dialogues


def read_summaries(root: Path, folder: str, stage: str, choices: Sequence[Choice]) -> dict[tuple[str, str], str]:
    """Return the first candidate in a folder for each chosen dialogue by split and fname; empty where there is none.

    ``folder`` is that of a member's predictions or of an ensemble, ``stage`` the stage that writes it.
    """
    summaries = {}
    for split, wanted in _by_split(choices).items():
        name = f"{folder}/{split}.jsonl"
        for value in _read_lines(root, name, stage):
            if value["fname"] in wanted:
                summaries[split, value["fname"]] = value["candidates"][0]["text"] if value["candidates"] else ""
        _check_complete(wanted, {fname for where, fname in summaries if where == split}, name)
    return summaries


def assemble(
    table: pd.DataFrame,
    choices: Sequence[Choice],
    texts: Mapping[tuple[str, str], Dialogue],
    outputs: Mapping[str, Mapping[tuple[str, str], str]],
) -> tuple[Example, ...]:
    """Return the examples, every output compared with its nearest reference."""
    wanted = {choice.fname for choice in choices}
    rows = table[table["fname"].isin(wanted) & table["system"].isin(set(outputs))]
    scores = {
        (str(row["split"]), str(row["fname"]), str(row["system"])): {name: float(row[name]) for name in METRICS}
        for row in rows.to_dict("records")
    }
    assembled = []
    for choice in choices:
        row = texts[choice.part.split, choice.fname]
        turns, more = _turns(row.dialogue)
        assembled.append(
            Example(
                part=choice.part,
                fname=choice.fname,
                topic=row.topic,
                rank=choice.rank,
                turns=turns,
                more_turns=more,
                references=row.summaries,
                outputs=tuple(
                    _output(
                        member,
                        row.summaries,
                        summaries[choice.part.split, choice.fname],
                        scores.get((choice.part.split, choice.fname, member), {}),
                    )
                    for member, summaries in outputs.items()
                ),
            )
        )
    return tuple(assembled)


def _output(member: str, references: Sequence[str], summary: str, scores: Mapping[str, float]) -> Output:
    nearest = nearest_reference(references, summary)
    segments = compare(references[nearest], summary) if nearest >= 0 else (Segment(kind="same", text=summary),)
    return Output(member=member, segments=segments, reference=nearest, scores=scores)


def _turns(dialogue: str) -> tuple[tuple[tuple[str, str], ...], int]:
    """Return the turns to show as (speaker, words), and the number of further ones."""
    lines = dialogue.split("\n")
    shown: list[tuple[str, str]] = []
    chars = 0
    for line in lines:
        chars += len(line)
        if chars > SHOWN_CHARS and shown:
            break
        match = SPEAKER.match(line)
        words = line[match.end() :] if match else line
        room = SHOWN_CHARS + len(words) - chars
        shown.append((match.group(1) if match else "", words if len(words) <= room else words[:room] + " …"))
    return tuple(shown), len(lines) - len(shown)


def _by_split(choices: Sequence[Choice]) -> dict[str, set[str]]:
    by_split: dict[str, set[str]] = {}
    for choice in choices:
        by_split.setdefault(choice.part.split, set()).add(choice.fname)
    return by_split


def _read_lines(root: Path, name: str, stage: str) -> Iterator[dict[str, Any]]:
    try:
        with (root / name).open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    yield json.loads(line)
                except json.JSONDecodeError as error:
                    raise UserError(
                        f"{name}, line {number}: not valid JSON ({error}): run the {stage} stage again."
                    ) from error
    except FileNotFoundError:
        raise UserError(f"{name} is missing: run the {stage} stage first (dvc repro {stage}).") from None


def _check_complete(wanted: set[str], present: set[str], name: str) -> None:
    missing = sorted(wanted - present)
    if missing:
        raise UserError(
            f"{name} has no line for dialogue '{missing[0]}', which evaluation/dialogues.csv scores: "
            "run the stages before the report again (dvc repro)."
        )
