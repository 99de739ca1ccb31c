"""The stages whose results in dvc.lock do not belong to a revision's code, data and params."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from yoyak.errors import first_line
from yoyak.project import DVC_LOCK
from yoyak.revisions import git
from yoyak.revisions.files import RevisionFiles
from yoyak.revisions.results import Note, StaleStage

MAX_REASONS = 4


def find_stale_stages(head: RevisionFiles) -> tuple[list[StaleStage], list[Note]]:
    """Return what ``dvc repro --dry --allow-missing`` would run at the revision, stages that always run left out."""
    with TemporaryDirectory(prefix="yoyak-") as temporary:
        folder = head.repository.top
        try:
            if head.revision.commit:
                folder = Path(temporary, "revision")
                git.extract(head.repository, head.revision, folder)
            return _run_dry(folder / head.repository.prefix, own=not head.revision.commit), []
        except Exception as error:
            # DVC reads pipelines that anyone may have written, and its errors have no common ancestor.
            text = f"`dvc repro --dry --allow-missing` could not tell at {head.revision.label}: {_cause(error)}."
            return [], [Note(section="Stages", text=text)]


def _cause(error: BaseException) -> str:
    """Return the first line of an error, or of the error behind one that names only a stage."""
    return first_line(error.__cause__ or error)


def _run_dry(folder: Path, *, own: bool) -> list[StaleStage]:
    from dvc.repo import Repo

    # A copy of a commit has no .git, and DVC needs none to compare digests.
    config = None if own else {"core": {"no_scm": True}}
    with _quiet(), Repo(str(folder), config=config) as repo:
        found = repo.reproduce(all_pipelines=True, dry=True, allow_missing=True, repro_fn=_check_stage)
        return [
            StaleStage(name=_name(stage, folder), reasons=tuple(_find_reasons(status)))
            for stage, status in found
            # A pipeline of its own that nobody has run, such as that of the studies, has no results to be stale.
            if not stage.always_changed
            and (_is_main(stage, folder) or Path(stage.path).with_name(DVC_LOCK.name).is_file())
        ]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep DVC from telling, stage by stage, what it would run."""
    logger = logging.getLogger("dvc")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


def _is_main(stage: Any, folder: Path) -> bool:
    return Path(stage.path).parent.resolve() == folder.resolve()


def _name(stage: Any, folder: Path) -> str:
    """Return the name of a stage, with its pipeline's folder unless that is the root."""
    where = Path(stage.path).parent.resolve().relative_to(folder.resolve()).as_posix()
    name = getattr(stage, "name", None) or Path(stage.path).name
    return name if where == "." else f"{where}: {name}"


def _check_stage(stage: Any, *, upstream: Any, allow_missing: bool, **_: Any) -> tuple[Any, Any] | None:
    """Return a stage with its status if it is stale, else None, as DVC's dry run decides.

    DVC's own goes on to look the stage up in the run cache, and fails where a dependency is missing (3.67).
    """
    if not stage.changed(allow_missing, upstream):
        return None
    known = any(dep.hash_info for dep in stage.deps) or not stage.deps
    return stage, stage.status() if known else {"": ["it has never run"]}


def _find_reasons(status: Mapping[str, Any]) -> list[str]:
    """Return the dependencies and params of a stage that changed, from DVC's status of it."""
    reasons: list[str] = []
    for entries in status.values():
        for entry in entries:
            if isinstance(entry, str):
                reasons.append(entry)
                continue
            for kind, paths in entry.items():
                for path, state in paths.items():
                    if isinstance(state, dict):
                        reasons += state
                    elif kind == "changed deps" and state != "deleted":
                        reasons.append(path)
    more = len(reasons) - MAX_REASONS
    return [*reasons[:MAX_REASONS], *([f"{more} more"] if more > 0 else [])]
