"""Summarizing one part: what every process does, whoever gave it the part.

The same part gives the same file, since its rows are batched in the same way wherever it is summarized.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from yoyak import params
from yoyak.batch_scoring.model import Answer, DialogueError, LoadedModel
from yoyak.batch_scoring.results import PartResult, Rejected, Summarized, write_part
from yoyak.batch_scoring.sources import Part, RawRow, columns_to_read, read_part
from yoyak.batch_scoring.storage import open_storage
from yoyak.data.cleaning import clean_row
from yoyak.data.parsing import Record
from yoyak.data.reading import ColumnMapping, map_columns, to_row
from yoyak.errors import UserError
from yoyak.models.steps import TOPIC, add_topics
from yoyak.serving.requests import find_problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is the same for all parts; every process gets a copy."""

    run: str
    """Digest of everything that decides the summaries: each part carries it."""
    input: str
    output: str
    data: params.Data
    serving: params.Serving
    """The model's limits on a dialogue."""
    model: str
    """The model's name in the output."""
    folder: Path
    """The MLflow model."""
    batch_size: int
    reads_topics: bool
    threads: int


@lru_cache(maxsize=1)
def load_model(folder: Path, threads: int) -> LoadedModel:
    """Return the model, which a process loads once."""
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    return LoadedModel(folder, threads)


def score_part(job: Job, part: Part, advance: Callable[[int], object] = lambda rows: None) -> PartResult:
    """Summarize a part and write it, with what was rejected of it.

    ``advance`` is called with the number of rows that are done, batch by batch.

    Raises UserError if the part cannot be read or written, or if the model fails on all of its dialogues, which is not
    theirs to blame then.
    """
    rows, rejected = _read_dialogues(job, part)
    advance(len(rejected))
    model = load_model(job.folder, job.threads)
    # The longest first: batches of dialogues of similar length have the least padding.
    order = sorted(range(len(rows)), key=lambda index: -len(rows[index].text))
    answers: dict[int, Answer] = {}
    for start in range(0, len(order), job.batch_size):
        batch = order[start : start + job.batch_size]
        answered, problems = _answer(model, [rows[index].text for index in batch])
        answers.update({batch[position]: answer for position, answer in answered.items()})
        rejected += [
            Rejected(rows[batch[position]].id, rows[batch[position]].row, problem)
            for position, problem in problems.items()
        ]
        advance(len(batch))
    if rows and not answers and len(rows) > 1:
        raise UserError(
            f"The model fails on each of the {len(rows)} dialogues of part {part.number}: {rejected[-1].reason}"
        )
    summarized = [
        Summarized(
            rows[index].id, rows[index].row, answer.summary, answer.truncated or rows[index].truncated, answer.read
        )
        for index, answer in sorted(answers.items())
    ]
    rejected.sort(key=lambda row: row.row)
    source = open_storage(job.input).show(part.source.path)
    return write_part(open_storage(job.output), job.run, job.model, source, part.number, summarized, rejected)


def _answer(model: LoadedModel, texts: Sequence[str]) -> tuple[dict[int, Answer], dict[int, str]]:
    """Return the answers of a batch and what is wrong with the others, by position.

    If the model fails on a batch, each dialogue is tried alone: that is rare, and tells which one it is.
    """
    try:
        return dict(enumerate(model.answer(texts))), {}
    except DialogueError as error:
        if len(texts) == 1:
            return {}, {0: str(error)}
    answers: dict[int, Answer] = {}
    problems: dict[int, str] = {}
    for position, text in enumerate(texts):
        try:
            [answers[position]] = model.answer([text])
        except DialogueError as error:
            problems[position] = str(error)
    return answers, problems


@dataclass(frozen=True, slots=True)
class _Row:
    id: str
    row: int
    text: str
    truncated: bool
    """Whether it was longer than any dialogue may be."""


def _read_dialogues(job: Job, part: Part) -> tuple[list[_Row], list[Rejected]]:
    """Return the dialogues of a part, cleaned as `yoyak summarize` cleans them, and the rows that have none."""
    storage = open_storage(job.input)
    name = storage.show(part.source.path)
    mapping = map_columns(part.source.columns, columns_to_read(job.data.columns), name, ())
    rows, rejected = [], []
    for raw in read_part(storage, part, job.data):
        try:
            rows.append(_read_dialogue(job, raw, mapping, name))
        except UserError as error:
            rejected.append(Rejected(_guess_id(raw, mapping), raw.number, str(error)))
    return rows, rejected


def _read_dialogue(job: Job, raw: RawRow, mapping: ColumnMapping, name: str) -> _Row:
    """Return the dialogue of a row. Raises UserError if there is none that the model could summarize."""
    if raw.problem:
        raise UserError(raw.problem)
    location = f"row {raw.number}"
    try:
        row = to_row(
            Record(location=location, fields=dict(raw.fields)), mapping, name, f"{Path(name).stem}_{raw.number}"
        )
    except UserError as error:
        raise UserError(str(error).removeprefix(f"{name}, {location}: ")) from error
    dialogue, changes = clean_row(row.value, job.data.max_chars)
    if not dialogue.fname:
        raise UserError("The id is empty.")
    problem = find_problem(dialogue.dialogue, job.serving)
    if problem is not None:
        raise UserError(f"The dialogue {problem}")
    [text] = add_topics([dialogue.dialogue], [dialogue.topic], (TOPIC,) if job.reads_topics else ())
    return _Row(dialogue.fname, raw.number, text, "truncated" in changes)


def _guess_id(raw: RawRow, mapping: ColumnMapping) -> str:
    value = raw.fields.get(mapping.id) if mapping.id is not None else None
    return str(value) if isinstance(value, str | int | float) else ""
