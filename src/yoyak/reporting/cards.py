"""Model cards and data cards, in English and Korean: Markdown beside the report, and descriptions in MLflow."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from yoyak import project
from yoyak.behaviour.results import CHECKS, Rate, read_behaviour
from yoyak.data.records import read_jsonl
from yoyak.files import read_result
from yoyak.params.stages import RegisterParams, ReportParams
from yoyak.reporting.formats import (
    escape_markdown,
    format_count,
    format_duration,
    format_gain,
    format_interval,
    format_percentage,
    format_score,
)
from yoyak.scoring.bootstrap import Interval
from yoyak.scoring.results import ALL, EvaluationSummary, Part
from yoyak.tracking import lineage
from yoyak.tracking.registered import Promotion, Registered, RegisteredModel

Language = Literal["en", "ko"]
LANGUAGES: tuple[Language, ...] = ("en", "ko")
MAX_DESCRIPTION = 5000
"""Characters of a description that MLflow's databases store."""
TRAINING = ("learning_rate", "batch_size", "gradient_accumulation_steps", "num_epochs", "label_smoothing")
GENERATION = ("num_beams", "max_new_tokens", "length_penalty", "no_repeat_ngram_size")
"""Params that a card shows."""
_TEMPLATES = Path(__file__).parent / "card_templates"


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A prepared split: its size, and DVC's md5 of its file."""

    name: str
    rows: int
    md5: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PartScore:
    """Scores on one part of the data."""

    part: Part
    rouge1: Interval
    combined: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What a model card says. What is unknown is empty, 0 or None."""

    model: RegisteredModel
    family: str
    """A member's family, or an ensemble's strategy."""
    architecture: str
    """transformers' ``model_type``, if the member's config names it."""
    checkpoint: str
    """What the training started from; empty for a member that was trained from scratch, or for an ensemble."""
    revision: str
    licence: str
    """Of a checkpoint in a folder, as its README.md says."""
    members: tuple[tuple[str, str], ...]
    """Of an ensemble: the members, with their registered models."""
    trained: bool
    """Whether it is a member with weights that were trained here."""
    params: Mapping[str, Any]
    generation: Mapping[str, Any]
    max_input_tokens: int
    figures: Mapping[str, Any]
    """What was measured of the training."""
    seed: int
    splits: tuple[Split, ...]
    scores: tuple[PartScore, ...]
    granularity: str
    multi_reference: str
    confidence: float
    behaviour: tuple[Rate, ...]
    """Failure rates of the behaviour tests."""
    promotion: Promotion | None
    """Of the version that was a candidate for champion."""
    commit: str
    experiment: str
    sample: bool
    """Whether it was trained on the sample corpus."""


def describe_version(facts: ModelFacts) -> str:
    """Return the model card in both languages, short enough for MLflow: if need be without slices and behaviour."""
    whole_splits = tuple(score for score in facts.scores if score.part.slice == ALL)
    shorter = replace(facts, scores=whole_splits)
    for shown in (facts, shorter, replace(shorter, behaviour=())):
        text = "\n\n---\n\n".join(_render_model_card(shown, language, titled=False) for language in LANGUAGES)
        if len(text) <= MAX_DESCRIPTION:
            return text
    kept = text[: MAX_DESCRIPTION - 2]
    return kept[: kept.rindex("\n")] + "\n…"


def describe_registered_model(name: str, member: str, *, ensemble: str | None) -> str:
    """Return what the versions of a registered model are, in a paragraph of each language.

    Args:
        member: The member of ``<name>-<member>``; empty for the model that has the best members.
        ensemble: The ensemble that is registered as well, if one is.
    """
    values = {"name": name, "member": member, "ensemble": ensemble}
    return "\n\n".join(_render("registered-model", language, values) for language in LANGUAGES)


def describe_export(member: str, variant: str, source: str, *, passed: bool, sentences: Sequence[str]) -> str:
    """Return what an exported version is, in both languages.

    Args:
        source: Name and version of the model in fp32.
        passed: What the gate of the export said, and ``sentences`` why.
    """
    values = {"member": member, "variant": variant, "source": source, "passed": passed, "sentences": sentences}
    return "\n\n".join(_render("exported-model", language, values) for language in LANGUAGES)


def render_model_card(facts: ModelFacts, language: Language) -> str:
    """Return the card of a version as Markdown."""
    return _render_model_card(facts, language, titled=True)


def _render_model_card(facts: ModelFacts, language: Language, *, titled: bool) -> str:
    """Return a card; one without a title begins with scores, as MLflow shows the beginning in lists."""
    return _render("model-card", language, {"facts": facts, "checks": CHECKS, "titled": titled})


def read_model_facts(
    root: Path,
    model: RegisteredModel,
    registered: Registered,
    summary: EvaluationSummary,
    settings: RegisterParams | ReportParams,
    splits: Sequence[Split],
) -> ModelFacts:
    """Return what the card of a version says, from the files of the project at ``root``."""
    member, promotion = settings.members.get(model.member), registered.promotion
    values = member.model_dump() if member else {}
    strategy = settings.ensemble.every.get(model.member)
    names = (strategy.members or list(settings.members)) if strategy else []
    figures = project.training_file(model.member)
    own = promotion is not None and (promotion.name, promotion.version) == (model.name, model.version)
    return ModelFacts(
        model=model,
        family=member.family if member else strategy.type if strategy else "",
        architecture=str((values.get("config") or {}).get("model_type", "")),
        checkpoint=str(values.get("checkpoint") or ""),
        revision=str(values.get("revision") or ""),
        licence=_read_licence(root, values.get("checkpoint")),
        members=tuple((name, _find_label(registered, name)) for name in names),
        trained="learning_rate" in values,
        params={name: values[name] for name in TRAINING if name in values},
        generation={name: getattr(settings.generation, name) for name in GENERATION},
        max_input_tokens=int(values.get("max_input_tokens") or 0),
        figures=_read(root / figures) if member else {},
        seed=settings.seed,
        splits=tuple(splits),
        scores=tuple(_read_scores(summary, model.member)),
        granularity=summary.primary.granularity,
        multi_reference=summary.primary.multi_reference,
        confidence=summary.confidence,
        behaviour=tuple(_read_behaviour(root, model.member)),
        promotion=promotion if own else None,
        commit=registered.commit,
        experiment=promotion.experiment if promotion else "",
        sample=is_sample_corpus(_read(root / project.PREPARE_REPORT)),
    )


def read_splits(root: Path) -> list[Split]:
    """Return the prepared splits of the project at ``root``, train first, gate last."""
    order = {project.TRAIN: 0, project.DEV: 1, project.TEST: 2, project.GATE: 4}
    paths = [root / project.TRAIN_SPLIT, *(root / project.EVAL_SPLITS).glob("*.jsonl")]
    paths = sorted(filter(Path.is_file, paths), key=lambda path: (order.get(path.stem, 3), path.stem))
    return [Split(name=path.stem, rows=sum(1 for _ in path.open("rb")), md5=lineage.digest(path)) for path in paths]


def write_cards(
    root: Path, out: Path, registered: Registered | None, summary: EvaluationSummary, settings: ReportParams
) -> None:
    """Write the cards of the data, and those of the best member if it has been registered."""
    splits = read_splits(root)
    data = _read_data_facts(root, settings, splits)
    cards = {"data-card": {language: _render("data-card", language, data) for language in LANGUAGES}}
    best = [model for model in registered.registered if model.member == summary.best_member] if registered else []
    if registered and best:
        # The best member has a version under its own name too; the last is the one that may be champion.
        facts = read_model_facts(root, best[-1], registered, summary, settings, splits)
        cards["model-card"] = {language: render_model_card(facts, language) for language in LANGUAGES}
    for name, texts in cards.items():
        for language, text in texts.items():
            file = out / f"{name}{'' if language == 'en' else f'.{language}'}.md"
            file.write_text(text + "\n", encoding="utf-8", newline="\n")


def is_sample_corpus(report: Mapping[str, Any]) -> bool:
    """Return whether `prepare` read a corpus that Yoyak generated: all topics are those of the generator.

    The handwritten test set that comes with it has topics of its own.
    """
    from yoyak.data.samples import scenarios

    splits = {name: split for name, split in report.get("splits", {}).items() if name != "handwritten"}
    topics = {topic for split in splits.values() for topic in split.get("topics", {}).get("most_common", {})}
    return bool(topics) and topics <= {scenario.topic for scenario in scenarios()}


def _render(name: str, language: Language, values: Mapping[str, Any]) -> str:
    text = _environment().get_template(f"{name}.{language}.md.j2").render(values)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


@cache
def _environment() -> Environment:
    env = Environment(
        loader=FileSystemLoader(_TEMPLATES), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    env.filters |= {
        "score": format_score,
        "percentage": format_percentage,
        "gain": format_gain,
        "range": format_interval,
        "count": format_count,
        "duration": format_duration,
        "md": escape_markdown,
    }
    return env


def _read_scores(summary: EvaluationSummary, system: str) -> Iterable[PartScore]:
    """Yield the scores on test and its slices, further test sets, and dev; never those on gate."""
    primary = summary.primary
    intervals = {
        (score.part, score.metric): score.interval
        for score in summary.scores
        if score.system == system
        and (score.granularity, score.multi_reference) == (primary.granularity, primary.multi_reference)
    }
    order = {project.TEST: 0, project.DEV: 2}
    parts = [part for part in summary.parts if part.split != project.GATE and part.slice]
    for part in sorted(parts, key=lambda part: order.get(part.split, 1)):
        rouge1, combined = intervals.get((part, "rouge1")), intervals.get((part, "combined"))
        if rouge1 and combined:
            yield PartScore(part=part, rouge1=rouge1, combined=combined)


def _read_behaviour(root: Path, member: str) -> Iterable[Rate]:
    file = root / project.behaviour_file(member)
    rates = read_behaviour(file).rates if file.is_file() else {}
    return [rates[check] for check in CHECKS if check in rates]


def _read_data_facts(root: Path, settings: ReportParams, splits: Sequence[Split]) -> dict[str, Any]:
    report = _read(root / project.PREPARE_REPORT)
    lengths = {}
    for split in splits:
        rows = read_jsonl(root / project.split_file(split.name))
        lengths[split.name] = {
            "turns": _median(row.dialogue.count("\n") + 1 for row in rows),
            "chars": _median(len(row.dialogue) for row in rows),
            "summary": _median(len(summary) for row in rows for summary in row.summaries),
            "references": max((len(row.summaries) for row in rows), default=0),
            "topics": len({row.topic for row in rows} - {""}),
        }
    return {
        "title": settings.report.title,
        "folder": settings.data.folder,
        "files": {
            name: {
                "path": f"{settings.data.folder}/{settings.data.files.get(name, '')}",
                "read": entry.get("rows_in", 0),
                "kept": entry.get("rows_kept", 0),
                "dropped": {
                    reason: value["rows"] if isinstance(value, dict) else value
                    for reason, value in entry.get("dropped", {}).items()
                },
            }
            for name, entry in report.get("files", {}).items()
        },
        "augmentation": report.get("augmentation"),
        "leakage": [entry for entry in report.get("leakage", []) if entry.get("dialogues")],
        "masks": sorted(report.get("masks", {}).get("counts", {})),
        "splits": splits,
        "lengths": lengths,
        "sample": is_sample_corpus(report),
        "names": {"train": project.TRAIN, "dev": project.DEV, "test": project.TEST, "gate": project.GATE},
    }


def _median(values: Iterable[int]) -> float:
    from statistics import median

    return median(list(values) or [0])


def _find_label(registered: Registered, member: str) -> str:
    model = next((model for model in registered.registered if model.member == member), None)
    return f"{model.name}/{model.version}" if model else ""


def _read_licence(root: Path, checkpoint: str | None) -> str:
    """Return the licence that the README.md of a checkpoint's folder names in its front matter, as on the Hub."""
    readme = root / checkpoint / "README.md" if checkpoint else None
    if readme is None or not readme.is_file():
        return ""
    match = re.match(r"---\n.*?^license:\s*(\S+)\s*$.*?^---$", readme.read_text(encoding="utf-8"), re.M | re.S)
    return match[1] if match else ""


def _read(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; an empty one if there is no file."""
    return read_result(path, dict[str, Any], command="dvc repro") if path.is_file() else {}
