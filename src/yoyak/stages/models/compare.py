"""yoyak models compare: versions side by side."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from yoyak.stages.arguments import AsJson, VersionName
from yoyak.stages.models.output import print_json, version_uri
from yoyak.tracking.client import import_for_reading


def run(
    model: VersionName,
    other: VersionName,
    /,
    *more: VersionName,
    examples: Annotated[
        int, Parameter(validator=Number(gte=0), help="Dialogues to show on which they differ most.")
    ] = 3,
    json: AsJson = False,
) -> None:
    """Compare versions with the first one: scores, significance, params, and summaries that differ most."""
    import_for_reading()
    from yoyak.registry.comparing import compare

    comparison = compare([version_uri(name) for name in (model, other, *more)], examples=examples)
    if json:
        print_json(comparison)
    else:
        from yoyak.registry.tables import format_comparison

        print(format_comparison(comparison))
