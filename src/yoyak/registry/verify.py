"""Whether what a version was made from is still there: data, outputs, params, model, libraries, checkpoint, commit.

Everything is hashed again, by DVC's rules and without its memory of earlier hashes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yoyak.errors import UserError
from yoyak.params.load import PARAMS_FILE
from yoyak.params.overrides import read_yaml
from yoyak.registry.lineage import Lineage
from yoyak.registry.lineage_record import cached_hub_commit, file_md5s
from yoyak.registry.resolve import fetch_unchecked, locate
from yoyak.tracking import lineage as tracked
from yoyak.tracking.git import GitError, run_git
from yoyak.tracking.stage_run import flatten

SHORT = 12
"""Characters of a digest in a sentence."""
_NOTHING = object()
"""What is at a key that does not exist; null is a value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Something that is not as it was when a version was made."""

    subject: str
    """A path, a param, a package …"""
    recorded: str
    found: str
    """Empty if it is missing."""
    sentence: str


def verify(lineage: Lineage, root: str | Path = ".") -> list[Difference]:
    """Return how the project at ``root``, MLflow's store and this environment differ from a version's lineage.

    The members of an ensemble and the source of an exported model are included. What was not recorded is not compared.
    """
    found: dict[str, Difference] = {}
    with _open_repo(Path(root).resolve()) as repo:
        checker = _Checker(Path(root).resolve(), repo)
        for entry in _with_related(lineage):
            for difference in checker.check(entry):
                found.setdefault(difference.sentence, difference)
    return list(found.values())


def compare_versions(recorded: Mapping[str, str], label: str) -> list[Difference]:
    """Return which packages have another version here than was recorded for a version."""
    here = tracked.versions()
    return [
        _difference(
            name,
            version,
            here.get(name, ""),
            f"{name} {version} made {label}; here it is {here[name]}."
            if name in here
            else f"{name} {version} made {label}; here it is not installed.",
        )
        for name, version in recorded.items()
        if here.get(name) != version
    ]


def compare_params(recorded: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return the params that differ by dotted key, with both values; a value that is missing is empty.

    Args:
        recorded: Values by dotted key, such as ``members.bart``, of any depth.
        found: The tree of a params file, or values by dotted key.
    """
    before = flatten(recorded)
    after = flatten({key: value for key in recorded if (value := _find(found, key)) is not _NOTHING})
    keys = [*before, *(key for key in after if key not in before)]
    return {key: (before.get(key, ""), after.get(key, "")) for key in keys if before.get(key) != after.get(key)}


def _find(tree: Mapping[str, Any], dotted: str) -> Any:
    """Return the value at a dotted key, or `_NOTHING`."""
    if dotted in tree:
        return tree[dotted]
    value: Any = tree
    for part in dotted.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return _NOTHING
        value = value[part]
    return value


def _with_related(lineage: Lineage) -> Iterator[Lineage]:
    yield lineage
    for related in (*lineage.members, *((lineage.source,) if lineage.source else ())):
        yield from _with_related(related)


class _Checker:
    """Compares with one project; a path that several versions name is hashed once."""

    def __init__(self, root: Path, repo: Any) -> None:
        self.root = root
        self.repo = repo
        self.md5s: dict[str, str] = {}
        path = root / PARAMS_FILE
        self.params = read_yaml(path) if path.is_file() else None

    def check(self, lineage: Lineage) -> Iterator[Difference]:
        yield from self._check_paths(lineage)
        yield from self._check_params(lineage)
        yield from _check_model(lineage)
        yield from compare_versions(lineage.versions, lineage.label)
        yield from self._check_base(lineage)
        yield from self._check_commit(lineage)
        yield from _check_runs(lineage)

    def _check_paths(self, lineage: Lineage) -> Iterator[Difference]:
        recorded = {file.path: file.md5 for file in lineage.data if file.md5}
        for stage in lineage.stages:
            recorded |= {**stage.deps, **stage.outs}
        for path, md5 in recorded.items():
            found = self._digest(path)
            if found == md5 or not md5:
                continue
            if not found:
                yield _difference(path, md5, "", f"{path} is missing; {lineage.label} was made with md5 {md5[:SHORT]}.")
                continue
            files = self._changed_files(path, md5)
            inside = f" in {', '.join(files)}" if files else ""
            yield _difference(
                path, md5, found, f"{path} differs{inside}: md5 {found[:SHORT]}, {lineage.label} had {md5[:SHORT]}."
            )

    def _check_params(self, lineage: Lineage) -> Iterator[Difference]:
        if self.params is None:
            return
        recorded = {key: value for stage in lineage.stages for key, value in stage.params.items()}
        for key, (before, after) in compare_params(recorded, self.params).items():
            here = after or "not set"
            yield _difference(
                key, before, after, f"{key} is {here} in {PARAMS_FILE}; {lineage.label} had {before or 'none'}."
            )

    def _check_base(self, lineage: Lineage) -> Iterator[Difference]:
        base = lineage.base
        if base is None:
            return
        if base.md5:
            folder = self.root / base.checkpoint
            found = tracked.digest(folder) if folder.exists() else ""
            if found != base.md5:
                what = f"has md5 {found[:SHORT]}" if found else "is missing"
                yield _difference(
                    base.checkpoint,
                    base.md5,
                    found,
                    f"The checkpoint {base.checkpoint} {what}; {lineage.label} started from md5 {base.md5[:SHORT]}.",
                )
        elif base.commit:
            found = cached_hub_commit(base.checkpoint)
            if found and found != base.commit:
                yield _difference(
                    base.checkpoint,
                    base.commit,
                    found,
                    f"The checkpoint {base.checkpoint} is at commit {found[:SHORT]} in this machine's cache; "
                    f"{lineage.label} started from {base.commit[:SHORT]}.",
                )

    def _check_commit(self, lineage: Lineage) -> Iterator[Difference]:
        if lineage.commit and not has_commit(self.root, lineage.commit):
            yield _difference(
                "commit",
                lineage.commit,
                "",
                f"The commit {lineage.commit[:SHORT]} of {lineage.label} is not in this repository: fetch it.",
            )

    def _digest(self, path: str) -> str:
        """Return DVC's md5 of a path of the project, or an empty string if there is nothing."""
        if path not in self.md5s:
            full = self.root / path
            if not full.exists():
                self.md5s[path] = ""
            elif full.is_file():
                self.md5s[path] = tracked.digest(full)
            else:
                listing = sorted(self._listing(full).items())
                text = json.dumps([{"md5": md5, "relpath": name} for name, md5 in listing])
                self.md5s[path] = hashlib.md5(text.encode()).hexdigest() + ".dir"
        return self.md5s[path]

    def _listing(self, folder: Path) -> dict[str, str]:
        """Return the md5 of each file in a folder that DVC does not ignore."""
        if self.repo is None:
            return file_md5s(folder)
        files = [Path(file) for file in self.repo.dvcignore.find(self.repo.fs, str(folder))]
        return {file.relative_to(folder).as_posix(): tracked.digest(file) for file in files}

    def _changed_files(self, path: str, md5: str) -> list[str]:
        """Return which files of a folder differ, if DVC's cache still has the list of what was there."""
        full = self.root / path
        if self.repo is None or not md5.endswith(".dir") or not full.is_dir():
            return []
        listed = Path(self.repo.cache.local.path, md5[:2], md5[2:])
        try:
            before = {entry["relpath"]: entry["md5"] for entry in json.loads(listed.read_text(encoding="utf-8"))}
        except (OSError, ValueError):
            return []
        after = self._listing(full)
        return sorted(name for name in {*before, *after} if before.get(name) != after.get(name))


def _check_model(lineage: Lineage) -> Iterator[Difference]:
    if not lineage.files:
        return
    try:
        folder = fetch_unchecked(locate(f"models:/{lineage.label}"))
        found = file_md5s(folder)
    except (UserError, OSError) as error:
        yield _difference("model", lineage.model_id, "", f"The model of {lineage.label} cannot be read: {error}")
        return
    for name in sorted({*lineage.files, *found}):
        before, after = lineage.files.get(name, ""), found.get(name, "")
        if before != after:
            what = "is missing" if not after else "was not there when it was registered" if not before else "differs"
            yield _difference(
                name, before, after, f"The file {name} of the model of {lineage.label} {what} ({folder / name})."
            )


def _check_runs(lineage: Lineage) -> Iterator[Difference]:
    if lineage.run is None or lineage.run.deleted:
        yield _difference("run", lineage.label, "", f"The run that made {lineage.label} was deleted from MLflow.")
    for label in lineage.missing:
        yield _difference(label, label, "", f"{label}, which {lineage.label} refers to, is not in the registry.")


def has_commit(root: Path, commit: str) -> bool:
    """Return whether the repository of a project has a commit."""
    try:
        run_git(root, "cat-file", "-e", f"{commit}^{{commit}}")
    except GitError:
        return False
    return True


def _open_repo(root: Path) -> AbstractContextManager[Any]:
    """Open DVC's repository at a folder, which knows what DVC ignores; None where there is none."""
    if not (root / ".dvc").is_dir():
        return nullcontext()
    from dvc.repo import Repo

    return closing(Repo(str(root)))


def _difference(subject: str, recorded: str, found: str, sentence: str) -> Difference:
    return Difference(subject=subject, recorded=recorded, found=found, sentence=sentence)
