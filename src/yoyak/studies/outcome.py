"""What came out of a study: summary.json, best.yaml, trials.csv."""

from __future__ import annotations

import csv
import io
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from yoyak import project
from yoyak.files import write_result, write_text
from yoyak.scoring.bootstrap import Interval, bootstrap_interval
from yoyak.studies import files, records, scoring
from yoyak.studies.kinds import Kind

CONFIDENCE = 0.95
BOOTSTRAP_SAMPLES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """A trial that no other one beats."""

    number: int
    folder: int
    """Of its model, in trials/: the number of its first attempt."""
    values: dict[str, Any]
    """By dimension."""
    measures: dict[str, float]
    dev: Interval | None = None
    """Mean over all dialogues of dev, summarized as params.yaml says; it was chosen on dev, so this is too high."""
    gate: Interval | None = None
    """The same on gate, on which nothing was chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What all trials of one thing that is compared gave, over seeds."""

    name: str
    trials: int
    mean: float
    low: float | None
    high: float | None
    difference: float | None = None
    """By how much the baseline's trials with the same seeds are better than these; None for the baseline."""
    difference_low: float | None = None
    difference_high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A study, as summary.json has it."""

    study: str
    kind: str
    objectives: dict[str, str]
    states: dict[str, int]
    """Number of trials by state."""
    retried: int
    """Attempts whose process died or was interrupted, and that were tried again."""
    seconds: float
    """All trials together."""
    complete: bool
    """Whether as many trials ended as were asked for."""
    best: Best | None
    kept: list[int]
    """Folders in trials/ of the trials that keep their weights, best first."""
    front: list[Best]
    """With several objectives, the trials that no other one beats in all of them."""
    effects: list[Effect]
    warning: str
    run_id: str = ""
    """Of the study in MLflow."""


def summarize(kind: Kind, study: optuna.Study, *, complete: bool, confidence: float = CONFIDENCE) -> Summary:
    """Return the summary of a study's trials."""
    trials = study.get_trials(deepcopy=False)
    ended = [trial for trial in trials if trial.state in records.ENDED]
    several = len(study.directions) > 1
    best = records.best_trials(study, trials, 1)
    retried = records.retried(trials)
    counted = Counter(
        records.state_name(trial)
        for trial in trials
        if trial.number not in retried and trial.user_attrs.get(records.FAILURE) != records.SURPLUS
    )
    return Summary(
        study=study.study_name,
        kind=kind.study.kind,
        objectives=dict(kind.study.objectives),
        states=dict(sorted(counted.items())),
        retried=len(retried),
        seconds=round(sum(trial.duration.total_seconds() for trial in trials if trial.duration), 1),
        complete=complete,
        best=_describe_best(kind, study, best[0], confidence) if best and not several else None,
        kept=[records.original_number(trial) for trial in records.best_trials(study, trials, kind.study.keep)],
        front=[
            _describe_best(kind, study, trial, confidence) for trial in records.best_trials(study, trials, len(ended))
        ]
        if several
        else [],
        effects=measure_effects(trials, kind),
        warning=" ".join(filter(None, [warn_of_choice(len(ended)), kind.warning()])) if best else "No trial has ended.",
        run_id=study.user_attrs.get(records.PARENT, ""),
    )


def warn_of_choice(trials: int) -> str:
    """Return what to bear in mind about the best of several trials."""
    if trials < 2:
        return "A single trial has ended, so that nothing was chosen."
    return (
        f"The best of {trials} trials was chosen on dev, so its score there is too high by what luck adds to the best "
        f"of so many; nothing was chosen on gate."
    )


def measure_effects(trials: Sequence[FrozenTrial], kind: Kind) -> list[Effect]:
    """Return what is compared over seeds; none in a study that does not repeat its trials."""
    compared = getattr(kind, "compared", None)
    if compared is None:
        return []
    scores: dict[str, dict[int, float]] = {}
    for trial in records.complete(trials):
        scores.setdefault(trial.params[compared], {})[trial.params["seed"]] = float(trial.values[0])
    has_baseline = kind.study.kind == "ablation"
    sign = 1 if next(iter(kind.study.objectives.values())) == "maximize" else -1
    effects = []
    for index, name in enumerate(scores_in_order(kind, scores)):
        own = scores[name]
        low, high = interval_of_mean(list(own.values()))
        baseline = scores.get("all", {}) if has_baseline and index else {}
        pairs = [sign * (baseline[seed] - value) for seed, value in own.items() if seed in baseline]
        bounds = interval_of_mean(pairs) if pairs else (None, None)
        effects.append(
            Effect(
                name=name,
                trials=len(own),
                mean=statistics.fmean(own.values()),
                low=low,
                high=high,
                difference=statistics.fmean(pairs) if pairs else None,
                difference_low=bounds[0],
                difference_high=bounds[1],
            )
        )
    return effects


def scores_in_order(kind: Any, scores: Mapping[str, Any]) -> list[str]:
    """Return what has scores, in the order of the study's file."""
    return [name for name in kind.names() if name in scores]


def interval_of_mean(values: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float | None, float | None]:
    """Return Student's interval of the mean over seeds; None where a single one says nothing about the others."""
    from scipy import stats

    if len(values) < 2:
        return None, None
    half = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1)) * statistics.stdev(values) / len(values) ** 0.5
    mean = statistics.fmean(values)
    return mean - half, mean + half


def write_outcome(kind: Kind, study: optuna.Study, summary: Summary) -> None:
    """Write summary.json, best.yaml and trials.csv."""
    folder = kind.folder
    write_result(folder / files.SUMMARY, summary)
    _write_best(folder / files.BEST, kind.adopted(summary.best.values) if summary.best and kind.adoptable else {})
    write_text(folder / files.TABLE, _make_table(study.get_trials(deepcopy=False), list(summary.objectives)))


def _describe_best(kind: Kind, study: optuna.Study, trial: FrozenTrial, confidence: float) -> Best:
    scores = files.read_scores(kind.folder, scoring.describe_basis(kind, study, trial))
    intervals: dict[str, Interval] = {
        split: bootstrap_interval(np.asarray(values), samples=BOOTSTRAP_SAMPLES, confidence=confidence, seed=0)
        for split, values in scores.items()
    }
    return Best(
        number=trial.number,
        folder=records.original_number(trial),
        values=dict(trial.params),
        measures=dict(trial.user_attrs.get(records.MEASURES, {})),
        dev=intervals.get(project.DEV),
        gate=intervals.get(project.GATE),
    )


def _write_best(path: Path, values: Mapping[str, Any]) -> None:
    from ruamel.yaml import YAML

    text = io.StringIO()
    YAML().dump(dict(values), text)
    write_text(path, text.getvalue())


def _make_table(trials: Sequence[FrozenTrial], objectives: Sequence[str]) -> str:
    names = list(dict.fromkeys(name for trial in trials for name in trial.params))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["number", "state", *objectives, *names, "seconds", "retry_of", "reason"])
    for trial in trials:
        values = trial.values if trial.values is not None else [""] * len(objectives)
        seconds = f"{trial.duration.total_seconds():.1f}" if trial.duration else ""
        given = [trial.params.get(name, "") for name in names]
        history = trial.system_attrs.get("retry_history", [""])
        reason = trial.user_attrs.get(records.REASON, "")
        writer.writerow([trial.number, records.state_name(trial), *values, *given, seconds, history[-1], reason])
    return out.getvalue()
