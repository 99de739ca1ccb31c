"""The picture of the best model's lineage: from the data to the alias, with md5s, commit and versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from yoyak import project
from yoyak.params.stages import ReportParams
from yoyak.reporting.formats import format_count, format_score
from yoyak.reporting.layout import shorten
from yoyak.reporting.palette import Palette
from yoyak.reporting.svg import Chart, render_chart
from yoyak.reporting.view import LineagePicture, LineageStep, Training
from yoyak.scoring.results import ALL, EvaluationSummary
from yoyak.tracking.registered import Registered

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MD5_DIGITS = 8
WIDTH, BOX, GAP, NOTE = 4.1, 0.44, 0.27, 0.19
"""In inches: the picture's width, and the heights of a box, an arrow and a note."""
MAX_DETAIL = 52


def make_picture(
    registered: Registered, summary: EvaluationSummary, trainings: Mapping[str, Training], settings: ReportParams
) -> LineagePicture | None:
    """Return the steps that led to the best model; None if `register` did not record them."""
    promotion = registered.promotion
    if promotion is None or not registered.origins:
        return None
    member, metric = promotion.member, summary.primary.metric
    sizes = {part.split: part.n for part in summary.parts if part.slice == ALL}
    dev = summary.primary_means(member).get(project.DEV, {}).get(metric)
    details = {
        project.PREPARED.as_posix(): ("prepare", ", ".join(f"{name} {size:,}" for name, size in sizes.items())),
        project.model_folder(member).as_posix(): (
            f"base@{member}, train@{member}",
            _describe_model(settings, member, trainings.get(member)),
        ),
        project.predictions_folder(member).as_posix(): (
            f"predict@{member}",
            f"num_beams {settings.generation.num_beams}, max_new_tokens {settings.generation.max_new_tokens}",
        ),
        project.EVALUATION.as_posix(): ("evaluate", f"{metric} {format_score(dev)} on dev"),
    }
    steps = []
    for path, md5 in registered.origins.items():
        by, detail = details.get(path, ("", ", ".join(settings.data.files.values())))
        steps.append(LineageStep(by=by, title=path, detail=detail, md5=md5))
    identities = {(model.name, model.version): model.identity for model in registered.registered}
    steps.append(
        LineageStep(
            by="register",
            title=f"{promotion.name} version {promotion.version}",
            detail="identity of weights, generation settings and code",
            md5=identities.get((promotion.name, promotion.version), ""),
        )
    )
    verdict = promotion.verdict
    became = promotion.after == promotion.version
    steps.append(
        LineageStep(
            by="gate" if verdict else "",
            title="champion" if became else "challenger",
            detail=f"{verdict.outcome} against version {verdict.champion}" if verdict else "nothing to compare it with",
            md5="",
        )
    )
    commit = f"commit {registered.commit[:10]}" if registered.commit else "no git repository"
    versions = [f"{name} {version.partition('+')[0]}" for name, version in registered.versions.items()]
    half = (len(versions) + 1) // 2
    notes = (commit, ", ".join(versions[:half]), ", ".join(versions[half:]))
    return LineagePicture(steps=tuple(steps), notes=tuple(filter(None, notes)))


def draw_picture(picture: LineagePicture) -> Chart:
    """Draw the steps from top to bottom, so that they can be read on a narrow screen too."""

    def draw(palette: Palette) -> Figure:
        from matplotlib.figure import Figure
        from matplotlib.patches import FancyBboxPatch

        height = len(picture.steps) * (BOX + GAP) - GAP + 0.1 + NOTE * len(picture.notes)
        figure = Figure(figsize=(WIDTH, height))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, WIDTH)
        axes.set_ylim(0, height)
        axes.set_axis_off()
        top = height - 0.02
        for index, step in enumerate(picture.steps):
            bottom = top - BOX
            if index:
                arrow = {"arrowstyle": "->", "color": palette.muted, "linewidth": 1.0, "shrinkA": 1, "shrinkB": 1}
                axes.annotate("", (0.35, top), (0.35, top + GAP), arrowprops=arrow)
                if step.by:
                    axes.text(0.48, top + GAP / 2, step.by, va="center", fontsize=9, color=palette.muted)
            last = index == len(picture.steps) - 1
            axes.add_patch(
                FancyBboxPatch(
                    (0.05, bottom),
                    WIDTH - 0.1,
                    BOX,
                    boxstyle="round,pad=0,rounding_size=0.06",
                    facecolor="none",
                    edgecolor=palette.series[0] if last else palette.muted,
                    linewidth=1.4 if last else 0.8,
                )
            )
            axes.text(0.15, bottom + BOX * 0.69, step.title, va="center", fontsize=10, color=palette.ink)
            md5 = step.md5[:MD5_DIGITS]
            axes.text(WIDTH - 0.15, bottom + BOX * 0.69, md5, va="center", ha="right", fontsize=9, color=palette.muted)
            detail = shorten(step.detail, MAX_DETAIL)
            axes.text(0.15, bottom + BOX * 0.27, detail, va="center", fontsize=8.5, color=palette.muted)
            top = bottom - GAP
        for index, note in enumerate(picture.notes):
            y = NOTE * (len(picture.notes) - index - 0.5)
            axes.text(0.05, y, note, va="center", fontsize=8.5, color=palette.muted)
        return figure

    path = " → ".join(f"{step.title} {step.md5[:MD5_DIGITS]}".strip() for step in picture.steps)
    return render_chart("lineage", "Lineage of the best model", f"{path}; {', '.join(picture.notes)}", draw)


def _describe_model(settings: ReportParams, member: str, training: Training | None) -> str:
    values = settings.members[member].model_dump() if member in settings.members else {}
    checkpoint, config = values.get("checkpoint"), values.get("config") or {}
    origin = f"from {checkpoint}" if checkpoint else f"{config.get('model_type', 'model')} from scratch"
    parameters = training.parameters if training else None
    return f"{origin}, {format_count(parameters)} parameters" if parameters else origin
