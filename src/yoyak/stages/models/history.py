"""yoyak models history: who made which version champion, when and why."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from yoyak.stages.arguments import AsJson
from yoyak.stages.models.output import print_json, registry_name
from yoyak.tracking.client import import_for_reading


def run(
    name: Annotated[
        str | None, Parameter(help="A registered model such as yoyak-bart; without it, registry.name.")
    ] = None,
    /,
    *,
    json: AsJson = False,
) -> None:
    """Print every decision about the champion of a registered model, oldest first."""
    import_for_reading()
    name = name or registry_name()
    from yoyak.registry.queries import history

    entries = history(name)
    if json:
        print_json(entries)
    elif entries:
        from yoyak.registry.tables import format_history

        print(format_history(entries))
    else:
        print(f"{name} has had no champion yet: the first version that a commit registers becomes it")
