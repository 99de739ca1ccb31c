"""yoyak study register: register the model of the best trial."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from yoyak import params


def run(name: Annotated[str, Parameter(help="A study that has trained models.")], /) -> None:
    """Register the model of the best trial under its member's name, as challenger at most."""
    settings = params.load(params.Params)
    from yoyak.registration.study import register_best

    version = register_best(name, settings)
    aliases = f" ({', '.join(version.aliases)})" if version.aliases else ""
    print(f"{version.name} version {version.version}{aliases}")
