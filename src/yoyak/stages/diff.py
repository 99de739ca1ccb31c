"""yoyak diff BASE [HEAD]: what a change does to the model, as a report for a pull request."""

from __future__ import annotations

import json as json_format
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from yoyak.errors import UserError
from yoyak.stages.arguments import AsJson

Limit = Annotated[
    int,
    Parameter(validator=Number(gte=2000), help="Most characters of the Markdown; GitHub's comments hold 65,536."),
]


def run(
    base: Annotated[str, Parameter(help="A git revision: a branch, a tag or a commit.")],
    head: Annotated[str | None, Parameter(help="Another one; without it, the work tree.")] = None,
    /,
    *,
    markdown: Annotated[bool, Parameter(negative=(), help="Print Markdown for a comment or a job's summary.")] = False,
    json: AsJson = False,
    output: Annotated[str | None, Parameter(help="File to write to instead of printing.")] = None,
    plots: Annotated[str | None, Parameter(help="Folder to write plots to, as SVG; Markdown links to them.")] = None,
    examples: Annotated[int, Parameter(validator=Number(gte=0), help="Summaries that changed most to show.")] = 5,
    limit: Limit = 60_000,
    merge_base: Annotated[
        bool, Parameter(negative=(), help="Compare with the commit at which HEAD left BASE, as git diff does.")
    ] = False,
    fail_if_worse: Annotated[
        bool, Parameter(negative=(), help="Exit with 1 if a combined score is significantly worse.")
    ] = False,
) -> None:
    """Report what differs: params, data, code, stale stages, scores with significance, speed, behaviour, summaries."""
    if markdown and json:
        raise UserError("--markdown and --json are two forms of the same report: name one of them.")
    from yoyak.revisions.build import compare_revisions

    changes = compare_revisions(Path(), base, head, examples=examples, merge_base=merge_base)
    drawn = []
    if plots:
        from yoyak.revisions.plots import write_plots

        drawn = write_plots(changes, Path(plots))
    if json:
        text = json_format.dumps(asdict(changes), ensure_ascii=False, indent=2, default=str)
    elif markdown:
        from yoyak.revisions.markdown import render_markdown

        where = Path(output).parent if output else Path()
        folder = Path(os.path.relpath(plots, where)) if plots else None
        text = render_markdown(changes, plots=drawn, folder=folder, limit=limit)
    else:
        from yoyak.revisions.text import render_text

        text = render_text(changes)
    if output:
        from yoyak.files import write_text

        write_text(output, text.rstrip() + "\n")
    else:
        print(text.rstrip())
    if fail_if_worse and changes.losses:
        worst = min(changes.losses, key=lambda loss: loss.test.difference if loss.test else 0.0)
        difference = worst.test.difference if worst.test else 0.0
        raise UserError(
            f"{len(changes.losses)} combined scores are significantly worse, most of all {worst.system} on "
            f"{worst.split} ({difference:+.3f})."
        )
