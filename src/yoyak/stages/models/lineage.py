"""yoyak models lineage: what a version was made from."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from yoyak.stages.arguments import AsJson, VersionName
from yoyak.stages.models.output import print_json, version_uri
from yoyak.tracking.client import import_for_reading


def run(
    model: VersionName,
    /,
    *,
    verify: Annotated[
        bool, Parameter(negative=(), help="Hash what is here, and print what differs from what was recorded.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Print a version's run, commit, data, params, libraries and checkpoint, down to rows and md5s."""
    import_for_reading()
    uri = version_uri(model)
    from yoyak.registry import lineage_text
    from yoyak.registry.lineage import read_lineage

    lineage = read_lineage(uri)
    if verify:
        from yoyak.registry.verify import verify as find_differences

        differences = find_differences(lineage)
        if json:
            print_json(differences)
        else:
            print(lineage_text.format_differences(lineage, differences), end="")
    elif json:
        print_json(lineage)
    else:
        print(lineage_text.format_lineage(lineage), end="")
