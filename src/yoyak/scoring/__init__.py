"""Scoring that is correct for Korean: ROUGE, extractive baselines, bootstrap, and the evaluation of all systems."""

from __future__ import annotations

from pathlib import Path


def module_path() -> Path:
    """Return the folder to pass to `evaluate.load` for this package's ROUGE, without access to the Hub."""
    return Path(__file__).parent / "evaluate_module" / "yoyak_rouge"
