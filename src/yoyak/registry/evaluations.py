"""What a registered model wrote for each dialogue of a split and how it scored, kept with its run as artifacts.

They belong to the model, not to its run: a run may have logged several models that differ in how they write. So later
models are compared with it dialogue by dialogue, without decoding again.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from yoyak.data.keys import hash_dialogue
from yoyak.data.records import Dialogue
from yoyak.files import write_json, write_text
from yoyak.params import Scoring
from yoyak.params.scoring import MultiReference
from yoyak.registry.versions import Version
from yoyak.tracking.client import connect, translate_mlflow_errors

FOLDER = "evaluations"
TRAINED_ON = "trained_on.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """How summaries were scored. Scores are compared only if they have the same scheme and split."""

    granularity: str
    multi_reference: MultiReference
    weights: tuple[float, ...]

    @classmethod
    def of(cls, scoring: Scoring) -> Scheme:
        """Return the scheme of the primary score."""
        return cls(
            granularity=scoring.granularities[0],
            multi_reference=scoring.multi_reference,
            weights=tuple(scoring.weights),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredSummary:
    """A model's summary of one dialogue, and its scores by metric."""

    fname: str
    slice: str
    key: str
    """`hash_dialogue` of the dialogue."""
    summary: str
    scores: dict[str, float]

    @property
    def combined(self) -> float:
        return self.scores["combined"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEvaluation:
    """A model's summaries of one split and their scores."""

    split: str
    dataset: str
    """DVC's md5 of the prepared split."""
    scheme: Scheme
    rows: tuple[ScoredSummary, ...]

    @property
    def file_name(self) -> str:
        return _file_name(self.split, self.dataset, self.scheme)


def score_summaries(
    split: str, dataset: str, dialogues: Sequence[Dialogue], summaries: Sequence[str], scheme: Scheme
) -> ModelEvaluation:
    """Score a model's summaries of the dialogues of a split."""
    from yoyak.scoring.rouge import rouge

    scores = rouge(
        summaries,
        [row.summaries for row in dialogues],
        granularity=scheme.granularity,
        multi_reference=scheme.multi_reference,
        weights=scheme.weights,
    )
    rows = tuple(
        ScoredSummary(
            fname=row.fname,
            slice=row.slice,
            key=hash_dialogue(row.dialogue),
            summary=summary,
            scores={metric: round(float(values[index]), 6) for metric, values in scores.items()},
        )
        for index, (row, summary) in enumerate(zip(dialogues, summaries, strict=True))
    )
    return ModelEvaluation(split=split, dataset=dataset, scheme=scheme, rows=rows)


def score_again(evaluation: ModelEvaluation, dialogues: Sequence[Dialogue]) -> ModelEvaluation:
    """Return an evaluation with the scores that its summaries have now.

    The code and the libraries that score may be others than they were when it was kept, which would otherwise count as
    a difference of the models.

    Args:
        dialogues: Those of its split.
    """
    texts = {row.fname: row.summary for row in evaluation.rows}
    rows = [row for row in dialogues if row.fname in texts]
    return score_summaries(
        evaluation.split, evaluation.dataset, rows, [texts[row.fname] for row in rows], evaluation.scheme
    )


def attach_evaluations(
    run_id: str, model_id: str, evaluations: Iterable[ModelEvaluation], trained_on: Iterable[str] | None = None
) -> None:
    """Keep evaluations of a model with its run, and the keys of the dialogues that it was trained or chosen on.

    What the run has already is not logged again.
    """
    client = connect()
    with tempfile.TemporaryDirectory(prefix="yoyak-") as folder, translate_mlflow_errors():
        existing = {Path(file.path).name for file in client.list_artifacts(run_id, f"{FOLDER}/{model_id}")}
        for evaluation in evaluations:
            if evaluation.file_name not in existing:
                write_json(Path(folder, evaluation.file_name), asdict(evaluation))
        if trained_on is not None and TRAINED_ON not in existing:
            write_text(Path(folder, TRAINED_ON), "\n".join(sorted(trained_on)) + "\n")
        if any(Path(folder).iterdir()):
            client.log_artifacts(run_id, folder, f"{FOLDER}/{model_id}")


def read_evaluation(version: Version, split: str, dataset: str, scheme: Scheme) -> ModelEvaluation | None:
    """Return a version's evaluation of a split by a scheme; None if there is none."""
    text = _read(version, _file_name(split, dataset, scheme))
    return None if text is None else _parse(json.loads(text))


def read_evaluations(version: Version) -> list[ModelEvaluation]:
    """Return all evaluations of a version."""
    from mlflow.exceptions import MlflowException

    client = connect()
    try:
        files = client.list_artifacts(version.run_id, f"{FOLDER}/{version.model_id}") if version.run_id else []
    except (MlflowException, OSError):
        files = []
    texts = [_read(version, Path(file.path).name) for file in files if file.path.endswith(".json")]
    return [_parse(json.loads(text)) for text in texts if text is not None]


def read_trained_on(version: Version) -> frozenset[str] | None:
    """Return the keys of the dialogues that a version was trained or chosen on; None if that is not known."""
    text = _read(version, TRAINED_ON)
    return None if text is None else frozenset(text.split())


def _read(version: Version, name: str) -> str | None:
    from mlflow.exceptions import MlflowException

    if not version.run_id or not version.model_id:
        return None
    try:
        with tempfile.TemporaryDirectory(prefix="yoyak-") as folder:
            path = connect().download_artifacts(version.run_id, f"{FOLDER}/{version.model_id}/{name}", folder)
            return Path(path).read_text(encoding="utf-8")
    except (MlflowException, OSError):
        return None


def _parse(value: dict[str, Any]) -> ModelEvaluation:
    return ModelEvaluation(
        split=value["split"],
        dataset=value["dataset"],
        scheme=Scheme(**{**value["scheme"], "weights": tuple(value["scheme"]["weights"])}),
        rows=tuple(ScoredSummary(**row) for row in value["rows"]),
    )


def _file_name(split: str, dataset: str, scheme: Scheme) -> str:
    digest = hashlib.sha256(f"{dataset} {json.dumps(asdict(scheme), sort_keys=True)}".encode()).hexdigest()
    return f"{split}-{digest[:12]}.json"
