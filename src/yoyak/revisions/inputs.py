"""What went into the model and came out of training: params, data, metrics, curves."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from yoyak import project
from yoyak.errors import first_line
from yoyak.params.load import PARAMS_FILE
from yoyak.revisions import git
from yoyak.revisions.files import RevisionFiles
from yoyak.revisions.results import DataChange, MetricChange, Note, ParamChange, RowChange

MAX_DATA_BYTES = 200_000_000
"""Data of a larger size is not fetched to count its rows."""


def compare_params_and_metrics(
    base: RevisionFiles, head: RevisionFiles
) -> tuple[list[ParamChange], list[MetricChange], list[Note]]:
    """Return what ``dvc params diff`` and ``dvc metrics diff --all`` say of the two revisions."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    old, new = base.revision.commit, head.revision.commit or "workspace"
    notes: list[Note] = []
    found: dict[str, Mapping[str, Mapping[str, Any]]] = {}
    with Repo(str(base.repository.project)) as repo:
        for name, diff in (("Params", repo.params.diff), ("Metrics", repo.metrics.diff)):
            try:
                result = diff(a_rev=old, b_rev=new, all=name == "Metrics")
            except DvcException as error:
                notes.append(Note(section=name, text=f"DVC could not compare them: {first_line(error)}."))
                continue
            found[name] = result.get("diff", {})
            for revision, problem in result.get("errors", {}).items():
                side = base if revision == old else head
                files = sorted(problem) if isinstance(problem, dict) else []
                what = ", ".join(files) or first_line(problem)
                notes.append(Note(section=name, text=f"{side.revision.label}: DVC could not read {what}."))
    params = [
        ParamChange(
            file=file,
            key=key,
            old=values.get("old"),
            new=values.get("new"),
            missing="old" if "old" not in values else "new" if "new" not in values else "",
        )
        for file, changes in sorted(found.get("Params", {}).items())
        for key, values in sorted(changes.items())
    ]
    metrics = [
        MetricChange(file=file, key=key, old=_number(values.get("old")), new=_number(values.get("new")))
        for file, changes in sorted(found.get("Metrics", {}).items())
        for key, values in sorted(changes.items())
    ]
    return params, metrics, notes


def compare_data(base: RevisionFiles, head: RevisionFiles) -> tuple[list[DataChange], list[RowChange], list[Note]]:
    """Return the paths of ``.dvc`` files that differ, and how the rows of the files in them do."""
    old, new = _read_tracked(base), _read_tracked(head)
    changes: list[DataChange] = []
    rows: list[RowChange] = []
    notes: list[Note] = []
    for path in sorted(old.keys() | new.keys()):
        before, after = old.get(path, {}), new.get(path, {})
        if before.get("md5") == after.get("md5"):
            continue
        changes.append(
            DataChange(
                path=path,
                old_md5=str(before.get("md5", "")),
                new_md5=str(after.get("md5", "")),
                old_size=before.get("size"),
                new_size=after.get("size"),
            )
        )
        if max(before.get("size") or 0, after.get("size") or 0) > MAX_DATA_BYTES:
            notes.append(Note(section="Data", text=f"{path} is too large to fetch for counting its rows."))
            continue
        sides = [files.fetch(path) if tracked else None for files, tracked in ((base, before), (head, after))]
        for files, tracked, side in ((base, before, sides[0]), (head, after, sides[1])):
            if tracked and side is None:
                notes.append(Note(section="Data", text=files.explain(path)))
        if all(side is not None or not tracked for side, tracked in zip(sides, (before, after), strict=True)):
            rows += _compare_folders(path, sides[0], sides[1], _read_data_params(base) | _read_data_params(head))
    return changes, rows, notes


def find_changed_outputs(base: RevisionFiles, head: RevisionFiles) -> list[str]:
    """Return the outputs of stages that have another digest in the head's dvc.lock than in the base's."""
    return sorted(
        path
        for path in base.outputs.keys() | head.outputs.keys()
        if base.outputs.get(path, {}).get("md5") != head.outputs.get(path, {}).get("md5")
    )


def compare_curves(
    base: RevisionFiles, head: RevisionFiles
) -> dict[str, tuple[list[tuple[float, float]], list[tuple[float, float]]]]:
    """Return the dev scores in the course of each member's training, before and now, where they differ."""
    curves = {}
    beginning = project.training_curves_file("").with_suffix("").as_posix()
    for name in git.list_files(head.repository, head.revision, ".csv"):
        if name.startswith(beginning):
            old, new = (_parse_curve(files.read_text(name) or "") for files in (base, head))
            if old != new:
                curves[Path(name).stem.removeprefix(Path(beginning).name)] = (old, new)
    return curves


def _parse_curve(text: str) -> list[tuple[float, float]]:
    points = []
    for row in csv.DictReader(io.StringIO(text)):
        try:
            points.append((float(row["step"]), float(row["eval_combined"])))
        except (KeyError, TypeError, ValueError):
            continue
    return points


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _read_tracked(files: RevisionFiles) -> dict[str, dict[str, Any]]:
    """Return the outputs of the revision's ``.dvc`` files, by path."""
    tracked = {}
    for name in git.list_files(files.repository, files.revision, ".dvc"):
        try:
            content = yaml.safe_load(files.read_text(name) or "") or {}
            for out in content.get("outs", ()):
                tracked[(Path(name).parent / content.get("wdir", ".") / out["path"]).as_posix()] = out
        except (yaml.YAMLError, AttributeError, KeyError, TypeError):
            continue
    return tracked


def _read_data_params(files: RevisionFiles) -> dict[str, tuple[str, str]]:
    """Return the split and the column of identifiers of each data file, by its path, as params.yaml names them."""
    try:
        data = (yaml.safe_load(files.read_text(PARAMS_FILE) or "") or {}).get("data") or {}
        column = (data.get("columns") or {}).get("id", "fname")
        default = {"train": "train.csv", "dev": "dev.csv", "test": "test.csv"}
        folder = str(data.get("folder", "data"))
        named = data.get("files") or default
        return {Path(folder, str(file)).as_posix(): (str(split), str(column or "")) for split, file in named.items()}
    except (yaml.YAMLError, AttributeError, TypeError):
        return {}


def _compare_folders(
    path: str, old: Path | None, new: Path | None, named: Mapping[str, tuple[str, str]]
) -> Iterator[RowChange]:
    files: dict[str, list[Path | None]] = {}
    for index, side in enumerate((old, new)):
        for file in [side] if side and side.is_file() else sorted(side.rglob("*")) if side else []:
            name = path if file == side else f"{path}/{file.relative_to(side).as_posix()}" if side else path
            if file.is_file() and file.suffix.lower() in (".csv", ".jsonl"):
                files.setdefault(name, [None, None])[index] = file
    for name, (before, after) in sorted(files.items()):
        split, column = named.get(name, ("", "fname"))
        change = _compare_rows(name, split, _read_rows(before, column), _read_rows(after, column))
        if change.added or change.removed or change.changed:
            yield change


def _read_rows(file: Path | None, column: str) -> Counter[tuple[str, str]]:
    """Return the rows of a file as pairs of identifier and contents, with how often each occurs."""
    if file is None:
        return Counter()
    text = file.read_bytes().decode("utf-8-sig", "replace")
    rows: Counter[tuple[str, str]] = Counter()
    if file.suffix.lower() == ".csv":
        csv.field_size_limit(max(csv.field_size_limit(), MAX_DATA_BYTES))
        records: Iterator[Any] = csv.DictReader(io.StringIO(text, newline=""))
    else:
        records = (_parse(line) for line in text.splitlines() if line.strip())
    for record in records:
        identifier = str(record.get(column, "")) if isinstance(record, dict) else ""
        rows[identifier, json.dumps(record, ensure_ascii=False, sort_keys=True, default=str)] += 1
    return rows


def _parse(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return line


def _compare_rows(file: str, split: str, old: Counter[tuple[str, str]], new: Counter[tuple[str, str]]) -> RowChange:
    removed, added = old - new, new - old
    lost, gained = (Counter(name for name, _ in rows.elements() if name) for rows in (removed, added))
    changed = (lost & gained).total()
    return RowChange(
        file=file,
        split=split,
        old_rows=old.total(),
        new_rows=new.total(),
        added=added.total() - changed,
        removed=removed.total() - changed,
        changed=changed,
    )
