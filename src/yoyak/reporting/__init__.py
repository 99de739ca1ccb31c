"""The report of a pipeline: one self-contained HTML page, and the same figures as Markdown."""

from yoyak.reporting.build import build_report

__all__ = ["build_report"]
