"""A commit of the project in a temporary git work tree, which shares the project's DVC cache.

    with checked_out(root, commit) as tree:
        tree.run("dvc", "repro", "--single-item", "prepare")

Whatever ends the block, Ctrl-C and SIGTERM too, nothing is left of it, and the project itself is never written to.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from yoyak.errors import UserError
from yoyak.params.overrides import MEMBER_VARIABLES, PREFIX
from yoyak.process import exit_on_sigterm, ignore_interrupts, stop
from yoyak.registry.verify import has_commit
from yoyak.tracking.git import GitError, run_git
from yoyak.tracking.uri import VARIABLE

GRACE = 10.0
"""Seconds that a stage has to end by itself after Ctrl-C."""
STDERR = 2
"""Where stages write: stdout is for the result."""
_OWN = ("MLFLOW_", "DVC_EXP", "DVC_STAGE", "DVC_ROOT", "GIT_", PREFIX)
"""Beginnings of the variables that would send a stage elsewhere, or change its params."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkTree:
    """A commit that is checked out, and the environment of what is run there."""

    project: Path
    """The folder of the project in it."""
    environment: dict[str, str]
    """With the commit's own code, and a tracking store that is deleted with the work tree."""

    def run(self, *command: str, check: bool = True) -> int:
        """Run a program to its end and return its exit code; its output goes to stderr.

        Raises UserError where it fails, unless ``check`` is false.
        """
        program = [sys.executable, "-m", *command] if command[0] == "dvc" else list(command)
        process = subprocess.Popen(program, cwd=self.project, env=self.environment, stdout=STDERR, stderr=STDERR)
        try:
            code = process.wait()
        except BaseException:
            # Ctrl-C in a terminal has reached the stage as well, which ends in order.
            stop(process, grace=GRACE)
            raise
        if code and check:
            raise UserError(f"`{' '.join(command)}` failed with code {code}: its output above says why.")
        return code


@contextmanager
def checked_out(root: Path, commit: str) -> Iterator[WorkTree]:
    """Yield a commit in a temporary work tree. Raises UserError where the repository does not have it."""
    try:
        top = run_git(root, "rev-parse", "--show-toplevel").strip()
    except GitError as error:
        raise UserError(f"{root} is not in a git repository: run in a clone of the project ({error}).") from error
    if not has_commit(root, commit):
        raise UserError(
            f"The commit {commit[:12]} is not in this repository: `git fetch --all` may bring it (`git fetch "
            f"--unshallow` in a shallow clone), else run in the clone that it was made in."
        )
    with exit_on_sigterm():
        temporary = Path(tempfile.mkdtemp(prefix="yoyak-")).resolve()
        tree = temporary / "tree"
        try:
            # Hooks of the project, such as DVC's own, are not for this.
            options = ("-c", "core.hooksPath=/dev/null")
            try:
                run_git(root, *options, "worktree", "add", "--quiet", "--detach", str(tree), commit)
            except GitError as error:
                raise UserError(f"git cannot check out {commit[:12]}: {error}") from error
            project = tree / root.resolve().relative_to(Path(top).resolve())
            _share_dvc(root, project)
            yield WorkTree(project=project, environment=_environment(project, temporary))
        finally:
            with ignore_interrupts():
                shutil.rmtree(temporary, ignore_errors=True)
                with suppress(GitError):
                    run_git(root, "worktree", "prune")


def pull(tree: WorkTree, commit: str) -> None:
    """Bring what the commit's .dvc files track into the work tree: from the project's cache, else from its remote."""
    files = run_git(tree.project, "ls-files", "--", "*.dvc").splitlines()
    if not files:
        return
    if _quiet(tree, "checkout", *files).returncode == 0:
        return
    pulled = _quiet(tree, "pull", *files)
    if pulled.returncode:
        lines = [line for line in (pulled.stdout + pulled.stderr).splitlines() if "remote" in line.lower()]
        reason = f" ({lines[0].removeprefix('ERROR: ').rstrip('.')})" if lines else ""
        raise UserError(
            f"The data of {commit[:12]} ({', '.join(files)}) are neither in DVC's cache nor in a remote{reason}: "
            f"`dvc remote add -d` one that has them."
        )


def _quiet(tree: WorkTree, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=tree.project,
        env=tree.environment,
        capture_output=True,
        text=True,
        check=False,
    )


def _share_dvc(root: Path, project: Path) -> None:
    """Give the work tree the project's cache and remotes, also those of config.local, which git does not have."""
    from dvc.config import Config

    if not (root / ".dvc").is_dir() or not (project / ".dvc").is_dir():
        raise UserError(f"{root} is not a DVC project at this commit: there is no .dvc folder.")
    ours = Config(dvc_dir=str(root / ".dvc"), validate=False).read()
    cache = ours.get("cache", {}).get("dir") or root / ".dvc" / "cache"
    with Config(dvc_dir=str(project / ".dvc"), validate=False).edit("local") as local:
        local["core"] = {**ours.get("core", {}), "autostage": False}
        local["cache"] = {**ours.get("cache", {}), "dir": str(Path(cache).resolve())}
        local["remote"] = {name: dict(remote) for name, remote in ours.get("remote", {}).items()}


def _environment(project: Path, temporary: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(_OWN) and key not in MEMBER_VARIABLES}
    # The commit's own code, wherever `yoyak` is installed from.
    paths = {"PATH": Path(sys.executable).parent, "PYTHONPATH": project / "src"}
    return {
        **kept,
        **{name: os.pathsep.join([str(path), *filter(None, [kept.get(name)])]) for name, path in paths.items()},
        VARIABLE: f"sqlite:///{temporary / 'mlflow.db'}",
        "DVC_SITE_CACHE_DIR": str(temporary / "dvc"),
    }
