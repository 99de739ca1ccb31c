"""yoyak check [member …]: whether members will train here, before any weight is loaded."""

from __future__ import annotations

import json as json_format
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from yoyak import params, project
from yoyak.errors import UserError, nearest
from yoyak.files import write_text
from yoyak.params.stages import CheckParams
from yoyak.params.train import TrainPolicy
from yoyak.process import without_garbage_collection
from yoyak.stages.arguments import AsJson

if TYPE_CHECKING:
    from yoyak.training.check import Report

MARKS = {"ok": "ok", "warning": "!", "error": "FAILS"}
ACCESS = "access"
"""The check that fails where a member that is not trained cannot be used."""


def run(
    *members: Annotated[str, Parameter(name="MEMBER", help="Names under members: in params.yaml; none means all.")],
    json: AsJson = False,
) -> None:
    """Check names, tokenizer, a training example, window, precision, memory and disk of all members at once.

    Of a member behind an endpoint: its prompt, its key, and whether the endpoint answers. Ends with an error if a
    member cannot be trained or asked. In the pipeline it runs before the first training.
    """
    p = params.load(CheckParams)
    for name in members:
        if name not in p.members:
            raise UserError(f"params.yaml has no member '{name}'{nearest(name, p.members)}.")
    chosen = {name: member for name, member in p.members.items() if not members or name in members}
    trained = {name: member for name, member in chosen.items() if isinstance(member, params.TrainedMember)}
    with without_garbage_collection():
        reports = _check(trained)
    reports += [report for name, member in chosen.items() if name not in trained and (report := _ask(name, member))]
    if json:
        print(json_format.dumps([asdict(report) for report in reports], ensure_ascii=False, indent=2))
    elif reports:
        print(_format(reports))
    failed = [report.member for report in reports if report.fails]
    isolated = not members and params.load(TrainPolicy).train.on_error == "isolate"
    if failed and not (isolated and len(failed) < len(p.members)):
        raise UserError(f"{len(failed)} of {len(reports)} members cannot be used here: {', '.join(failed)}.")
    if failed:
        print(f"the others go on without {', '.join(failed)}: train.on_error is isolate", file=sys.stderr)
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
    if not project.TRAIN_SPLIT.is_file():
        raise UserError(f"{project.TRAIN_SPLIT} is missing: `dvc repro prepare` writes what members are checked with.")
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


def _ask(name: str, member: params.Member) -> Report | None:
    """Return what the family of a member that is not trained finds about it; None if it checks nothing."""
    from yoyak.models.families import get_family
    from yoyak.training.check import Finding, Report

    findings: list[Finding] = []
    try:
        for check, level, note in get_family(member.family).check(name, member):
            findings.append(Finding(check=check, level=level, note=note))
    except UserError as error:
        if _is_predicted(name, member):
            note = (
                f"{error} Its summaries are here already, and are kept as long as nothing that they depend on changes."
            )
            findings.append(Finding(check=ACCESS, level="warning", note=note))
        else:
            findings.append(Finding(check=ACCESS, level="error", note=str(error)))
    return Report(member=name, findings=tuple(findings)) if findings else None


def _is_predicted(name: str, member: params.Member) -> bool:
    """Return whether a member with these params has written its summaries, so that it need not be asked again."""
    written = project.base_folder(name) / "params.json"
    return (
        project.predictions_folder(name).is_dir()
        and written.is_file()
        and json_format.loads(written.read_text(encoding="utf-8")) == member.model_dump(mode="json")
    )


def _format(reports: Sequence[Report]) -> str:
    from yoyak.training.check import CHECKS

    others = (finding.check for report in reports for finding in report.findings if finding.check not in CHECKS)
    columns = [*CHECKS, *dict.fromkeys(others)]
    table = [["", *columns]]
    for report in reports:
        found = {finding.check: MARKS[finding.level] for finding in report.findings}
        table.append([report.member, *(found.get(check, "-") for check in columns)])
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    for report in reports:
        lines += ["", report.member, *(f"  {finding.check:<11}{finding.note}" for finding in report.findings)]
    return "\n".join(lines)
