"""Builds the report: reads what the pipeline wrote into one `View`, and writes that as HTML and Markdown.

The pages are a function of the files that are read and of the arguments: no clock, no random numbers and no
environment beyond the overrides of params.yaml, so that the same inputs give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from yoyak import project
from yoyak.errors import UserError, nearest
from yoyak.files import atomic_path
from yoyak.params import dump
from yoyak.params.stages import ReportParams
from yoyak.reporting import examples, facts, groups, render
from yoyak.reporting.curves import read_curves
from yoyak.reporting.ensembles import make_section
from yoyak.reporting.view import ScoreKey, System, Training, View
from yoyak.scoring.bootstrap import Interval
from yoyak.scoring.ensembles import read_analysis
from yoyak.scoring.results import ALL, EvaluationSummary, Part, SystemScore, read_evaluation
from yoyak.tracking.registered import Registered, read_registered

MAX_SERIES = 8
"""Models that the charts draw in colour; the tables have all."""
KINDS = ("member", "ensemble", "baseline", "oracle")


class Source(NamedTuple):
    """Where the summaries of a member or an ensemble are, and the stage that writes them."""

    folder: str
    stage: str


def build_report(root: Path, out: Path, settings: ReportParams) -> None:
    """Write ``out/index.html``, ``out/report.md`` and ``out/images`` from the outputs of the pipeline in ``root``.

    Trainings and predictions are shown for the members of ``settings``; every system that was scored is in the
    tables. Raises UserError if an input is missing or damaged.
    """
    view = read_view(root, settings)
    with atomic_path(out) as work:
        render.write_report(view, work)


def read_view(root: Path, settings: ReportParams) -> View:
    """Return everything that the pages show; see `build_report`."""
    members = list(settings.members)
    summary = read_evaluation(root / project.EVALUATION)
    prepared = read_json(root, project.PREPARE_REPORT.as_posix(), "prepare", optional=True)
    registered = read_registered(root) if (root / project.REGISTERED).is_file() else None
    parts = _order_parts(summary.parts)
    scores = {_key(score): score.interval for score in summary.scores}
    systems = _systems(summary, scores, parts[0], members)
    _check_members(members, systems)
    section = make_section(read_analysis(root / project.EVALUATION), parts)
    series = {system.name: system.series for system in systems if system.series is not None}
    sources = {member: Source(project.predictions_folder(member).as_posix(), f"predict@{member}") for member in members}
    if section:
        sources[section.best] = _ensemble_source(section.best, settings)

    table = groups.read_scores(root / project.EVALUATION / "dialogues.csv")
    compared = [*(name for name in series if name in sources), summary.best_baseline]
    chosen = examples.choose(table, parts, summary.best_member, settings.report.dialogues)
    dialogues = examples.read_dialogues(root, chosen)
    summaries = {
        name: examples.read_summaries(root, source.folder, source.stage, chosen) for name, source in sources.items()
    }
    curves, unit = read_curves(root, members, series)
    return View(
        title=settings.report.title,
        folder=settings.data.folder,
        weights=settings.scoring.weights,
        primary=summary.primary,
        confidence=summary.confidence,
        bootstrap_samples=summary.bootstrap_samples,
        systems=systems,
        parts=parts,
        granularities=tuple(dict.fromkeys(score.granularity for score in summary.scores)),
        scores=scores,
        comparisons={
            (each.system, each.against, each.part, each.metric): each
            for each in summary.comparisons
            if each.part in parts
        },
        best_member=summary.best_member,
        best_baseline=summary.best_baseline,
        trainings=_read_trainings(root, members),
        curves=curves,
        curves_by=unit,
        groupings=groups.make_groupings(
            table, parts[0], summary.primary.metric, compared, summary.best_member, summary.confidence
        ),
        ensembles=section,
        examples=examples.assemble(table, chosen, dialogues, summaries),
        splits=facts.split_table(root),
        cleaning=facts.cleaning_tables(prepared),
        preparation=facts.tables_of(prepared),
        registry=facts.registry_section(registered) if registered else None,
        params_text=facts.to_yaml(dump(settings)),
        lineage=_lineage(root, members, [source.folder for source in sources.values()], summary, registered),
    )


def _ensemble_source(name: str, settings: ReportParams) -> Source:
    stage = "blend" if name in settings.ensemble.models else "ensemble"
    return Source(project.ensemble_folder(name).as_posix(), f"{stage}@{name}")


def read_json(root: Path, name: str, stage: str, optional: bool = False) -> dict[str, Any]:
    """Return the object in a JSON file; an empty one if the file is optional and missing."""
    path = root / name
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if optional:
            return {}
        raise UserError(f"{name} is missing: run the {stage} stage first (dvc repro {stage}).") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{name} is not valid JSON ({error}): run the {stage} stage again.") from error
    if not isinstance(value, dict):
        raise UserError(f"{name} must hold a JSON object: run the {stage} stage again.")
    return value


def _key(score: SystemScore) -> ScoreKey:
    return (
        score.system,
        score.part.split,
        score.part.slice,
        score.granularity,
        score.multi_reference,
        score.metric,
    )


def _order_parts(parts: Sequence[Part]) -> tuple[Part, ...]:
    """Return the test split whole, its slices, the further test sets, and dev last."""
    sizes = {part.split: part.n for part in parts if part.slice == ALL}
    # A slice that is its whole split adds nothing.
    kept = [part for part in parts if part.slice == ALL or (part.slice and part.n != sizes[part.split])]
    return tuple(sorted(kept, key=lambda part: {"test": 0, "dev": 2}.get(part.split, 1)))


def _systems(
    summary: EvaluationSummary, scores: Mapping[ScoreKey, Interval], part: Part, members: Sequence[str]
) -> tuple[System, ...]:
    """Return the systems by kind and, within a kind, best first; the best few members and ensembles have a colour."""
    primary = summary.primary

    def rank(name: str) -> tuple[int, float, str]:
        key = (name, part.split, part.slice, primary.granularity, primary.multi_reference, primary.metric)
        score = scores.get(key)
        return KINDS.index(summary.systems[name]), -score.mean if score else 0.0, name

    ordered = sorted(summary.systems, key=rank)
    best_members = [name for name in ordered if summary.systems[name] == "member"]
    ensembles = [name for name in ordered if summary.systems[name] == "ensemble"]
    ensembles.sort(key=lambda name: name != summary.best_ensemble)
    best_members = best_members[: MAX_SERIES - 1 if ensembles else MAX_SERIES]
    best_members.sort(key=lambda name: members.index(name) if name in members else MAX_SERIES)
    drawn = [*best_members, *ensembles][:MAX_SERIES]
    return tuple(
        System(name=name, kind=summary.systems[name], series=drawn.index(name) if name in drawn else None)
        for name in ordered
    )


def _check_members(members: Sequence[str], systems: Sequence[System]) -> None:
    names = [system.name for system in systems]
    for member in members:
        if member not in names:
            raise UserError(
                f"evaluation/summary.json has no scores of '{member}'{nearest(member, names)}: "
                "run the evaluate stage again."
            )


def _read_trainings(root: Path, members: Sequence[str]) -> dict[str, Training]:
    """Return the training metrics of the members that were trained."""
    names = {field.name for field in fields(Training)}
    trainings = {}
    for member in members:
        metrics = read_json(root, project.training_file(member).as_posix(), f"train@{member}", optional=True)
        if metrics:
            trainings[member] = Training(**{name: value for name, value in metrics.items() if name in names})
    return trainings


def _lineage(
    root: Path,
    members: Sequence[str],
    folders: Iterable[str],
    summary: EvaluationSummary,
    registered: Registered | None,
) -> tuple[tuple[str, str], ...]:
    """Return what the page was made from: a digest of the inputs, and the MLflow run of the best member."""
    digest = hashlib.sha256()
    for path in _inputs(root, members, folders, dict.fromkeys(part.split for part in summary.parts)):
        if path.exists():
            digest.update(path.relative_to(root).as_posix().encode() + b"\0")
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    lineage = [("inputs", f"sha256 {digest.hexdigest()[:12]}")]
    for model in registered.registered if registered else ():
        if model.member == summary.best_member and model.run_id:
            lineage.append(("run of the best member", model.run_id))
            break
    return tuple(lineage)


def _inputs(root: Path, members: Sequence[str], folders: Iterable[str], splits: Iterable[str]) -> list[Path]:
    names = ["params.yaml", "evaluation/summary.json", "evaluation/dialogues.csv", "evaluation/ensembles.json"]
    names += [project.PREPARE_REPORT.as_posix(), project.REGISTERED.as_posix()]
    names += [f"{folder}/{split}.jsonl" for folder in folders for split in splits]
    names += [project.training_file(member).as_posix() for member in members]
    names += [project.training_curves_file(member).as_posix() for member in members]
    names += [path.relative_to(root).as_posix() for path in sorted((root / project.PREPARED).rglob("*.jsonl"))]
    return [root / name for name in names]
