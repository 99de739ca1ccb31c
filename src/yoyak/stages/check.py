"""yoyak check [member …]: whether members will train here, before any weight is loaded."""

from __future__ import annotations

import json as json_format
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from yoyak import params, project
from yoyak.errors import UserError, nearest
from yoyak.files import write_text
from yoyak.params.stages import CheckParams
from yoyak.stages.arguments import AsJson

if TYPE_CHECKING:
    from yoyak.training.check import Report

MARKS = {"ok": "ok", "warning": "!", "error": "FAILS"}


def run(
    *members: Annotated[str, Parameter(name="MEMBER", help="Names under members: in params.yaml; none means all.")],
    json: AsJson = False,
) -> None:
    """Check names, tokenizer, a training example, window, precision, memory and disk of all members at once.

    Ends with an error if a member cannot be trained. In the pipeline it runs before the first training.
    """
    p = params.load(CheckParams)
    for name in members:
        if name not in p.members:
            raise UserError(f"params.yaml has no member '{name}'{nearest(name, p.members)}.")
    trained = {
        name: member
        for name, member in p.members.items()
        if (not members or name in members) and isinstance(member, params.TrainedMember)
    }
    reports = _check(trained)
    if json:
        print(json_format.dumps([asdict(report) for report in reports], ensure_ascii=False, indent=2))
    elif reports:
        print(_format(reports))
    failed = [report.member for report in reports if report.fails]
    if failed:
        raise UserError(f"{len(failed)} of {len(reports)} members cannot be trained here: {', '.join(failed)}.")
    if not members:
        # Its text never changes, so that no member is trained again because another one was checked.
        write_text(project.CHECKED, "Every member of params.yaml can be trained.\n")


def _check(members: dict[str, params.TrainedMember]) -> list[Report]:
    if not members:
        return []
    from tqdm import tqdm

    from yoyak.data.records import read_jsonl
    from yoyak.models.libraries import import_transformers

    import_transformers()
    from transformers import logging

    from yoyak.training.check import check_member, make_report

    logging.set_verbosity_error()
    rows = read_jsonl(project.TRAIN_SPLIT)
    masks = project.MASKS.read_text(encoding="utf-8").split()
    return [
        make_report(
            name,
            check_member(
                name,
                member,
                rows,
                masks,
                project.TOKENIZERS / member.tokenizer if member.tokenizer else None,
                project.model_folder(name),
            ),
        )
        for name, member in tqdm(members.items(), desc="checking members", unit="member")
    ]


def _format(reports: Sequence[Report]) -> str:
    from yoyak.training.check import CHECKS

    table = [["", *CHECKS]]
    for report in reports:
        found = {finding.check: MARKS[finding.level] for finding in report.findings}
        table.append([report.member, *(found.get(check, "-") for check in CHECKS)])
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    for report in reports:
        lines += ["", report.member, *(f"  {finding.check:<11}{finding.note}" for finding in report.findings)]
    return "\n".join(lines)
