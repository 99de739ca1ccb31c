"""Revisions of the git repository that the project is in."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from yoyak.errors import UserError, nearest
from yoyak.revisions.results import CodeChange, Revision
from yoyak.tracking.git import GitError, read_git, run_git

WORK_TREE = "work tree"
PACKAGE = "src/yoyak/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """The git repository, and where the project is in it."""

    top: Path
    project: Path

    @property
    def prefix(self) -> str:
        """The project's folder relative to the repository's, with a slash at its end; empty if it is the same."""
        return "" if self.project == self.top else f"{self.project.relative_to(self.top).as_posix()}/"


def open_repository(project: Path) -> Repository:
    """Return the repository of a project; UserError where there is none."""
    project = project.resolve()
    try:
        top = run_git(project, "rev-parse", "--show-toplevel").strip()
    except GitError as error:
        raise UserError(f"{project} is not in a git repository, so it has no revisions to compare: {error}.") from error
    return Repository(top=Path(top).resolve(), project=project)


def resolve(repository: Repository, name: str) -> Revision:
    """Return the commit of a revision; UserError with the nearest branch or tag if there is none of that name."""
    try:
        commit = run_git(
            repository.top, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"
        ).strip()
    except GitError:
        names = run_git(
            repository.top, "for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/remotes", "refs/tags"
        )
        raise UserError(
            f"git has no revision '{name}'{nearest(name, [*names.split(), 'HEAD'])}; a shallow clone has only its last "
            "commits."
        ) from None
    return Revision(name=name, commit=commit)


def find_merge_base(repository: Repository, base: Revision, head: Revision) -> Revision:
    """Return the commit that both revisions started from; UserError if they have none in common."""
    try:
        commit = run_git(repository.top, "merge-base", base.commit, head.commit or "HEAD").strip()
    except GitError:
        raise UserError(
            f"{base.label} and {head.label} have no commit in common; in a shallow clone, fetch more of the history."
        ) from None
    return Revision(name=base.name, commit=commit)


def count_code_changes(repository: Repository, base: Revision, head: Revision) -> tuple[CodeChange, ...]:
    """Return the lines that changed by room of the package, and by folder outside of it."""
    revisions = [base.commit, *([head.commit] if head.commit else [])]
    options = ("--numstat", "--no-renames", "--no-ext-diff", "--no-textconv", "-z", "--relative")
    text = run_git(repository.project, "diff", *options, *revisions, "--")
    totals: dict[str, list[int]] = {}
    for added, removed, path in [*_parse_numstat(text), *([] if head.commit else _list_untracked(repository))]:
        total = totals.setdefault(_name_room(path), [0, 0, 0])
        for index, value in enumerate((1, added, removed)):
            total[index] += value
    return tuple(
        CodeChange(room=room, files=files, added=added, removed=removed)
        for room, (files, added, removed) in sorted(totals.items())
    )


def list_files(repository: Repository, revision: Revision, ending: str) -> list[str]:
    """Return the tracked files of the project whose names end so; relative to the project."""
    if revision.commit:
        text = run_git(repository.project, "ls-tree", "-r", "-z", "--name-only", revision.commit)
    else:
        text = run_git(repository.project, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    names = sorted({name for name in text.split("\0") if name.endswith(ending)})
    return names if revision.commit else [name for name in names if (repository.project / name).is_file()]


def read_file(repository: Repository, revision: Revision, path: str) -> str | None:
    """Return the text of a file that git tracks, or None if the revision does not have it."""
    if not revision.commit:
        file = repository.project / path
        return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else None
    try:
        return run_git(repository.top, "cat-file", "blob", f"{revision.commit}:{repository.prefix}{path}")
    except GitError:
        return None


def extract(repository: Repository, revision: Revision, folder: Path) -> None:
    """Write the files of a commit into a folder, without touching the work tree or the index."""
    content = read_git(repository.top, "archive", "--format=tar", revision.commit)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(folder, filter="data")


def _parse_numstat(text: str) -> Iterator[tuple[int, int, str]]:
    for entry in filter(None, text.split("\0")):
        added, removed, path = entry.split("\t", 2)
        # Of a binary file, git counts no lines and writes a dash.
        yield int(added) if added.isdigit() else 0, int(removed) if removed.isdigit() else 0, path


def _list_untracked(repository: Repository) -> Iterator[tuple[int, int, str]]:
    names = run_git(repository.project, "ls-files", "-z", "--others", "--exclude-standard")
    for name in filter(None, names.split("\0")):
        path = repository.project / name
        if path.is_file():
            yield path.read_bytes().count(b"\n"), 0, name


def _name_room(path: str) -> str:
    if path.startswith(PACKAGE):
        return f"{PACKAGE}{path.removeprefix(PACKAGE).partition('/')[0]}"
    folder, slash, _ = path.partition("/")
    return f"{folder}/" if slash else path
