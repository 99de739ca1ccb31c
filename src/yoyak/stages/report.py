"""yoyak report: write report/index.html and report/report.md."""

from __future__ import annotations

from pathlib import Path

from yoyak import params, project
from yoyak.params.stages import ReportParams


def run() -> None:
    """Build the report from what the stages before it wrote."""
    from yoyak.reporting.build import build_report

    build_report(Path(), project.REPORT, params.load(ReportParams))
    print(f"report: {(project.REPORT / 'index.html').absolute().as_uri()}")
