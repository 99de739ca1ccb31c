"""yoyak import: register the model of a ZIP that `yoyak bundle` wrote, in any MLflow registry."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from yoyak import params
from yoyak.errors import UserError


def run(
    bundle: Annotated[str, Parameter(help="ZIP file that `yoyak bundle` wrote.")],
    /,
    *,
    name: Annotated[
        str | None, Parameter(help="Registered model to add a version to; without it <registry.name>-<member>.")
    ] = None,
) -> None:
    """Register the model of a ZIP that `yoyak bundle` wrote, here or anywhere."""
    if not Path(bundle).is_file():
        raise UserError(f"{bundle} is not a file: give the ZIP that `yoyak bundle` wrote.")
    if name is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise UserError(f"--name '{name}' cannot name a model: use letters, digits, ., - and _.")
    settings = params.Registry() if name is not None else params.load_or_default().registry
    from yoyak.registration.bundle import register_bundle

    imported = register_bundle(Path(bundle), registry_name=settings.name, name=name)
    version = imported.version
    print(f"{version.name} version {version.version}{'' if imported.new else ' has this bundle already'}")
