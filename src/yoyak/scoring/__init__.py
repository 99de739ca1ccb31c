"""Scores that are right for Korean: ROUGE, extractive baselines, bootstrap, and the evaluation of all systems."""

from __future__ import annotations

from pathlib import Path


def module_path() -> Path:
    """Return the folder that `evaluate.load` takes for this package's ROUGE; the Hub is not asked."""
    return Path(__file__).parent / "evaluate_module" / "yoyak_rouge"
