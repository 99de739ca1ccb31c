"""yoyak preset: replace params.yaml with one of presets/."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from yoyak.errors import UserError, nearest
from yoyak.files import write_text
from yoyak.params import PARAMS_FILE, Params, load


def run(
    name: Annotated[str, Parameter(help="A file of presets/ without .yaml: smoke, demo, kobart ….")],
    /,
    *,
    force: Annotated[
        bool, Parameter(negative=(), help="Even if params.yaml has changes that are in no preset.")
    ] = False,
) -> None:
    """Copy presets/<name>.yaml over params.yaml; changes that are in no preset are only overwritten with ``force``."""
    presets = {path.stem: path for path in sorted(Path("presets").glob("*.yaml"))}
    if name not in presets:
        raise UserError(f"presets/ has no '{name}'{nearest(name, presets)}.")
    current = Path(PARAMS_FILE)
    text = presets[name].read_text(encoding="utf-8")
    known = [path.read_text(encoding="utf-8") for path in presets.values()]
    if current.exists() and current.read_text(encoding="utf-8") not in known and not force:
        raise UserError(
            f"{PARAMS_FILE} has changes that are in no preset: commit or keep a copy of it, then use --force."
        )
    load(Params, presets[name], env={})
    write_text(current, text)
    print(f"{PARAMS_FILE} is now presets/{name}.yaml")
