"""What MLflow's pages say of registered models and of the pipeline's run: model cards, headline scores, decision."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from yoyak.params.stages import RegisterParams
from yoyak.project import GATE
from yoyak.registry import versions
from yoyak.registry.versions import Version
from yoyak.reporting import cards
from yoyak.scoring.results import EvaluationSummary
from yoyak.tracking import headline
from yoyak.tracking.client import connect, translate_mlflow_errors
from yoyak.tracking.registered import Registered


def describe(registered: Registered, summary: EvaluationSummary, params: RegisterParams) -> None:
    """Give every registered model and version its description; doing it twice changes nothing."""
    client, splits = connect(), cards.read_splits(Path())
    with translate_mlflow_errors():
        for model in registered.registered:
            facts = cards.read_model_facts(Path(), model, registered, summary, params, splits)
            client.update_model_version(model.name, str(model.version), cards.describe_version(facts))
        name = params.registry.name
        for model_name in dict.fromkeys(model.name for model in registered.registered):
            member = "" if model_name == name else model_name.removeprefix(f"{name}-")
            # A description that somebody wrote by hand stays.
            if not client.get_registered_model(model_name).description:
                text = cards.describe_registered_model(name, member, ensemble=params.registry.ensemble)
                client.update_registered_model(model_name, text)


def describe_export(exported: Version, source: Version, *, passed: bool, sentences: Sequence[str]) -> None:
    """Give an exported version its description: what it was made from, and what the gate of the export said."""
    member, variant = exported.tags["member"], exported.tags["variant"]
    label = f"{source.name}/{source.version}"
    text = cards.describe_export(member, variant, label, passed=passed, sentences=sentences)
    with translate_mlflow_errors():
        connect().update_model_version(exported.name, str(exported.version), text)


def describe_pipeline(registered: Registered, summary: EvaluationSummary) -> None:
    """Show scores, data, best model and decision in the row of the pipeline's run."""
    promotion = registered.promotion
    assert promotion, "register records it"
    parent, best = headline.open_parent(), summary.best_member
    means = {name: summary.primary_means(name) for name in (best, summary.best_ensemble) if name}
    headline.log_scores(
        parent,
        best_member=best,
        best_ensemble=summary.best_ensemble,
        means=means,
    )
    headline.log_datasets(parent, {split.name: (split.rows, split.md5) for split in cards.read_splits(Path())})
    version = versions.get_version(connect(), promotion.name, promotion.version)
    # Lists show the beginning as plain text.
    note = []
    for name, role in ((best, "best member"), (summary.best_ensemble, "best ensemble")):
        if name:
            shown = {split: metrics["combined"] for split, metrics in means[name].items() if split != GATE}
            scores = ", ".join(f"{score:.4f} on {split}" for split, score in shown.items())
            note.append(f"{name}, the {role}: combined ROUGE {scores} ({summary.primary.granularity} units).")
    note.append(registered.decision)
    headline.log_model(
        parent,
        model=f"{promotion.name}/{promotion.version}",
        model_id=version.model_id,
        gain=promotion.verdict.gain if promotion.verdict else None,
        note=note,
    )
