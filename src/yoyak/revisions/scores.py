"""The scores of each system in both revisions, with intervals and paired tests, and the summaries that changed most.

Differences are tested dialogue by dialogue, only on dialogues that both revisions have with the same text and the same
references. The gate split is left out: whoever looks at it starts to select by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from typing import Any

import numpy as np

from yoyak import project
from yoyak.data.records import Dialogue
from yoyak.project import DEV, GATE
from yoyak.revisions.dialogues import COMBINED, Scored, read_dialogues, read_summaries
from yoyak.revisions.files import RevisionFiles
from yoyak.revisions.results import ExampleChange, MetricChange, Note, ScoreChange
from yoyak.scoring.bootstrap import bootstrap_interval, paired_bootstraps
from yoyak.scoring.metrics import METRICS
from yoyak.scoring.systems import BEST_BASELINE

PRIMARY = METRICS[COMBINED]
SAMPLES, SEED = 10_000, 0
"""Of the paired bootstrap. With more tests than this resolves after Holm's correction, there are more samples."""
SCORES_FOLDER = f"{project.SCORES.as_posix()}/"


def compare_scores(
    scored: tuple[Scored, Scored] | None,
    same: Mapping[str, set[str]] | None,
    metrics: Iterable[MetricChange],
    confidence: float,
) -> list[ScoreChange]:
    """Return the scores of all systems, tested where both revisions were scored by dialogue.

    Args:
        same: By split, the dialogues that are the same in both revisions; None if all of the same name are.
        metrics: Those of metrics/, for scores that are known without those of each dialogue.
    """
    changes = list(_test(*scored, same, confidence)) if scored else []
    known = {(change.system, change.split) for change in changes}
    for metric in metrics:
        system = metric.file.removeprefix(SCORES_FOLDER).removesuffix(".json")
        if metric.file.startswith(SCORES_FOLDER) and (system, metric.key) not in known and metric.key != GATE:
            changes.append(ScoreChange(system=system, split=metric.key, metric=PRIMARY, old=metric.old, new=metric.new))
    return _judge(changes, 1 - confidence)


def _test(old: Scored, new: Scored, same: Mapping[str, set[str]] | None, confidence: float) -> Iterator[ScoreChange]:
    pairs = [(system, system) for system in dict.fromkeys(system for system, _ in (*new.rows, *old.rows))]
    if old.best_member != new.best_member:
        pairs.append((old.best_member, new.best_member))
    splits = list(dict.fromkeys(split for _, split in (*new.rows, *old.rows)))
    # After Holm's correction, the smallest p-value must still be able to fall below the level.
    options: dict[str, Any] = {"samples": max(SAMPLES, 100 * len(pairs) * len(splits)), "confidence": confidence}
    options["seed"] = SEED
    for before, after in pairs:
        for split in splits:
            rows, others = old.rows.get((before, split), {}), new.rows.get((after, split), {})
            if rows or others:
                system = before if before == after else f"{before} → {after}"
                names = [name for name in others if name in rows and (same is None or name in same.get(split, ()))]
                yield from _compare(system, split, rows, others, names, options)


def _compare(
    system: str,
    split: str,
    old: Mapping[str, tuple[float, ...]],
    new: Mapping[str, tuple[float, ...]],
    names: Sequence[str],
    options: Mapping[str, Any],
) -> Iterator[ScoreChange]:
    differences = np.array([np.subtract(new[name], old[name]) for name in names]).reshape(len(names), len(METRICS)).T
    tests = paired_bootstraps(differences, **options) if names else [None] * len(METRICS)
    for index, (metric, test) in enumerate(zip(METRICS, tests, strict=True)):
        before, after = (
            bootstrap_interval([row[index] for row in rows.values()], **options) if rows else None
            for rows in (old, new)
        )
        yield ScoreChange(
            system=system,
            split=split,
            metric=metric,
            old=before.mean if before else None,
            new=after.mean if after else None,
            old_interval=before,
            new_interval=after,
            test=test,
        )


def _judge(changes: Sequence[ScoreChange], level: float) -> list[ScoreChange]:
    """Add verdicts: of the combined scores after Holm's correction for all systems and splits.

    Scores that are the same for every dialogue are no test, so they do not make the others harder to pass. The other
    metrics are shown for information and are not judged.
    """
    result, tested = list(changes), []
    for index, change in enumerate(changes):
        if change.metric == PRIMARY and change.test:
            result[index] = replace(change, adjusted_p=1.0, verdict="no significant difference")
            if change.test.low or change.test.high or change.test.difference:
                tested.append((change.test.p_value, index, change.test.difference))
    highest = 0.0
    for rank, (p_value, index, gain) in enumerate(sorted(tested)):
        highest = max(highest, min(1.0, p_value * (len(tested) - rank)))
        result[index] = replace(result[index], adjusted_p=highest)
        if highest < level and gain:
            result[index] = replace(result[index], verdict="better" if gain > 0 else "worse")
    return result


def find_examples(
    base: RevisionFiles,
    head: RevisionFiles,
    scored: tuple[Scored, Scored] | None,
    same: Mapping[str, set[str]] | None,
    count: int,
) -> tuple[list[ExampleChange], list[Note]]:
    """Return the dialogues of dev whose summary changed most: by score, then by text.

    They are those of the best members; if these write the same as before, of the system whose score changed most.
    """
    section = "Summaries"
    if count < 1:
        return [], []
    if scored is None:
        return [], [Note(section=section, text="Without scores by dialogue, there are no summaries to show.")]
    dialogues = read_dialogues(head)
    if isinstance(dialogues, str):
        return [], [Note(section=section, text=dialogues)]
    rows = [row for row in dialogues.get(DEV, {}).values() if same is None or row.fname in same.get(DEV, ())]
    notes = []
    for old, new in _rank_pairs(*scored):
        before, after = read_summaries(base, old, DEV), read_summaries(head, new, DEV)
        for files, system, texts in ((base, old, before), (head, new, after)):
            if not texts and system != BEST_BASELINE:
                path = (project.PREDICTIONS / system).as_posix()
                notes.append(Note(section=section, text=files.explain(path)))
        scores = (scored[0].rows.get((old, DEV), {}), scored[1].rows.get((new, DEV), {}))
        name = new if old == new else f"{old} → {new}"
        examples = list(_list_changed(name, rows, before, after, *scores))
        if examples:
            return _choose(examples, count), []
    return [], list(dict.fromkeys(notes))


def _rank_pairs(old: Scored, new: Scored) -> list[tuple[str, str]]:
    """Return the best members, then each system with itself, the one whose score on dev changed most first."""
    common = [system for system, split in new.rows if split == DEV and (system, DEV) in old.rows]

    def change(system: str) -> float:
        means = [np.mean([row[COMBINED] for row in side.rows[system, DEV].values()]) for side in (old, new)]
        return abs(float(means[1] - means[0]))

    ranked = sorted((system for system in common if system != BEST_BASELINE), key=change, reverse=True)
    return [(old.best_member, new.best_member), *((system, system) for system in ranked if change(system))]


def _list_changed(
    system: str,
    rows: Iterable[Dialogue],
    before: Mapping[str, str],
    after: Mapping[str, str],
    old_scores: Mapping[str, tuple[float, ...]],
    new_scores: Mapping[str, tuple[float, ...]],
) -> Iterator[ExampleChange]:
    for row in rows:
        name = row.fname
        if before.get(name) != after.get(name) and all(
            name in known for known in (before, after, old_scores, new_scores)
        ):
            yield ExampleChange(
                system=system,
                split=DEV,
                fname=name,
                dialogue=row.dialogue,
                references=row.summaries,
                old=before[name],
                new=after[name],
                old_score=old_scores[name][COMBINED],
                new_score=new_scores[name][COMBINED],
            )


def _choose(examples: Iterable[ExampleChange], count: int) -> list[ExampleChange]:
    def gap(example: ExampleChange) -> float:
        return -round(abs(example.new_score - example.old_score), 6)

    # Comparing texts is slow, and only decides among those whose score changed as much.
    candidates = sorted(examples, key=lambda each: (gap(each), each.fname))[: max(10 * count, 100)]
    return sorted(candidates, key=lambda each: (gap(each), _similarity(each), each.fname))[:count]


def _similarity(example: ExampleChange) -> float:
    return SequenceMatcher(None, example.old, example.new, autojunk=False).ratio()
