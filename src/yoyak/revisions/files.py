"""The files of a revision: those that git tracks, and those that DVC has in its cache or in a remote."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from yoyak.errors import first_line
from yoyak.project import DVC_LOCK
from yoyak.revisions import git
from yoyak.revisions.results import Revision
from yoyak.tracking.lineage import parse_lock

PIPELINES = ("", "export/")
"""Folders of the pipelines whose results a report is about."""


class RevisionFiles:
    """Reads files of one revision, and remembers which of them could not be had.

    Nothing is run and the work tree is not changed: files come from git, from the work tree if that is the revision,
    and else through DVC from its cache or from a remote, by the digests of the revision's dvc.lock.
    """

    def __init__(self, repository: git.Repository, revision: Revision, folder: Path) -> None:
        self.repository, self.revision, self.folder = repository, revision, folder
        self._unavailable: dict[str, str] = {}
        self._fetched: dict[str, Path | None] = {}

    def read_text(self, path: str) -> str | None:
        """Return a file that git tracks; None if the revision does not have it."""
        return git.read_file(self.repository, self.revision, path)

    @cached_property
    def stages(self) -> dict[str, Mapping[str, Any]]:
        """The stages of each dvc.lock, by name; those of another pipeline than the main one begin with its folder."""
        import yaml

        stages: dict[str, Mapping[str, Any]] = {}
        for folder in PIPELINES:
            try:
                found = parse_lock(self.read_text(f"{folder}{DVC_LOCK}") or "")
                stages |= {f"{folder}{name}": stage for name, stage in found.items()}
            except (yaml.YAMLError, AttributeError, TypeError) as error:
                self._unavailable[f"{folder}{DVC_LOCK}"] = first_line(error)
        return stages

    @cached_property
    def outputs(self) -> dict[str, Mapping[str, Any]]:
        """What dvc.lock has of each output, by path. All pipelines of a project run in its root."""
        return {out["path"]: out for stage in self.stages.values() for out in stage.get("outs", ())}

    def fetch(self, path: str) -> Path | None:
        """Return a file or folder that DVC or git tracks, or None if it cannot be had; `explain` says why."""
        if path not in self._fetched:
            self._fetched[path] = self._fetch(path)
        return self._fetched[path]

    def fetch_output(self, path: str) -> Path | None:
        """As `fetch`, for what a stage has written: nothing is looked up that dvc.lock does not have."""
        known = any(f"{path}/".startswith(f"{out}/") or out.startswith(f"{path}/") for out in self.outputs)
        return self.fetch(path) if known or self._in_work_tree(path) else None

    def explain(self, path: str) -> str:
        """Return one sentence on why a path could not be had."""
        if path in self._unavailable:
            return (
                f"{path} of {self.revision.label} is neither in the DVC cache nor in a remote"
                f"{self._unavailable[path]}: `dvc push` where it was made, or `dvc fetch --all-commits` here, "
                "provides it."
            )
        return f"{self.revision.label} has no {path}."

    def close(self) -> None:
        """Close DVC's databases."""
        if "_file_system" in self.__dict__:
            self._file_system.close()

    def _in_work_tree(self, path: str) -> bool:
        return not self.revision.commit and (self.repository.project / path).exists()

    def _fetch(self, path: str) -> Path | None:
        target = self.folder / path
        if not Path(os.path.normpath(target)).is_relative_to(self.folder):
            # A stranger's branch may name any path.
            self._unavailable[path] = " that may be read, since it is outside of the project"
            return None
        if self._in_work_tree(path):
            return self.repository.project / path
        try:
            source = f"/{(self.repository.project.relative_to(self._paths_begin) / path).as_posix()}"
            target.parent.mkdir(parents=True, exist_ok=True)
            if self._file_system.isdir(source):
                self._file_system.get(source, str(target), recursive=True)
            else:
                self._file_system.get_file(source, str(target))
            if not target.exists():
                self._unavailable[path] = ""
        except Exception as error:
            # Each kind of remote has a client of its own, with exceptions of its own.
            shutil.rmtree(target, ignore_errors=True)
            missing = isinstance(error, FileNotFoundError)
            self._unavailable[path] = "" if missing else f" that can be read ({first_line(error)})"
        return target if target.exists() else None

    @cached_property
    def _dvc_root(self) -> Path:
        """The folder of the DVC repository: the project's, or one above it."""
        folders = (self.repository.project, *self.repository.project.parents)
        return next((folder for folder in folders if (folder / ".dvc").is_dir()), self.repository.project)

    @property
    def _is_subrepo(self) -> bool:
        """Whether DVC was initialized in a folder of the git repository, and a commit is read.

        DVC then reads a clone of the whole git repository, whose paths begin at its top.
        """
        return bool(self.revision.commit) and self._dvc_root != self.repository.top

    @property
    def _paths_begin(self) -> Path:
        return self.repository.top if self._is_subrepo else self._dvc_root

    @cached_property
    def _file_system(self) -> Any:
        from dvc.api import DVCFileSystem

        return DVCFileSystem(str(self._dvc_root), rev=self.revision.commit or None, subrepos=self._is_subrepo)


@contextmanager
def open_files(repository: git.Repository, revision: Revision, folder: Path) -> Iterator[RevisionFiles]:
    """Yield the files of a revision; copies go into ``folder``."""
    files = RevisionFiles(repository, revision, folder)
    try:
        yield files
    finally:
        files.close()
