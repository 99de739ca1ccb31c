"""yoyak models promote: make a version champion, if the gate lets it."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from yoyak.errors import UserError
from yoyak.stages.arguments import VersionName
from yoyak.stages.models.output import version_uri


def run(
    model: VersionName,
    /,
    *,
    force: Annotated[bool, Parameter(negative=(), help="Do not ask the gate; takes a --reason.")] = False,
    reason: Annotated[str, Parameter(help="Why, for the history.")] = "",
    allow_experiment: Annotated[
        bool, Parameter(negative=(), help="Even if it comes from a DVC experiment or uncommitted changes.")
    ] = False,
) -> None:
    """Compare a version with the champion on the gate split, and make it champion if it passes."""
    if force and not reason.strip():
        raise UserError("--force overrules the gate, so it takes a --reason, which the history keeps.")
    uri = version_uri(model)
    from yoyak.registration.promote import judge
    from yoyak.registry import promotion
    from yoyak.registry.queries import get_info
    from yoyak.registry.tables import format_verdict

    info = get_info(uri)
    verdict = None if force else judge(info.name, info.version, allow_experiment=allow_experiment)
    if verdict is not None:
        print(format_verdict(verdict))
    version = promotion.promote(
        info.name, info.version, verdict=verdict, reason=reason, allow_experiment=allow_experiment
    )
    print(f"{version.name} version {version.version} is champion")
