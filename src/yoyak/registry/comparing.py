"""Setting versions side by side: scores, paired significance, params, and the dialogues on which they differ most.

    from yoyak.registry.comparing import compare

    comparison = compare(["yoyak@champion", "yoyak@challenger"])
    print(comparison.differences, comparison.params)

Scores are compared dialogue by dialogue, and only where both versions summarized the same dialogues and were scored in
the same way. The gate split is left out: whoever looks at its dialogues starts to select by them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from yoyak import project
from yoyak.data.keys import hash_dialogue
from yoyak.data.records import read_jsonl
from yoyak.errors import UserError
from yoyak.project import DEV, GATE
from yoyak.registry.evaluations import ModelEvaluation, Scheme, ScoredSummary, read_evaluations, score_again
from yoyak.registry.lineage import read_lineage
from yoyak.registry.queries import VersionInfo, get_info
from yoyak.registry.versions import Version, get_version
from yoyak.tracking import lineage as tracked
from yoyak.tracking.client import connect, translate_mlflow_errors
from yoyak.tracking.stage_run import flatten

SAMPLES, CONFIDENCE, SEED = 2000, 0.95, 0
"""Of the paired bootstrap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreDifference:
    """How much better a version is than the first one, on the same dialogues."""

    version: str
    """Its label, such as ``yoyak/3``."""
    split: str
    metric: str
    difference: float
    """Its mean minus that of the first version."""
    low: float
    high: float
    """Paired bootstrap interval at 95 %."""
    p_value: float
    """Two-sided; not corrected for the number of comparisons."""
    dialogues: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ParamDifference:
    """A param that is not the same for all versions."""

    key: str
    values: tuple[str | None, ...]
    """For each version; None if its run does not have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One dialogue, and what each version made of it."""

    split: str
    fname: str
    dialogue: str
    """Empty if this project does not have it any more."""
    summaries: Mapping[str, str]
    """By the version's label."""
    scores: Mapping[str, float]
    """Combined ROUGE, by the version's label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionComparison:
    """Several versions side by side. Differences are to the first one."""

    versions: tuple[VersionInfo, ...]
    differences: tuple[ScoreDifference, ...]
    problems: tuple[str, ...]
    """Why versions could not be compared with the first one, in sentences."""
    params: tuple[ParamDifference, ...]
    examples: tuple[Example, ...]
    """Dialogues of dev on which they differ most, the largest difference first."""


_Key = tuple[str, str, Scheme]
"""Evaluations with the same split, data and scheme are comparable."""


def compare(models: Sequence[str], *, examples: int = 3) -> VersionComparison:
    """Compare versions, named as for `queries.get_info`, with the first of them.

    Raises UserError if there are fewer than two different ones.
    """
    versions = tuple({info.label: info for info in map(get_info, models)}.values())
    if len(versions) < 2:
        raise UserError("Comparing takes two different versions; these are the same one.")
    client = connect()
    with translate_mlflow_errors():
        evaluations = [_read(get_version(client, info.name, info.version)) for info in versions]
    params = [_read_params(info) for info in versions]
    if len({info.member for info in versions}) > 1:
        # Otherwise params of members with different names would never be compared.
        params = [
            {key.replace(f"members.{info.member}.", "members.*.", 1): value for key, value in values.items()}
            for info, values in zip(versions, params, strict=True)
        ]
    first, *others = zip(versions, evaluations, strict=True)
    return VersionComparison(
        versions=versions,
        differences=tuple(
            difference for info, kept in others for difference in _compare(info.label, kept, baseline=first[1])
        ),
        problems=tuple(_find_problems(first, others)),
        params=tuple(_differing_params(params)),
        examples=tuple(_find_examples(versions, evaluations, examples)),
    )


def _read(version: Version) -> dict[_Key, ModelEvaluation]:
    return {
        (evaluation.split, evaluation.dataset, evaluation.scheme): _score_again(evaluation)
        for evaluation in read_evaluations(version)
        if evaluation.split != GATE
    }


def _score_again(evaluation: ModelEvaluation) -> ModelEvaluation:
    """Return an evaluation with the scores of now, if this project still has its references, or else with its own."""
    path = project.split_file(evaluation.split)
    if not path.is_file() or tracked.digest(path) != evaluation.dataset:
        return evaluation
    return score_again(evaluation, read_jsonl(path))


def _compare(
    label: str, kept: Mapping[_Key, ModelEvaluation], baseline: Mapping[_Key, ModelEvaluation]
) -> Iterator[ScoreDifference]:
    import numpy as np

    from yoyak.scoring.bootstrap import paired_bootstraps

    for key in sorted(kept.keys() & baseline.keys(), key=lambda key: key[:2]):
        pairs = _align(kept[key], baseline[key])
        if not pairs:
            continue
        metrics = [name for name in pairs[0][0].scores if all(name in row.scores for pair in pairs for row in pair)]
        differences = np.array([[own.scores[name] - other.scores[name] for own, other in pairs] for name in metrics])
        tests = paired_bootstraps(differences, samples=SAMPLES, confidence=CONFIDENCE, seed=SEED)
        for metric, test in zip(metrics, tests, strict=True):
            yield ScoreDifference(
                version=label,
                split=key[0],
                metric=metric,
                difference=test.difference,
                low=test.low,
                high=test.high,
                p_value=test.p_value,
                dialogues=test.n,
            )


def _align(own: ModelEvaluation, other: ModelEvaluation) -> list[tuple[ScoredSummary, ScoredSummary]]:
    """Return the rows of the dialogues that both have summarized."""
    rows = {row.fname: row for row in other.rows}
    return [(row, rows[row.fname]) for row in own.rows if row.fname in rows]


def _find_problems(
    first: tuple[VersionInfo, Mapping[_Key, ModelEvaluation]],
    others: Sequence[tuple[VersionInfo, Mapping[_Key, ModelEvaluation]]],
) -> Iterator[str]:
    info, baseline = first
    without = [each.label for each, kept in (first, *others) if not kept]
    if without:
        yield (
            f"The scores of {', '.join(without)} by dialogue are not known: they are kept for members that `yoyak "
            f"register` registered, as long as their run exists."
        )
    for each, kept in others:
        if baseline and kept and not baseline.keys() & kept.keys():
            yield f"{info.label} and {each.label} were scored on different data, or in a different way."


def _read_params(info: VersionInfo) -> dict[str, str]:
    """Return the params that a version was made with: those of its run, and those of its stages in dvc.lock."""
    lineage = read_lineage(info.uri)
    stages = {key: value for stage in lineage.stages for key, value in stage.params.items()}
    # The run has them with their defaults, in one form; dvc.lock has those of the other stages too.
    return {**flatten(stages), **lineage.params}


def _differing_params(params: Sequence[Mapping[str, str]]) -> Iterator[ParamDifference]:
    for key in sorted({key for values in params for key in values}):
        found = tuple(values.get(key) for values in params)
        # Of a version without any params, nothing is known, which is not a difference.
        if len({value for value, values in zip(found, params, strict=True) if values}) > 1:
            yield ParamDifference(key=key, values=found)


def _find_examples(
    versions: Sequence[VersionInfo], evaluations: Sequence[Mapping[_Key, ModelEvaluation]], count: int
) -> list[Example]:
    common = set(evaluations[0]).intersection(*evaluations[1:])
    key = next((key for key in sorted(common, key=lambda key: key[:2]) if key[0] == DEV), None)
    if key is None or count < 1:
        return []
    rows: dict[str, dict[str, ScoredSummary]] = {}
    shared = set.intersection(*({row.fname for row in kept[key].rows} for kept in evaluations))
    for info, kept in zip(versions, evaluations, strict=True):
        for row in kept[key].rows:
            if row.fname in shared:
                rows.setdefault(row.fname, {})[info.label] = row

    def spread(by_label: Mapping[str, ScoredSummary]) -> float:
        values = [row.combined for row in by_label.values()]
        return max(values) - min(values)

    chosen = [fname for fname in sorted(rows, key=lambda fname: (-spread(rows[fname]), fname)) if spread(rows[fname])]
    dialogues = _read_dialogues({row.key for by_label in rows.values() for row in by_label.values()})
    return [
        Example(
            split=DEV,
            fname=fname,
            dialogue=dialogues.get(next(iter(rows[fname].values())).key, ""),
            summaries={label: row.summary for label, row in rows[fname].items()},
            scores={label: row.combined for label, row in rows[fname].items()},
        )
        for fname in chosen[:count]
    ]


def _read_dialogues(keys: set[str]) -> dict[str, str]:
    """Return the dialogues of this project's dev by their key; none outside of a project."""
    path = project.DEV_SPLIT
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8") as lines:
        texts = [json.loads(line)["dialogue"] for line in lines]
    return {key: text for text in texts if (key := hash_dialogue(text)) in keys}
