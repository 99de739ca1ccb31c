"""yoyak models list: every registered version, best first."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from yoyak.stages.arguments import AsJson, Count
from yoyak.stages.models.output import print_json
from yoyak.tracking.client import import_for_reading


def run(
    name: Annotated[str | None, Parameter(help="Only versions of this registered model, such as yoyak-bart.")] = None,
    /,
    *,
    architecture: Annotated[str | None, Parameter(help="Only this architecture, such as bart or t5.")] = None,
    member: Annotated[str | None, Parameter(help="Only this member or ensemble of params.yaml.")] = None,
    min_score: Annotated[float | None, Parameter(help="Only with at least this score.")] = None,
    metric: Annotated[str, Parameter(help="The score: combined, rouge1, rouge2, rougeL.")] = "combined",
    split: Annotated[str, Parameter(help="The split that was scored.")] = "dev",
    best: Annotated[Count | None, Parameter(help="Only so many of the best.")] = None,
    json: AsJson = False,
) -> None:
    """List registered versions, best first; those without the score come last."""
    import_for_reading()
    from yoyak.registry.queries import find_versions

    versions = find_versions(
        name, architecture=architecture, member=member, min_score=min_score, metric=metric, split=split, limit=best
    )
    if json:
        print_json(versions)
    elif versions:
        from yoyak.registry.tables import format_versions

        print(format_versions(versions, metric, split))
    elif name or architecture or member or min_score is not None:
        print("no version is like that: `yoyak models list` shows all of them")
    else:
        print("the registry is empty: `dvc repro` trains and registers models, `yoyak import` registers a ZIP file")
