"""Builds the report: reads what the pipeline wrote into one `View`, and writes that as HTML and Markdown.

The pages depend only on the files that are read and on the arguments: no clock, no random numbers and no environment
beyond the overrides of params.yaml. The same inputs therefore give the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from yoyak import project
from yoyak.errors import UserError, nearest
from yoyak.failures import find_failures
from yoyak.files import atomic_path, read_result
from yoyak.params import dump
from yoyak.params.stages import ReportParams, without_failed
from yoyak.reporting import (
    accuracy,
    augmentation,
    behaviour,
    cards,
    examples,
    facts,
    groups,
    origin,
    promotion,
    render,
    windows,
)
from yoyak.reporting.curves import read_curves
from yoyak.reporting.ensembles import make_section
from yoyak.reporting.view import ScoreKey, System, Training, View
from yoyak.scoring.bootstrap import Interval
from yoyak.scoring.ensembles import read_analysis
from yoyak.scoring.results import ALL, EvaluationSummary, Part, SystemScore, read_evaluation
from yoyak.tracking.registered import Registered, read_registered

MAX_SERIES = 8
"""Models that the charts draw in colour; the tables list all."""
KINDS = ("member", "ensemble", "baseline", "oracle")


class Source(NamedTuple):
    """Where the summaries of a member or an ensemble are, and the stage that writes them."""

    folder: str
    stage: str


def build_report(root: Path, out: Path, settings: ReportParams) -> None:
    """Write ``out/index.html``, ``out/report.md``, images and cards from the outputs of the pipeline in ``root``.

    Trainings and predictions are shown for the members of ``settings``; every system that was scored is in the
    tables. Raises UserError if an input is missing or damaged.
    """
    failures = _find_failures(root, settings)
    settings = without_failed(settings, failures)
    view = replace(read_view(root, settings), failures=failures)
    with atomic_path(out) as work:
        render.write_report(view, work)
        summary = read_evaluation(root / project.EVALUATION)
        cards.write_cards(root, work, _read_registered(root), summary, settings)


def read_view(root: Path, settings: ReportParams) -> View:
    """Return everything that the pages show; see `build_report`."""
    members = list(settings.members)
    summary = read_evaluation(root / project.EVALUATION)
    prepared = _read_if_present(root / project.PREPARE_REPORT, "prepare")
    registered = _read_registered(root)
    parts = _order_parts(summary.parts)
    scores = {_make_key(score): score.interval for score in summary.scores}
    systems = _rank_systems(summary, scores, parts[0], members)
    _check_members(members, systems)
    section = make_section(read_analysis(root / project.EVALUATION), parts)
    series = {system.name: system.series for system in systems if system.series is not None}
    sources = {member: Source(project.predictions_folder(member).as_posix(), f"predict@{member}") for member in members}
    if section:
        sources[section.best] = _find_ensemble_source(section.best, settings)

    table = groups.read_scores(root / project.EVALUATION / "dialogues.csv")
    compared = [*(name for name in series if name in sources), summary.best_baseline]
    choices = examples.choose(table, parts, summary.best_member, settings.report.dialogues)
    dialogues = examples.read_dialogues(root, choices)
    summaries = {
        name: examples.read_summaries(root, source.folder, source.stage, examples.scored(table, name, choices))
        for name, source in sources.items()
    }
    curves, unit = read_curves(root, members, series)
    trainings = _read_trainings(root, members)
    gate = sum(part.n for part in summary.parts if part.split == project.GATE and part.slice == ALL)
    return View(
        title=settings.report.title,
        folder=settings.data.folder,
        weights=settings.scoring.weights,
        primary=summary.primary,
        confidence=summary.confidence,
        bootstrap_samples=summary.bootstrap_samples,
        systems=systems,
        parts=parts,
        gate=gate,
        granularities=tuple(dict.fromkeys(score.granularity for score in summary.scores)),
        scores=scores,
        comparisons={
            (comparison.system, comparison.against, comparison.part, comparison.metric): comparison
            for comparison in summary.comparisons
            if comparison.part in parts
        },
        best_member=summary.best_member,
        best_baseline=summary.best_baseline,
        trainings=trainings,
        folds=tuple(name for name in trainings if getattr(settings.members[name], "fold", None)),
        curves=curves,
        curves_by=unit,
        groupings=groups.make_groupings(
            table, parts[0], summary.primary.metric, compared, summary.best_member, summary.confidence
        ),
        ensembles=section,
        facts=accuracy.read_section(root, parts, systems),
        behaviour=behaviour.read_section(root, members),
        examples=examples.assemble(table, choices, dialogues, summaries),
        splits=facts.make_split_table(root),
        windows=windows.make_table(root, settings.members, list(dict.fromkeys(part.split for part in parts))),
        cleaning=facts.make_cleaning_tables(prepared),
        augmentation=augmentation.make_section(prepared),
        preparation=facts.make_tables({key: value for key, value in prepared.items() if key != "augmentation"}),
        promotion=promotion.make_section(registered, settings.registry, gate) if registered else None,
        picture=origin.make_picture(registered, summary, trainings, settings) if registered else None,
        registry=facts.make_registry_section(registered) if registered else None,
        params_text=facts.to_yaml(dump(settings)),
        lineage=_describe_lineage(root, members, [source.folder for source in sources.values()], summary, registered),
    )


def _find_failures(root: Path, settings: ReportParams) -> dict[str, str]:
    """Return why members and ensembles are missing, by name."""
    folders = {member: root / project.predictions_folder(member) for member in settings.members}
    return find_failures(
        {**folders, **{name: root / project.ensemble_folder(name) for name in settings.ensemble.every}}
    )


def _read_registered(root: Path) -> Registered | None:
    return read_registered(root) if (root / project.REGISTERED).is_file() else None


def _find_ensemble_source(name: str, settings: ReportParams) -> Source:
    stage = "blend" if name in settings.ensemble.models else "ensemble"
    return Source(project.ensemble_folder(name).as_posix(), f"{stage}@{name}")


def _read_if_present(path: Path, stage: str) -> dict[str, Any]:
    """Return the object in a JSON file; an empty one if there is no file."""
    return read_result(path, dict[str, Any], command=f"dvc repro {stage}") if path.exists() else {}


def _make_key(score: SystemScore) -> ScoreKey:
    return (
        score.system,
        score.part.split,
        score.part.slice,
        score.granularity,
        score.multi_reference,
        score.metric,
    )


def _order_parts(parts: Sequence[Part]) -> tuple[Part, ...]:
    """Return the whole test split, its slices, the further test sets, and dev last.

    Gate is not among them: nobody should select a model by its scores.
    """
    sizes = {part.split: part.n for part in parts if part.slice == ALL}
    # A slice that covers its whole split adds nothing.
    kept = [
        part
        for part in parts
        if part.split != project.GATE and (part.slice == ALL or (part.slice and part.n != sizes[part.split]))
    ]
    return tuple(sorted(kept, key=lambda part: {project.TEST: 0, project.DEV: 2}.get(part.split, 1)))


def _rank_systems(
    summary: EvaluationSummary, scores: Mapping[ScoreKey, Interval], part: Part, members: Sequence[str]
) -> tuple[System, ...]:
    """Return the systems by kind, best first within a kind; only the best members and ensembles get a colour."""
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
        metrics = _read_if_present(root / project.training_file(member), f"train@{member}")
        if metrics:
            trainings[member] = Training(**{name: value for name, value in metrics.items() if name in names})
    return trainings


def _describe_lineage(
    root: Path,
    members: Sequence[str],
    folders: Iterable[str],
    summary: EvaluationSummary,
    registered: Registered | None,
) -> tuple[tuple[str, str], ...]:
    """Return what the page was built from: a digest of the inputs, and the MLflow run of the best member."""
    digest = hashlib.sha256()
    for path in _list_inputs(root, members, folders, dict.fromkeys(part.split for part in summary.parts)):
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


def _list_inputs(root: Path, members: Sequence[str], folders: Iterable[str], splits: Iterable[str]) -> list[Path]:
    names = ["params.yaml", "evaluation/summary.json", "evaluation/dialogues.csv", "evaluation/ensembles.json"]
    names += [project.FACT_ACCURACY.as_posix()]
    names += [project.PREPARE_REPORT.as_posix(), project.REGISTERED.as_posix()]
    names += [f"{folder}/{split}.jsonl" for folder in folders for split in splits]
    names += [project.training_file(member).as_posix() for member in members]
    names += [project.behaviour_file(member).as_posix() for member in members]
    names += [project.training_curves_file(member).as_posix() for member in members]
    names += [path.relative_to(root).as_posix() for path in sorted((root / project.PREPARED).rglob("*.jsonl"))]
    return [root / name for name in names]
