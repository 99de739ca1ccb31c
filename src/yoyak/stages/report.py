"""yoyak report: write report/index.html and report/report.md."""

from __future__ import annotations

from pathlib import Path

from yoyak import params

APART = ("export", "bench", "gate", "serving")
"""Sections of the stages that are not in dvc.yaml: the report is written without them."""


def run() -> None:
    """Build the report from what the stages before it wrote."""
    p = params.read(*(section for section in params.Params.model_fields if section not in APART))
    from yoyak.reporting.build import build_report

    build_report(Path(), Path("report"), p)
    print(f"report: {Path('report', 'index.html').absolute().as_uri()}")
