"""What share of an ensemble's gain over its best member a student keeps, and how much smaller it is.

The ensemble and its members are those of one revision, the student is of another one, whose train holds what the
ensemble wrote. All are scored on the same dialogues, and the gate split is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import ArrayLike

from yoyak import project
from yoyak.errors import UserError, nearest
from yoyak.revisions import git
from yoyak.revisions.build import find_project
from yoyak.revisions.dialogues import COMBINED, Scored, find_same_dialogues, read_scores, read_scoring
from yoyak.revisions.files import RevisionFiles, open_files
from yoyak.revisions.results import Revision
from yoyak.revisions.scores import SAMPLES, SEED
from yoyak.scoring.bootstrap import MAX_CELLS, Comparison, Interval, paired_bootstraps
from yoyak.scoring.ensembles import read_analysis
from yoyak.scoring.results import DIGITS


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptGain:
    """The mean scores on one split, and what the student keeps of the ensemble's gain."""

    split: str
    n: int
    """Number of dialogues."""
    best_member: float
    ensemble: float
    student: float
    ensemble_gain: Comparison
    """The ensemble's score minus that of its best member."""
    student_gain: Comparison
    """The student's score minus that of the ensemble's best member."""
    share: Interval | None
    """The student's gain as a share of the ensemble's; None unless the ensemble is significantly better than its best
    member, since a share of a gain that may be 0 says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Distillation:
    """A student beside the ensemble that it learned from."""

    base: Revision
    """That of the ensemble."""
    head: Revision
    """That of the student."""
    ensemble: str
    best_member: str
    """On dev."""
    student: str
    members: tuple[str, ...]
    """Those of the ensemble whose models all have to run; empty if they are not known."""
    confidence: float
    splits: tuple[KeptGain, ...]
    parameters: Mapping[str, int | None]
    """Of ``ensemble``, ``best_member`` and ``student``; those of the ensemble are the sum over its members. None if
    they are not known, as those of models behind an API."""
    notes: tuple[str, ...]


def compare_student(
    folder: Path, base: str, head: str | None, *, ensemble: str | None = None, student: str | None = None
) -> Distillation:
    """Compare a student with the ensemble of another revision of the project in a folder.

    Args:
        base: The revision of the ensemble.
        head: The revision of the student; None is the work tree.
        ensemble: Without it, the best one on dev.
        student: Without it, the best member on dev.

    Raises:
        UserError: There is no project, no such revision or system, or nothing that could be compared.
    """
    repository = git.open_repository(find_project(folder))
    old = git.resolve(repository, base)
    new = git.resolve(repository, head) if head else Revision(name=git.WORK_TREE, commit="")
    with ExitStack() as stack:
        temporary = Path(stack.enter_context(TemporaryDirectory(prefix="yoyak-")))
        before, after = (
            stack.enter_context(open_files(repository, revision, temporary / side))
            for side, revision in (("old", old), ("new", new))
        )
        scored, notes = read_scores(before, after, read_scoring(after))
        if scored is None:
            raise UserError(" ".join(note.text for note in notes))
        teachers, students = scored
        same, found = find_same_dialogues(before, after)
        if ensemble is None and teachers.best_ensemble is None:
            raise UserError(f"{old.label} has no ensemble: name a revision in which one was scored.")
        chosen = _check_system("--ensemble", ensemble or str(teachers.best_ensemble), teachers, old)
        learner = _check_system("--student", student or students.best_member, students, new)
        members = _list_members(before, chosen)
        confidence = read_scoring(after).confidence
        sizes = [_count_parameters(before, member) for member in members]
        return Distillation(
            base=old,
            head=new,
            ensemble=chosen,
            best_member=teachers.best_member,
            student=learner,
            members=members,
            confidence=confidence,
            splits=tuple(_compare_splits(teachers, students, chosen, learner, same, confidence)),
            parameters={
                "ensemble": sum(size or 0 for size in sizes) if sizes and all(sizes) else None,
                "best_member": _count_parameters(before, teachers.best_member),
                "student": _count_parameters(after, learner),
            },
            notes=tuple(dict.fromkeys(note.text for note in (*notes, *found))),
        )


def measure_kept_gain(
    split: str, best_member: ArrayLike, ensemble: ArrayLike, student: ArrayLike, confidence: float
) -> KeptGain:
    """Compare the scores of the same dialogues.

    The interval of the share is a percentile interval of the ratio of both mean gains over resampled dialogues.
    """
    scores = np.array([best_member, ensemble, student], float)
    gains = scores[1:] - scores[0]
    whole, part = paired_bootstraps(gains, samples=SAMPLES, confidence=confidence, seed=SEED)
    means = scores.mean(axis=1)
    return KeptGain(
        split=split,
        n=scores.shape[1],
        best_member=float(means[0]),
        ensemble=float(means[1]),
        student=float(means[2]),
        ensemble_gain=whole,
        student_gain=part,
        share=_measure_share(gains, confidence) if is_significant(whole, confidence) and whole.difference > 0 else None,
    )


def is_significant(test: Comparison, confidence: float) -> bool:
    """Return whether a difference is more than noise."""
    return test.p_value < round(1 - confidence, DIGITS)


def _measure_share(gains: np.ndarray, confidence: float) -> Interval:
    """Return the share that the second row's mean is of the first one's; rows are [gains, dialogues]."""
    from scipy.stats import bootstrap

    def share(whole: np.ndarray, part: np.ndarray, axis: int) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return part.mean(axis=axis) / whole.mean(axis=axis)

    result = bootstrap(
        tuple(gains),
        share,
        n_resamples=SAMPLES,
        batch=max(1, MAX_CELLS // gains.shape[1]),
        paired=True,
        vectorized=True,
        confidence_level=confidence,
        method="percentile",
        rng=SEED,
    )
    low, high = result.confidence_interval
    return Interval(mean=float(share(gains[0], gains[1], 0)), low=float(low), high=float(high), n=gains.shape[1])


def _compare_splits(
    teachers: Scored,
    students: Scored,
    ensemble: str,
    student: str,
    same: Mapping[str, set[str]] | None,
    confidence: float,
) -> Iterator[KeptGain]:
    for split in [split for system, split in students.rows if system == student]:
        rows = [
            side.rows.get((system, split), {})
            for side, system in ((teachers, teachers.best_member), (teachers, ensemble), (students, student))
        ]
        names = [
            name
            for name in rows[0]
            if all(name in each for each in rows) and (same is None or name in same.get(split, ()))
        ]
        if names:
            best_member, whole, part = ([each[name][COMBINED] for name in names] for each in rows)
            yield measure_kept_gain(split, best_member, whole, part, confidence)


def _check_system(option: str, name: str, scored: Scored, revision: Revision) -> str:
    systems = sorted({system for system, _ in scored.rows})
    if name not in systems:
        raise UserError(f"{option}: {revision.label} has no scores of '{name}'{nearest(name, systems)}.")
    return name


def _list_members(files: RevisionFiles, ensemble: str) -> tuple[str, ...]:
    folder = files.fetch_output(project.EVALUATION.as_posix())
    try:
        info = read_analysis(folder).strategies.get(ensemble) if folder else None
    except UserError:
        return ()
    if info is None:
        return ()
    # A soup is one model, whose members are averaged before it runs.
    return info.members[:1] if info.type == "soup" else info.members


def _count_parameters(files: RevisionFiles, member: str) -> int | None:
    path = files.fetch_output(project.training_file(member).as_posix())
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))["parameters"]) if path else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
