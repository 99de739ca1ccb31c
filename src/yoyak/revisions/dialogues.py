"""The scores and summaries of each dialogue in two revisions: what `evaluate` wrote, or scored again."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from yoyak import project
from yoyak.data.records import Dialogue, read_jsonl
from yoyak.decoding.candidates import read_candidates
from yoyak.ensemble.splits import read_choices
from yoyak.errors import UserError, first_line
from yoyak.params.load import PARAMS_FILE
from yoyak.params.scoring import Scoring
from yoyak.project import DEV, GATE
from yoyak.revisions.files import RevisionFiles
from yoyak.revisions.results import Note
from yoyak.scoring.metrics import METRICS
from yoyak.scoring.results import DIALOGUES_FILE, read_evaluation
from yoyak.scoring.rouge import rouge
from yoyak.scoring.systems import BEST_BASELINE

COMBINED = METRICS.index("combined")
SCORING_CODE = ("src/yoyak/korean", "src/yoyak/scoring")
SCORING_PACKAGES = ("kiwipiepy", "kiwipiepy-model", "nltk", "rapidfuzz", "rouge-score")
"""What decides the scores of summaries, besides params."""

Rows = Mapping[tuple[str, str], Mapping[str, tuple[float, ...]]]
"""Scores by `METRICS` of each dialogue by fname, by system and split."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """The scores of one revision by dialogue."""

    rows: Rows
    best_member: str
    best_ensemble: str | None
    """None if there are no ensembles."""
    scheme: tuple[object, ...]
    """Scores of two revisions with the same scheme are comparable, if they were computed alike."""
    scorer: Mapping[str, str]
    """What computed them: digests of code and versions of libraries, by name; only what is known."""


def read_scoring(files: RevisionFiles) -> Scoring:
    """Return how the revision's params score; the defaults if its params.yaml is damaged, which others report."""
    try:
        return Scoring.model_validate((yaml.safe_load(files.read_text(PARAMS_FILE) or "") or {}).get("scoring") or {})
    except (yaml.YAMLError, ValueError, AttributeError):
        return Scoring()


def read_scores(
    base: RevisionFiles, head: RevisionFiles, scoring: Scoring
) -> tuple[tuple[Scored, Scored] | None, list[Note]]:
    """Return the scores by dialogue: those that `evaluate` wrote, or computed here from both revisions' summaries."""
    sides = [_read_scored(files) for files in (base, head)]
    found = [side for side in sides if isinstance(side, Scored)]
    comparable = len(found) == 2 and found[0].scheme == found[1].scheme
    changed = _find_changes(found[0].scorer, found[1].scorer) if comparable else []
    if comparable and not changed:
        return (found[0], found[1]), []
    different = (
        "The revisions score in different ways (params scoring), so the scores in their metrics cannot be compared."
    )
    if comparable:
        different = f"What scores differs between the revisions ({', '.join(changed)})."
    reasons = [side for side in sides if isinstance(side, str)] or [different]
    rescored = [_rescore(files, scoring) for files in (base, head)]
    again = [side for side in rescored if isinstance(side, Scored)]
    if len(again) == 2:
        text = f"{' '.join(reasons)} The summaries of both were scored again, as {head.revision.label} scores."
        return (again[0], again[1]), [Note(section="Scores", text=text)]
    reasons += [side for side in rescored if isinstance(side, str)]
    if comparable:
        text = "Their own scores are compared, whose differences may come from that, not from the models."
        return (found[0], found[1]), [Note(section="Scores", text=reason) for reason in (*dict.fromkeys(reasons), text)]
    text = "Without scores or summaries by dialogue of both revisions, no difference of scores was tested."
    return None, [Note(section="Scores", text=reason) for reason in (*dict.fromkeys(reasons), text)]


def _read_scored(files: RevisionFiles) -> Scored | str:
    """Return what `evaluate` wrote, or why it cannot be had."""
    name = project.EVALUATION.as_posix()
    folder = files.fetch_output(name)
    if folder is None:
        return files.explain(name)
    try:
        summary = read_evaluation(folder)
        rows: dict[tuple[str, str], dict[str, tuple[float, ...]]] = {}
        with (folder / DIALOGUES_FILE).open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines):
                if row["split"] != GATE and summary.systems[row["system"]] in ("member", "ensemble", "baseline"):
                    scores = tuple(float(row[metric]) for metric in METRICS)
                    rows.setdefault((row["system"], row["split"]), {})[row["fname"]] = scores
    except (UserError, OSError, KeyError, ValueError, TypeError) as error:
        return f"{name} of {files.revision.label} is damaged ({first_line(error)})."
    weights = read_scoring(files).weights
    kept = {
        (BEST_BASELINE if system == summary.best_baseline else system, split): scores
        for (system, split), scores in rows.items()
        if summary.systems[system] != "baseline" or system == summary.best_baseline
    }
    return Scored(
        rows=kept,
        best_member=summary.best_member,
        best_ensemble=summary.best_ensemble,
        scheme=(summary.primary.granularity, summary.primary.multi_reference, *weights),
        scorer=_read_scorer(files),
    )


def _find_changes(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Return the names of what both sides know, and that differs."""
    return [name for name in old if new.get(name, old[name]) != old[name]]


def _read_scorer(files: RevisionFiles) -> dict[str, str]:
    """Return what `evaluate` scored with, as far as dvc.lock and requirements.lock say it."""
    deps = {dep["path"]: str(dep.get("md5", "")) for dep in files.stages.get("evaluate", {}).get("deps", ())}
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)", files.read_text(project.REQUIREMENTS.as_posix()) or "", re.MULTILINE))
    return {
        **{path: deps[path] for path in SCORING_CODE if path in deps},
        **{package: pins[package] for package in SCORING_PACKAGES if package in pins},
    }


def _rescore(files: RevisionFiles, scoring: Scoring) -> Scored | str:
    """Score the revision's summaries, or return why they cannot be had."""
    dialogues = read_dialogues(files)
    if isinstance(dialogues, str):
        return dialogues
    granularity = scoring.granularities[0]
    rows: dict[tuple[str, str], dict[str, tuple[float, ...]]] = {}
    for system in _list_systems(files):
        for split, by_name in dialogues.items():
            texts = read_summaries(files, system, split)
            names = [name for name in by_name if name in texts and by_name[name].summaries]
            if not names:
                continue
            scores = rouge(
                [texts[name] for name in names],
                [by_name[name].summaries for name in names],
                granularity=granularity,
                multi_reference=scoring.multi_reference,
                weights=scoring.weights,
                processes=scoring.processes,
            )
            values = zip(*(scores[metric].tolist() for metric in METRICS), strict=True)
            rows[system, split] = dict(zip(names, values, strict=True))
    on_dev = {system: _mean(scores.values()) for (system, split), scores in rows.items() if split == DEV}
    members = [system for system in on_dev if f"{project.PREDICTIONS}/{system}" in files.outputs]
    if not members:
        return f"The summaries of {files.revision.label} cannot be had."
    ensembles = [system for system in on_dev if system not in members]
    return Scored(
        rows=rows,
        best_member=max(members, key=on_dev.__getitem__),
        best_ensemble=max(ensembles, key=on_dev.__getitem__, default=None),
        scheme=("rescored",),
        scorer={},
    )


def _mean(rows: Iterable[tuple[float, ...]]) -> float:
    return float(np.mean([row[COMBINED] for row in rows]))


def _list_systems(files: RevisionFiles) -> list[str]:
    folders = (f"{project.PREDICTIONS}/", f"{project.ENSEMBLES}/")
    names = (path.removeprefix(folder) for path in files.outputs for folder in folders if path.startswith(folder))
    return sorted({name for name in names if "/" not in name and "." not in name})


def read_dialogues(files: RevisionFiles) -> dict[str, dict[str, Dialogue]] | str:
    """Return the prepared dialogues by split and fname, gate left out, or why they cannot be had."""
    folder = files.fetch_output(project.EVAL_SPLITS.as_posix())
    if folder is None:
        return files.explain(project.EVAL_SPLITS.as_posix())
    try:
        return {
            path.stem: {row.fname: row for row in read_jsonl(path)}
            for path in sorted(folder.glob("*.jsonl"))
            if path.stem != GATE
        }
    except (UserError, OSError, KeyError, TypeError) as error:
        return f"{project.EVAL_SPLITS} of {files.revision.label} is damaged ({first_line(error)})."


def read_summaries(files: RevisionFiles, system: str, split: str) -> dict[str, str]:
    """Return a member's or an ensemble's summaries of a split by fname; none where they cannot be had."""
    kinds: tuple[tuple[Path, Callable[[Path], Mapping[str, Any]]], ...] = (
        (project.PREDICTIONS, read_candidates),
        (project.ENSEMBLES, read_choices),
    )
    for parent, read in kinds:
        folder = files.fetch_output((parent / system).as_posix())
        if folder is None or not (folder / f"{split}.jsonl").is_file():
            continue
        try:
            rows = read(folder / f"{split}.jsonl")
            return {name: row[0].text if isinstance(row, list) else row.text for name, row in rows.items() if row}
        except (UserError, KeyError, TypeError, AttributeError, IndexError):
            continue
    return {}


def find_same_dialogues(base: RevisionFiles, head: RevisionFiles) -> tuple[dict[str, set[str]] | None, list[Note]]:
    """Return the fnames by split whose text and references are the same in both revisions; None if nobody knows."""
    old, new = (read_dialogues(files) for files in (base, head))
    if not isinstance(old, str) and not isinstance(new, str):
        same = {
            split: {
                name
                for name, row in rows.items()
                if name in old.get(split, {}) and _content(old[split][name]) == _content(row)
            }
            for split, rows in new.items()
        }
        left_out = sum(len(rows) - len(same[split]) for split, rows in new.items())
        note = f"{left_out:,} dialogues are new or have another text or reference: they are in no test of a difference."
        return same, [Note(section="Scores", text=note)] if left_out else []
    if _lock_digest(base) == _lock_digest(head) != "":
        return None, []
    problems = [text for text in (old, new) if isinstance(text, str)]
    text = f"{' '.join(problems)} Dialogues of the same name are taken for the same."
    return None, [Note(section="Scores", text=text)]


def _content(row: Dialogue) -> tuple[str, tuple[str, ...]]:
    return row.dialogue, row.summaries


def _lock_digest(files: RevisionFiles) -> str:
    deps = files.stages.get("evaluate", {}).get("deps", ())
    return next((str(dep.get("md5", "")) for dep in deps if dep["path"] == project.EVAL_SPLITS.as_posix()), "")
