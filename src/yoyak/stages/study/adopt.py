"""yoyak study adopt: write the best trial's values into params.yaml."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from yoyak.files import write_text
from yoyak.params import PARAMS_FILE


def run(
    name: Annotated[str, Parameter(help="A study that has been run.")],
    /,
    *,
    dry_run: Annotated[bool, Parameter(negative=(), help="Only show what would change.")] = False,
) -> None:
    """Show the change of params.yaml, and make it; its comments stay."""
    from yoyak.studies.adopt import diff_params, edit_params, read_best, read_params_text

    before = read_params_text()
    after = edit_params(before, read_best(name))
    print(diff_params(before, after) or f"{PARAMS_FILE} has these values already.\n", end="")
    if not dry_run and after != before:
        write_text(PARAMS_FILE, after)
