"""Running git."""

from __future__ import annotations

import subprocess
from pathlib import Path

from yoyak.errors import first_line


class GitError(Exception):
    """git failed, or could not be started; its message says why, in one line."""


def run_git(folder: Path, *arguments: str, timeout: float | None = None) -> str:
    """Return what git prints in a folder; GitError if it fails, or takes longer than ``timeout`` seconds."""
    return read_git(folder, *arguments, timeout=timeout).decode("utf-8", "replace")


def read_git(folder: Path, *arguments: str, timeout: float | None = None) -> bytes:
    """Return the bytes that git prints, as `run_git` does."""
    try:
        done = subprocess.run(["git", "-C", folder, *arguments], capture_output=True, check=False, timeout=timeout)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GitError(f"git could not be run ({first_line(error)})") from error
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise GitError(lines[0] if lines else f"git {arguments[0]} failed")
    return done.stdout
