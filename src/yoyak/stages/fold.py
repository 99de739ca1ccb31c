"""yoyak fold <member> <parts>: members that hold out one part of the training set each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from yoyak import params
from yoyak.files import write_text
from yoyak.stages.arguments import MemberName


def run(
    member: MemberName,
    parts: Annotated[int, Parameter(validator=Number(gte=2), help="How many parts, and members.")],
    /,
) -> None:
    """Add <member>_fold1, <member>_fold2 … to params.yaml, each trained on all parts but one; comments are kept."""
    from yoyak.params.folds import add_folds, fold_names

    path = Path(params.PARAMS_FILE)
    params.load(params.Params, path, env={})
    write_text(path, add_folds(path.read_text(encoding="utf-8"), str(path), member, parts))
    names = fold_names(member, parts)
    print(f"{path} has {names[0]} … {names[-1]} now; {member} is still a member: delete it if they replace it")
