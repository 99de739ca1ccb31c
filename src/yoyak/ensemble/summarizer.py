"""An ensemble that summarizes like a single model.

Its folder has ``ensemble.json`` (generation settings, versions of the members), ``members/<name>/`` with each model,
and ``combiner.json``, the fitted strategy. If the members generate together (``soft``), ``ensemble.json`` has their
weights instead.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

from yoyak.data.records import Dialogue
from yoyak.decoding.candidates import Candidate
from yoyak.decoding.loading import load_member
from yoyak.decoding.memory import bytes_per_dialogue, count_searches, release_memory
from yoyak.decoding.summarizer import Scorer, Summaries, Summarizer, describe_reading, reads_topics
from yoyak.ensemble import combine
from yoyak.ensemble.candidate_scores import by_text, distinct_texts
from yoyak.ensemble.pool import Row, make_row
from yoyak.errors import UserError
from yoyak.files import write_json
from yoyak.models.spec import ENSEMBLE_FILE
from yoyak.params import Generation

MEMBERS = "members"


class EnsembleSummarizer:
    """Several models, and the strategy that combines their candidates into one summary; a `Summarizer` itself.

    All members stay in memory, since every request needs all of them.
    """

    def __init__(self, members: Mapping[str, Summarizer], combiner: combine.Combiner, generation: Generation) -> None:
        self.members = members
        self.combiner = combiner
        self.generation = generation

    @property
    def new_token_limit(self) -> int | None:
        """The lowest limit of the members."""
        limits = (member.new_token_limit for member in self.members.values())
        return min((limit for limit in limits if limit is not None), default=None)

    def bytes_per_dialogue(self, settings: Generation) -> int:
        """Return what a search takes for one dialogue, at most: the members search one after the other."""
        return max(bytes_per_dialogue(member, settings) for member in self.members.values())

    def count_searches(self, dialogues: Sequence[str]) -> list[int]:
        """Return how many texts are searched for each dialogue, at most: the members search one after the other."""
        counts = [count_searches(member, dialogues) for member in self.members.values()]
        return [max(of_row) for of_row in zip(*counts, strict=True)]

    @property
    def reads_topics(self) -> bool:
        """Whether all members read a dialogue with its topic."""
        return all(reads_topics(member) for member in self.members.values())

    def release_memory(self) -> None:
        """Free what the members keep of earlier searches."""
        for member in self.members.values():
            release_memory(member)

    def summarize(
        self, dialogues: Sequence[str], *, generation: Generation | None = None, progress: bool = False
    ) -> Summaries:
        """Return one summary for each dialogue; ``cut`` tells which were truncated for any member."""
        settings = generation or self.generation
        # A request needs only one summary, but the strategy needs the members' candidates.
        count = min(settings.num_beams, max(settings.num_return_sequences, self.generation.num_return_sequences))
        member_settings = settings.model_copy(update={"num_return_sequences": count})
        member_summaries = {
            name: member.summarize(dialogues, generation=member_settings, progress=progress)
            for name, member in self.members.items()
        }
        rows = [
            make_row(
                Dialogue(fname=str(index), dialogue=text),
                {name: summaries.candidates[index] for name, summaries in member_summaries.items()},
            )
            for index, text in enumerate(dialogues)
        ]
        rows = self._add_likelihoods(rows)
        outcomes = combine.combine_all(self.combiner, rows, total=len(rows))
        return Summaries(
            candidates=[[Candidate(outcome.text, outcome.score)] for outcome in outcomes],
            cut=[any(cuts) for cuts in zip(*(summaries.cut for summaries in member_summaries.values()), strict=True)],
            how=[
                describe_reading(ways)
                for ways in zip(*(summaries.read for summaries in member_summaries.values()), strict=True)
            ],
            tokens=reduce(add, (summaries.tokens for summaries in member_summaries.values())),
        )

    def _add_likelihoods(self, rows: Sequence[Row]) -> list[Row]:
        """Let the members score all candidates whose likelihoods the strategy uses."""
        dialogues, texts = [row.dialogue for row in rows], [distinct_texts(row) for row in rows]
        likelihoods: list[dict[str, dict[str, float]]] = [{} for _ in rows]
        for name in self.combiner.scorers:
            scorer = self.members[name]
            assert isinstance(scorer, Scorer)
            scored = scorer.log_likelihoods(dialogues, texts)
            for row, row_texts, values in zip(likelihoods, texts, scored, strict=True):
                row[name] = by_text(row_texts, values)
        return [replace(row, likelihoods=by_member) for row, by_member in zip(rows, likelihoods, strict=True)]


def load_ensemble(folder: Path, device: str | None = None) -> Summarizer:
    """Load an ensemble from its folder. Raises UserError if the folder is damaged."""
    try:
        value = json.loads((folder / ENSEMBLE_FILE).read_text(encoding="utf-8"))
        generation = Generation(**value["generation"])
        soft = value.get("soft")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / ENSEMBLE_FILE} is damaged ({type(error).__name__}): register it again.") from error
    if not soft:
        combiner = combine.load(folder)
        members = {name: load_member(folder / MEMBERS / name, device) for name in combiner.weights}
        unable = next((name for name in combiner.scorers if not isinstance(members[name], Scorer)), None)
        if unable is not None:
            raise UserError(
                f"{folder}: its strategy needs to know how likely {unable} finds the others' summaries, and {unable} "
                "cannot tell: register an ensemble without likelihoods."
            )
        return EnsembleSummarizer(members, combiner, generation)
    from yoyak.decoding.torch import TorchSummarizer
    from yoyak.ensemble.soft import SoftSummarizer

    return SoftSummarizer([TorchSummarizer.load(folder / MEMBERS / name, device) for name in soft], list(soft.values()))


def save_ensemble(
    folder: Path,
    members: Mapping[str, Path],
    generation: Generation,
    versions: Mapping[str, Any],
    *,
    combiner: combine.Combiner | None = None,
    soft: Mapping[str, float] | None = None,
) -> None:
    """Write an ensemble into ``folder``; ``versions`` are the registered versions of its members."""
    for name, path in members.items():
        # Copied, because MLflow does not follow links out of a folder.
        shutil.copytree(path, folder / MEMBERS / name)
    value: dict[str, Any] = {"generation": generation.model_dump(), "members": dict(versions)}
    if combiner is not None:
        combine.save(combiner, folder)
    if soft is not None:
        value["soft"] = dict(soft)
    write_json(folder / ENSEMBLE_FILE, value)
