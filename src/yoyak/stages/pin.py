"""yoyak pin [member …]: the commits on the Hub that checkpoints are read at, written to params.yaml."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from yoyak import params
from yoyak.errors import UserError, nearest
from yoyak.files import write_text


def run(
    *members: Annotated[str, Parameter(name="MEMBER", help="Names under members: in params.yaml; none means all.")],
    check: Annotated[
        bool, Parameter(negative=(), help="Change nothing and ask nobody; fail if a member has no commit.")
    ] = False,
    update: Annotated[
        bool, Parameter(negative=(), help="Move members that have a commit to the newest one of the main branch.")
    ] = False,
) -> None:
    """Write `revision:` of every member whose checkpoint is on the Hub: the commit that it has there now.

    A branch or a tag becomes its commit; a commit stays, unless --update is given. Comments are kept.
    """
    from yoyak.models.pinning import find_commit, hub_checkpoints
    from yoyak.params.pins import set_revisions

    path = Path(params.PARAMS_FILE)
    every = params.load(params.Params, path, env={}).members
    for name in members:
        if name not in every:
            raise UserError(f"{path} has no member '{name}'{nearest(name, every)}.")
    checkpoints = hub_checkpoints({name: member for name, member in every.items() if not members or name in members})
    if check:
        unpinned = {name: each.revision or "main" for name, each in checkpoints.items() if not each.is_pinned}
        if unpinned:
            listed = ", ".join(f"{name} ({revision})" for name, revision in unpinned.items())
            raise UserError(
                f"{len(unpinned)} of {len(checkpoints)} members with a checkpoint on the Hub have no commit, and will "
                f"change with it: {listed}; run `yoyak pin`."
            )
        print(f"{len(checkpoints)} members with a checkpoint on the Hub, each at a commit")
        return
    revisions = {}
    for name, each in checkpoints.items():
        if each.is_pinned and not update:
            continue
        commit = find_commit(each.name, None if each.is_pinned else each.revision)
        if commit != each.revision:
            revisions[name] = commit
            print(f"members.{name}.revision: {each.revision or 'main'} of {each.name} is {commit}")
    if revisions:
        write_text(path, set_revisions(path.read_text(encoding="utf-8"), str(path), revisions))
        print(f"{path} is changed: `dvc repro` trains {', '.join(revisions)} again", file=sys.stderr)
    else:
        print(f"{path} needs no change")
