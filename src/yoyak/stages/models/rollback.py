"""yoyak models rollback: undo the last move of an alias of the registered model."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from yoyak.stages.models.output import registry_name


def run(
    name: Annotated[
        str | None, Parameter(help="A registered model such as yoyak-bart; without it, registry.name.")
    ] = None,
    /,
    *,
    alias: Annotated[
        Literal["champion", "serving"], Parameter(help="The alias of the registered model to move back.")
    ] = "champion",
    reason: Annotated[str, Parameter(help="Why, for the history.")] = "",
) -> None:
    """Let an alias point to the version that it pointed to before."""
    name = name or registry_name()
    from yoyak.registry import deployment, promotion

    if alias == "champion":
        version = promotion.rollback(name, reason=reason)
        print(f"{version.name} version {version.version} is champion again")
    else:
        version = deployment.undo_serving(name, reason=reason)
        print(f"{version.name} version {version.version} is served again")
