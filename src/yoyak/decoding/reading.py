"""How a dialogue is read that does not fit into a model's window: truncated, or in parts whose summaries are merged.

    summaries = summarize_all(dialogues, settings, search, window=window, preprocessing=spec.preprocessing)

Everything that searches by itself (torch, onnxruntime, models that generate together) summarizes by this function.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from yoyak.decoding.candidates import Candidate
from yoyak.decoding.summarizer import WINDOWS, Summaries
from yoyak.models.steps import PLAIN_MASKS, finish_summary, prepare_dialogue
from yoyak.models.text import count_turn_tokens
from yoyak.models.turns import divide_turns, keep_turns
from yoyak.params import Generation
from yoyak.params.members import Windows

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from yoyak.models.families.base import TrainedFamily
    from yoyak.models.spec import ModelSpec

Search = Callable[[Sequence[str], Generation], Summaries]
"""Summarizes texts of any length, truncating those that do not fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What a model can read at once, and how it reads more than that."""

    settings: Windows
    room: int
    """Tokens of a dialogue that is read at once, without what surrounds it."""
    truncate: str
    """What is read of a dialogue that has more than ``max_parts`` parts."""
    count: Callable[[Sequence[str]], list[int]]
    """Returns the tokens of each turn, with its line break."""


def make_window(family: TrainedFamily, tokenizer: PreTrainedTokenizerBase, spec: ModelSpec) -> Window | None:
    """Return how a model reads a dialogue in parts; None if it truncates."""
    if spec.windows is None:
        return None
    return Window(
        settings=spec.windows,
        room=find_room(family, tokenizer, spec),
        truncate=spec.truncate,
        count=functools.partial(count_turn_tokens, tokenizer),
    )


def find_room(family: TrainedFamily, tokenizer: PreTrainedTokenizerBase, spec: ModelSpec) -> int:
    """Return how many tokens of a dialogue a model reads at once, without what surrounds it."""
    [around] = family.encode_dialogues(tokenizer, [""], spec).input_ids
    return max(1, spec.max_input_tokens - len(around))


@dataclass(frozen=True, slots=True)
class Division:
    """The parts of a dialogue; a single one if it fits."""

    parts: tuple[str, ...]
    cut: bool = False
    """Whether turns are left out, since there would be too many parts."""


def divide(dialogue: str, window: Window, preprocessing: Sequence[str] = ()) -> Division:
    """Divide a dialogue at borders of turns, after the steps before the model but with its masks."""
    turns = prepare_dialogue(dialogue, [step for step in preprocessing if step != PLAIN_MASKS]).split("\n")
    sizes = window.count([prepare_dialogue(turn, preprocessing) for turn in turns])
    if sum(sizes) <= window.room:
        return Division((dialogue,))
    overlap, most = window.settings.overlap_turns, window.settings.max_parts
    room = min(window.room, window.settings.part_tokens or window.room)
    kept, ranges = list(range(len(turns))), divide_turns(sizes, room, overlap)
    capacity = most * room
    while len(ranges) > most:
        kept = keep_turns(sizes, capacity, window.truncate) or kept[:most]
        ranges = divide_turns([sizes[index] for index in kept], room, overlap)
        capacity = capacity * 19 // 20
    read = {kept[index] for part in ranges for index in part}
    return Division(
        tuple("\n".join(turns[kept[index]] for index in part) for part in ranges), cut=len(read) < len(turns)
    )


def count_searches(dialogues: Sequence[str], window: Window | None, preprocessing: Sequence[str]) -> list[int]:
    """Return how many texts are searched for each dialogue: itself, or its parts and what their summaries make.

    Where the summaries of many parts do not fit into the window either, there are a few more.
    """
    if window is None:
        return [1] * len(dialogues)
    merging = window.settings.merge == "summarize"
    counts = [len(divide(dialogue, window, preprocessing).parts) for dialogue in dialogues]
    return [count + (merging and count > 1) for count in counts]


def summarize_all(
    dialogues: Sequence[str],
    settings: Generation,
    search: Search,
    *,
    window: Window | None,
    preprocessing: Sequence[str],
) -> Summaries:
    """Return the candidates of each dialogue, best first, after all steps before and after the model.

    The parts of all dialogues share batches.
    """

    def finish(found: Summaries, texts: Sequence[str], steps: Sequence[str]) -> Summaries:
        candidates = [
            [replace(one, text=finish_summary(one.text, text, preprocessing, steps)) for one in of_text]
            for text, of_text in zip(texts, found.candidates, strict=True)
        ]
        return replace(found, candidates=candidates)

    divisions = [divide(dialogue, window, preprocessing) for dialogue in dialogues] if window else []
    parts = {row: division.parts for row, division in enumerate(divisions) if len(division.parts) > 1}
    if window is None or not parts:
        return finish(search(dialogues, settings), dialogues, settings.postprocessing)
    read = list(dialogues)
    left_out = [division.cut for division in divisions]
    measures = []
    if window.settings.merge == "join":
        whole = [row for row in range(len(read)) if row not in parts]
        flat = [*(read[row] for row in whole), *(part for of_row in parts.values() for part in of_row)]
        found = finish(search(flat, settings), flat, settings.postprocessing)
        return _join(found, whole, parts, left_out)
    single = settings.model_copy(update={"num_return_sequences": 1})
    waiting = parts
    while waiting:
        flat = [part for of_row in waiting.values() for part in of_row]
        found = finish(search(flat, single), flat, ())
        measures.append(found.tokens)
        texts, cuts = iter(found.texts), iter(found.cut)
        again = {}
        for row, of_row in waiting.items():
            own = [next(cuts) for _ in of_row]
            left_out[row] |= any(own)
            read[row] = "\n".join(dict.fromkeys(next(texts) for _ in of_row))
            division = divide(read[row], window, preprocessing)
            # Each round has fewer parts, or else it is the last one, in which the summaries are truncated.
            if 1 < len(division.parts) < len(of_row):
                left_out[row] |= division.cut
                again[row] = division.parts
        waiting = again
    found = finish(search(read, settings), dialogues, settings.postprocessing)
    return replace(
        found,
        cut=[one or other for one, other in zip(found.cut, left_out, strict=True)],
        how=[WINDOWS if row in parts else how for row, how in enumerate(found.read)],
        tokens=sum(measures, found.tokens),
    )


def _join(
    found: Summaries, whole: Sequence[int], parts: dict[int, tuple[str, ...]], left_out: Sequence[bool]
) -> Summaries:
    """Return the summaries of dialogues from those of what was read whole, followed by those of the others' parts."""
    rows = {row: (found.candidates[index], found.cut[index], found.read[index]) for index, row in enumerate(whole)}
    start = len(whole)
    for row, of_row in parts.items():
        own = range(start, start + len(of_row))
        start = own.stop
        ranked = zip(*(found.candidates[index] for index in own), strict=True)
        candidates = [_join_candidates(candidates) for candidates in ranked]
        rows[row] = (candidates, left_out[row] or any(found.cut[index] for index in own), WINDOWS)
    ordered = [rows[row] for row in sorted(rows)]
    return replace(
        found,
        candidates=[candidates for candidates, _, _ in ordered],
        cut=[cut for _, cut, _ in ordered],
        how=[how for _, _, how in ordered],
    )


def _join_candidates(candidates: Sequence[Candidate]) -> Candidate:
    """Return the texts one after the other, each once, with the mean of the scores."""
    score = sum(candidate.score for candidate in candidates) / len(candidates)
    return Candidate(" ".join(dict.fromkeys(candidate.text for candidate in candidates)), round(score, 6))
