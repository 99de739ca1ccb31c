"""yoyak distillation BASE [HEAD]: what share of an ensemble's gain a student keeps."""

from __future__ import annotations

import json as json_format
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from yoyak.stages.arguments import AsJson


def run(
    base: Annotated[str, Parameter(help="A git revision in which the ensemble was scored.")],
    head: Annotated[str | None, Parameter(help="That of the student; without it, the work tree.")] = None,
    /,
    *,
    ensemble: Annotated[str | None, Parameter(help="An ensemble of BASE; without it, its best one on dev.")] = None,
    student: Annotated[str | None, Parameter(help="A member of HEAD; without it, its best one on dev.")] = None,
    json: AsJson = False,
) -> None:
    """Report what share of the ensemble's gain over its best member the student keeps, with intervals, and its size."""
    from yoyak.revisions.distillation import compare_student

    result = compare_student(Path(), base, head, ensemble=ensemble, student=student)
    if json:
        print(json_format.dumps(asdict(result), ensure_ascii=False, indent=2))
    else:
        from yoyak.revisions.distillation_text import render_distillation

        print(render_distillation(result))
