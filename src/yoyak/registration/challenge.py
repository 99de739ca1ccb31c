"""Comparing a version with the champion of its registered model on the gate split, dialogue by dialogue."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from yoyak.data.records import Dialogue
from yoyak.errors import UserError
from yoyak.params import Registry
from yoyak.project import GATE
from yoyak.registry import promotion
from yoyak.registry.evaluations import (
    ModelEvaluation,
    Scheme,
    attach_evaluations,
    read_evaluation,
    read_trained_on,
    score_again,
    score_summaries,
)
from yoyak.registry.gate import check_behaviour, decide
from yoyak.registry.resolve import resolve_model
from yoyak.registry.versions import Version
from yoyak.tracking import restore
from yoyak.tracking.decisions import Check, Verdict

TIMED_DIALOGUES = 8


def challenge(
    version: Version,
    champion: Version,
    dialogues: Sequence[Dialogue],
    evaluation: ModelEvaluation | None,
    *,
    rules: Registry,
    seed: int,
    folder: Path,
    behaviour: Mapping[str, float],
) -> Verdict:
    """Return the gate's verdict about a version, given the present champion.

    Only dialogues are compared that neither of the two was trained or chosen on, and that both have summarized. If the
    champion has not been evaluated on this gate split in this way, it summarizes it now, and the result is kept.

    Args:
        dialogues: The gate split; empty if the project has none.
        evaluation: The version's own evaluation of it.
        folder: The version's files.
        behaviour: The version's failure rates by behaviour check.
    """
    if not dialogues or evaluation is None:
        return _undecided(
            version,
            champion,
            "there is no gate split, whose dialogues chose nothing: name a file in data.files.gate, or set "
            "data.split.gate",
        )
    trained_on = [read_trained_on(version), read_trained_on(champion)]
    for model, keys in zip((version, champion), trained_on, strict=True):
        if keys is None:
            reason = (
                f"it is not known which dialogues version {model.version} was trained on, as of any model that was not "
                f"trained here: promote by force, with a reason"
            )
            return _undecided(version, champion, reason, evaluation)
    excluded = frozenset().union(*(keys for keys in trained_on if keys is not None))
    kept = evaluate_on_gate(champion, dialogues, evaluation.dataset, evaluation.scheme)
    opponent = {row.fname: row.combined for row in kept.rows}
    rows = [row for row in evaluation.rows if row.key not in excluded and row.fname in opponent]
    own = np.array([row.combined for row in rows])
    other = np.array([opponent[row.fname] for row in rows])
    attempt = promotion.count_attempt(
        champion,
        version,
        evaluation.dataset,
        json.dumps(asdict(evaluation.scheme), sort_keys=True),
        # Where nothing can be decided, or nothing differs, such as after a change of code, no significance is spent.
        remember=len(rows) >= rules.min_dialogues and not np.array_equal(own, other),
    )
    return decide(
        own,
        other,
        slices=[row.slice for row in rows],
        rules=rules,
        seed=seed,
        champion_version=champion.version,
        dataset=evaluation.dataset,
        attempt=attempt,
        other_checks=[
            *check_behaviour(behaviour, rules.max_behaviour),
            *_check_size(folder, rules),
            *_check_speed(folder, dialogues, rules),
        ],
    )


def _undecided(version: Version, champion: Version, reason: str, evaluation: ModelEvaluation | None = None) -> Verdict:
    return Verdict(
        outcome="undecided",
        sentence=reason,
        champion=champion.version,
        dataset=evaluation.dataset if evaluation else "",
        dialogues=0,
        attempt=0,
        significance=0.0,
    )


def evaluate_on_gate(version: Version, dialogues: Sequence[Dialogue], dataset: str, scheme: Scheme) -> ModelEvaluation:
    """Return a version's evaluation of the gate split; if there is none yet, it summarizes it now, and that is kept.

    The scores are those of now in both cases, see `score_again`.
    """
    kept = read_evaluation(version, GATE, dataset, scheme)
    if kept is not None:
        return score_again(kept, dialogues)
    from yoyak.decoding.summarizer import texts_to_read
    from yoyak.serving.loading import load_summarizer

    try:
        summarizer = load_summarizer(resolve_model(version.uri))
    except UserError as error:
        raise UserError(
            f"Version {version.version} of {version.name} cannot summarize the gate split: {error} If it is the "
            f"champion, roll back, or promote another version by force."
        ) from error
    summaries = summarizer.summarize(texts_to_read(summarizer, dialogues), progress=True).texts
    evaluation = score_summaries(GATE, dataset, dialogues, summaries, scheme)
    if restore.is_active(version.run_id):
        attach_evaluations(version.run_id, version.model_id, [evaluation])
    return evaluation


def _check_size(folder: Path, rules: Registry) -> list[Check]:
    if rules.max_size_mb is None:
        return []
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
    sentence = f"its files take {size:.1f} MB, and at most {rules.max_size_mb:g} are allowed"
    return [Check(name="size", passed=size <= rules.max_size_mb, sentence=sentence)]


def _check_speed(folder: Path, dialogues: Sequence[Dialogue], rules: Registry) -> list[Check]:
    """Time single dialogues, if there is a limit."""
    if rules.max_seconds is None:
        return []
    from yoyak.serving.loading import load_summarizer

    summarizer = load_summarizer(folder)
    seconds = []
    for row in (dialogues[0], *dialogues[:TIMED_DIALOGUES]):
        started = time.perf_counter()
        summarizer.summarize([row.dialogue])
        seconds.append(time.perf_counter() - started)
    # The first one warms up.
    median = float(np.median(seconds[1:]))
    sentence = f"it takes {median:.3f} s for a dialogue, and at most {rules.max_seconds:g} s are allowed"
    return [Check(name="speed", passed=median <= rules.max_seconds, sentence=sentence)]
