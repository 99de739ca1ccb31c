"""yoyak models reproduce: make a version once more from its commit, and compare."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from yoyak.errors import UserError
from yoyak.stages.arguments import AsJson, VersionName
from yoyak.stages.models.output import print_json, version_uri


def run(
    model: VersionName,
    /,
    *,
    commit: Annotated[str, Parameter(help="Another commit than the one that it was registered at, such as HEAD.")] = "",
    json: AsJson = False,
) -> None:
    """Run a version's stages again in a temporary work tree, and compare weights and scores."""
    uri = version_uri(model)
    from yoyak.registration.reproduce import format_reproduction, reproduce

    result = reproduce(uri, commit=commit)
    if json:
        print_json(result)
    else:
        print(format_reproduction(result), end="")
    if result.verdict == "different":
        raise UserError(f"{result.version} could not be reproduced: the result is different.")
