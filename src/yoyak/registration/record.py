"""What the report needs to know of the registry, as plain values for registry/registered.json."""

from __future__ import annotations

from yoyak import project
from yoyak.registry import history, promotion
from yoyak.registry.versions import CHAMPION, Version
from yoyak.tracking import lineage
from yoyak.tracking.client import connect, translate_mlflow_errors
from yoyak.tracking.decisions import Verdict
from yoyak.tracking.registered import Promotion, RegisteredModel

PACKAGES = ("python", "torch", "transformers", "tokenizers", "kiwipiepy", "yoyak")


def record_version(version: Version, member: str, restored: bool) -> RegisteredModel:
    """Return what is known of a version of a member or an ensemble."""
    folder = project.model_folder(member)
    return RegisteredModel(
        name=version.name,
        version=version.version,
        aliases=tuple(sorted(version.aliases)),
        run_id=version.run_id,
        member=member,
        restored=restored,
        identity=version.tags.get(promotion.IDENTITY, ""),
        weights=version.tags.get("dvc.models_md5", ""),
        size=sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()),
    )


def record_promotion(
    version: Version, member: str, *, champion: Version | None, verdict: Verdict | None, experiment: str
) -> Promotion:
    """Return what became of the best model, after ``champion`` had been the champion, and the champion's history."""
    before = champion.version if champion else 0
    with translate_mlflow_errors():
        entries = history.read_history(connect(), version.name)
    return Promotion(
        name=version.name,
        version=version.version,
        member=member,
        before=before,
        after=version.version if CHAMPION in version.aliases else before,
        experiment=experiment,
        verdict=verdict,
        history=tuple(entries),
    )


def record_origins(best: Version, member: str) -> dict[str, str]:
    """Return DVC's md5 of what the best member and its scores come from, from the data on.

    The md5 of the data is that of dvc.lock, since `prepare` may have read them long ago.
    """
    deps = lineage.read_lock().get("prepare", {}).get("deps", ())
    data = {
        dep["path"]: dep["md5"]
        for dep in deps
        if "md5" in dep and dep["path"] != project.REQUIREMENTS.as_posix() and not dep["path"].startswith("src/")
    }
    return {
        **data,
        **lineage.digests([project.PREPARED]),
        project.model_folder(member).as_posix(): best.tags.get("dvc.models_md5", ""),
        **lineage.digests([project.predictions_folder(member), project.EVALUATION]),
    }


def record_versions() -> dict[str, str]:
    """Return the versions of Python and the most important packages."""
    versions = lineage.versions()
    return {name: versions[name] for name in PACKAGES if name in versions}
