"""Scores that are right for Korean: ROUGE, extractive baselines, bootstrap, and the evaluation of all systems."""

from __future__ import annotations

from pathlib import Path


def module_path() -> Path:
    """Return the folder to give to `evaluate.load` for this package's ROUGE; no Hub is asked."""
    return Path(__file__).parent / "evaluate_module" / "yoyak_rouge"
