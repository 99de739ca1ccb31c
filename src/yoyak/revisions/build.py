"""Comparing two revisions.

from yoyak.revisions.build import compare_revisions

changes = compare_revisions(Path("."), "origin/main", None)
print(changes.losses)
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from yoyak import project
from yoyak.errors import UserError
from yoyak.revisions import git
from yoyak.revisions.dialogues import find_same_dialogues, read_scores, read_scoring
from yoyak.revisions.files import open_files
from yoyak.revisions.inputs import (
    compare_curves,
    compare_data,
    compare_params_and_metrics,
    find_changed_outputs,
)
from yoyak.revisions.measures import compare_behaviour, compare_speed
from yoyak.revisions.results import Changes, Note, Revision
from yoyak.revisions.scores import SCORES_FOLDER, compare_scores, find_examples
from yoyak.revisions.stale import find_stale_stages


def compare_revisions(
    folder: Path, base: str, head: str | None, *, examples: int = 5, merge_base: bool = False
) -> Changes:
    """Compare two revisions of the project in a folder; a head of None is the work tree.

    Nothing is trained or summarized, and the work tree is not changed.

    Args:
        examples: Number of dialogues to show.
        merge_base: Compare with the commit that the head started from, not with the base's last one.

    Raises:
        UserError: There is no project, no git or DVC repository, or no such revision.
    """
    repository = git.open_repository(find_project(folder))
    old = git.resolve(repository, base)
    new = git.resolve(repository, head) if head else Revision(name=git.WORK_TREE, commit="")
    if merge_base:
        old = git.find_merge_base(repository, old, new)
    with ExitStack() as stack:
        temporary = Path(stack.enter_context(TemporaryDirectory(prefix="yoyak-")))
        sides = [
            stack.enter_context(open_files(repository, revision, temporary / side))
            for side, revision in (("old", old), ("new", new))
        ]
        before, after = sides
        notes: list[Note] = []
        params, metrics, found = compare_params_and_metrics(before, after)
        notes += found
        data, rows, found = compare_data(before, after)
        notes += found
        stale, found = find_stale_stages(after)
        notes += found
        scored, found = read_scores(before, after, read_scoring(after))
        notes += found
        same, found = find_same_dialogues(before, after) if scored else (None, [])
        notes += found
        shown, found = find_examples(before, after, scored, same, examples)
        notes += found
        speed, found = compare_speed(before, after, metrics)
        notes += found
        behaviour, found = compare_behaviour(before, after)
        notes += found
        confidence = read_scoring(after).confidence
        bench = project.BENCH_METRICS.as_posix()
        return Changes(
            base=old,
            head=new,
            confidence=confidence,
            params=tuple(params),
            data=tuple(data),
            rows=tuple(rows),
            code=git.count_code_changes(repository, old, new),
            stale=tuple(stale),
            outputs=tuple(find_changed_outputs(before, after)),
            metrics=tuple(
                metric for metric in metrics if not metric.file.startswith(SCORES_FOLDER) and metric.file != bench
            ),
            scores=tuple(compare_scores(scored, same, metrics, confidence)),
            speed=tuple(speed),
            behaviour=tuple(behaviour),
            examples=tuple(shown),
            curves=compare_curves(before, after),
            notes=tuple(dict.fromkeys(notes)),
        )


def find_project(folder: Path) -> Path:
    """Return the project that a folder is in. Raises UserError if there is none, or no DVC repository."""
    root = project.project_root(folder)
    if not all((root / name).exists() for name in project.MARKERS):
        raise UserError(f"{folder.resolve()} is not in a project: there is no dvc.yaml with a params.yaml beside it.")
    if not any((parent / ".dvc").is_dir() for parent in (root, *root.parents)):
        raise UserError(f"{root} is not a DVC project: run `dvc init` there, or compare in a clone of one.")
    return root
