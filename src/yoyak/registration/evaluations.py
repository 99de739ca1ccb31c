"""A system's summaries and scores of each split, as the pipeline wrote them, in the form that the registry keeps."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from yoyak import project
from yoyak.data.keys import hash_dialogue
from yoyak.data.records import Dialogue, read_jsonl
from yoyak.decoding.candidates import read_candidates
from yoyak.params import Scoring
from yoyak.project import DEV, TRAIN
from yoyak.registry.evaluations import ModelEvaluation, Scheme, ScoredSummary
from yoyak.scoring.metrics import METRICS
from yoyak.scoring.results import DIALOGUES_FILE
from yoyak.tracking import lineage


@dataclass(frozen=True)
class PipelineEvaluation:
    """What this pipeline's stages wrote about each dialogue."""

    scheme: Scheme

    @classmethod
    def read(cls, scoring: Scoring) -> PipelineEvaluation:
        """Return the evaluation of the project in the current folder. Its files are read when they are needed."""
        return cls(scheme=Scheme.of(scoring))

    @cached_property
    def splits(self) -> Mapping[str, list[Dialogue]]:
        """The dialogues of every split but train."""
        return {split: read_jsonl(path) for split, path in project.eval_splits().items()}

    @cached_property
    def datasets(self) -> Mapping[str, str]:
        """DVC's md5 of every split but train."""
        return {split: lineage.digest(path) for split, path in project.eval_splits().items()}

    @cached_property
    def trained_on(self) -> frozenset[str]:
        """Keys of the dialogues that trained or chose this pipeline's models: those of train and dev."""
        rows = [*read_jsonl(project.split_file(TRAIN)), *self.splits[DEV]]
        return frozenset(hash_dialogue(row.dialogue) for row in rows)

    @property
    def example(self) -> str:
        """A dialogue that a logged model carries as its input example."""
        return self.splits[DEV][0].dialogue

    @cached_property
    def _scores(self) -> Mapping[tuple[str, str, str], dict[str, float]]:
        """Scores by system, split and fname."""
        with Path(project.EVALUATION, DIALOGUES_FILE).open(encoding="utf-8", newline="") as lines:
            return {
                (row["system"], row["split"], row["fname"]): {metric: float(row[metric]) for metric in METRICS}
                for row in csv.DictReader(lines)
            }

    def of_member(self, member: str) -> list[ModelEvaluation]:
        """Return a member's evaluations of all splits, on the dialogues that it has summarized."""
        evaluations = []
        for split, rows in self.splits.items():
            candidates = read_candidates(project.predictions_folder(member) / f"{split}.jsonl")
            evaluations.append(
                ModelEvaluation(
                    split=split,
                    dataset=self.datasets[split],
                    scheme=self.scheme,
                    rows=tuple(
                        ScoredSummary(
                            fname=row.fname,
                            slice=row.slice,
                            key=hash_dialogue(row.dialogue),
                            summary=candidates[row.fname][0].text,
                            scores=self._scores[member, split, row.fname],
                        )
                        for row in rows
                        if row.fname in candidates
                    ),
                )
            )
        return evaluations
