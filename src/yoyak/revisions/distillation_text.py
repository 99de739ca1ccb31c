"""A student beside the ensemble that it learned from, as plain text for a terminal."""

from __future__ import annotations

from yoyak.reporting.formats import (
    format_comparison,
    format_count,
    format_p_value,
    format_score,
    format_share,
    format_signed_interval,
)
from yoyak.revisions.distillation import Distillation, KeptGain, is_significant
from yoyak.revisions.text import render_section
from yoyak.revisions.view import Section, Table


def render_distillation(result: Distillation) -> str:
    """Return the sentences and the table."""
    names = (result.best_member, result.ensemble, result.student)
    columns = ("split", "dialogues", *names, *(f"{name} − {names[0]}" for name in names[1:]), "kept")
    rows = tuple(
        (
            each.split,
            f"{each.n:,}",
            *(format_score(score) for score in (each.best_member, each.ensemble, each.student)),
            *(format_comparison(gain) for gain in (each.ensemble_gain, each.student_gain)),
            format_share(each.share.mean if each.share else None),
        )
        for each in result.splits
    )
    lines = [*(_judge(result, each) for each in result.splits), _weigh(result), *result.notes]
    section = Section(
        title=f"{result.student} of {result.head.label}, and the ensemble {result.ensemble} of {result.base.label}",
        lines=tuple(lines),
        tables=(Table(columns=columns, rows=rows),) if rows else (),
    )
    return render_section(section)


def _judge(result: Distillation, kept: KeptGain) -> str:
    percent = f"{result.confidence * 100:g}%"
    gain = kept.ensemble_gain
    where = f"On {kept.split}, {result.ensemble}"
    evidence = f"{format_comparison(gain)}, {format_p_value(gain.p_value)}"
    if not is_significant(gain, result.confidence):
        return (
            f"{where}'s gain over {result.best_member} is itself within noise ({evidence}), so there is no share of it "
            f"to keep. {result.student} − {result.best_member} is {format_comparison(kept.student_gain)}."
        )
    if kept.share is None:
        return f"{where} is worse than {result.best_member} ({evidence}): there is no gain to keep."
    ends = f"{format_share(kept.share.low)} to {format_share(kept.share.high)}"
    return (
        f"{where} is better than {result.best_member} by {gain.difference:.3f} ({percent}: "
        f"{format_signed_interval(gain)}), of which {result.student} keeps {format_share(kept.share.mean)} ({percent}: "
        f"{ends})."
    )


def _weigh(result: Distillation) -> str:
    student, ensemble = result.parameters["student"], result.parameters["ensemble"]
    if not student or not ensemble:
        return "What it costs is not known: there are no numbers of parameters of all models."
    models = "1 model" if len(result.members) == 1 else f"{len(result.members)} models"
    return (
        f"{result.student} has {format_count(student)} parameters, {format_share(student / ensemble)} of the "
        f"{format_count(ensemble)} of {result.ensemble}, which runs {models}."
    )
