"""`python tests/cli/command_line.py` rewrites command_line.txt, which freezes every verb and option of `yoyak`."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import get_args, get_origin

from yoyak.cli.app import build_app, find_app
from yoyak.cli.verbs import VERBS

FILE = Path(__file__).with_suffix(".txt")


def describe() -> str:
    """Return one line for each verb and, below it, one for each argument: its name, type and default."""
    app = build_app()
    lines = []
    for verb in VERBS:
        lines.append(verb.name)
        for argument in find_app(app, verb).assemble_argument_collection():
            field = argument.field_info
            name = argument.name if field.is_keyword else argument.name.lstrip("-").upper()
            default = "required" if field.required else f"= {field.default!r}"
            if field.kind is inspect.Parameter.VAR_POSITIONAL:
                name, default = f"{name}...", "= ()"
            lines.append(f"    {name}: {_type_name(argument.hint)} {default}")
    return "\n".join(lines) + "\n"


def _type_name(hint: object) -> str:
    if get_origin(hint) is not None and hasattr(hint, "__metadata__"):
        return _type_name(get_args(hint)[0])
    return hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint).replace("typing.", "")


if __name__ == "__main__":
    FILE.write_text(describe(), encoding="utf-8")
    print(f"{FILE} is rewritten")
