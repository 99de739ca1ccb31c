"""A version's lineage, and its differences from what is there, as text for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from yoyak.registry.lineage import Lineage, RunInfo
from yoyak.registry.verify import Difference

SHORT = 12
"""Characters of a digest that people are shown."""


def format_lineage(lineage: Lineage) -> str:
    """Return a lineage as text for people."""
    return "\n".join(_lines(lineage)) + "\n"


def _lines(lineage: Lineage, indent: str = "") -> Iterator[str]:
    aliases = f" ({', '.join(lineage.aliases)})" if lineage.aliases else ""
    yield f"{indent}{lineage.label}{aliases}: {lineage.member or 'model'}, {lineage.variant}"
    for name, text in _rows(lineage):
        yield f"{indent}  {name:<10} {text}"
    for title, related in (("member", lineage.members), ("source", (lineage.source,) if lineage.source else ())):
        for entry in related:
            yield f"{indent}  {title}:"
            yield from _lines(entry, f"{indent}    ")


def _rows(lineage: Lineage) -> Iterator[tuple[str, str]]:
    if lineage.uri != f"models:/{lineage.label}":
        yield "asked for", lineage.uri
    if lineage.identity:
        yield "identity", lineage.identity[:SHORT]
    yield "model", lineage.model_id or "unknown"
    yield "run", _describe(lineage.run)
    yield "pipeline", _describe(lineage.parent)
    state = ", with changes that were not committed" if lineage.dirty else ""
    yield "commit", f"{lineage.commit or 'none'}{state}"
    if lineage.experiment:
        yield "experiment", lineage.experiment
    yield "seed", lineage.seed or "unknown"
    yield "device", lineage.device or "unknown"
    if lineage.params_md5 or lineage.params:
        yield "params", f"md5 {lineage.params_md5[:SHORT] or 'unknown'}, {len(lineage.params)} on the run"
    if lineage.base:
        version = f"@{lineage.base.commit}" if lineage.base.commit else ""
        yield "base", f"{lineage.base.checkpoint}{version}" + (f", md5 {lineage.base.md5}" if lineage.base.md5 else "")
    for file in lineage.data:
        yield "data", f"{file.path}: {file.rows} rows, md5 {file.md5 or 'unknown'}"
    if lineage.splits:
        yield "splits", ", ".join(f"{name} {rows}" for name, rows in lineage.splits.items())
    if lineage.scores:
        yield "scores", ", ".join(f"{split} {score:.4f}" for split, score in lineage.scores.items())
    for stage in lineage.stages:
        for path, md5 in stage.outs.items():
            yield "stage", f"{stage.name}: {path}, md5 {md5}"
    if lineage.versions:
        yield "libraries", ", ".join(f"{name} {version}" for name, version in lineage.versions.items())
    if lineage.bundle_digest:
        yield "bundle", f"{'sha256' if len(lineage.bundle_digest) == 64 else 'md5'} {lineage.bundle_digest}"
    for key, value in lineage.imported.items():
        yield "imported", f"{key} {value}"
    for label in lineage.missing:
        yield "missing", f"{label}, which the registry does not have any more"


def _describe(run: RunInfo | None) -> str:
    if run is None:
        return "unknown: MLflow does not have it any more"
    deleted = ", deleted" if run.deleted else ""
    return f"{run.name} ({run.run_id}), {run.status}{deleted}, {run.started}, by {run.user or 'unknown'}"


def format_differences(lineage: Lineage, differences: Sequence[Difference]) -> str:
    """Return what `verify` found as text for people."""
    if not differences:
        return f"Nothing differs from what {lineage.label} was made from.\n"
    count = f"{len(differences)} difference{'s' if len(differences) > 1 else ''}"
    lines = [f"{count} from what {lineage.label} was made from:", *(f"- {entry.sentence}" for entry in differences)]
    return "\n".join(lines) + "\n"
