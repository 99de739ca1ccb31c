"""yoyak evaluate: score members and extractive baselines."""

from __future__ import annotations

from pathlib import Path

from yoyak import lineage, params, tracking
from yoyak.data.records import read_jsonl
from yoyak.decoding.candidates import read_candidates
from yoyak.files import write_json


def run() -> None:
    """Write evaluation/ and metrics/evaluate.json from predictions/, and log them as one MLflow run."""
    p = params.read("members", "scoring", "seed")
    from yoyak.scoring.evaluation import evaluate_systems, metrics, write_evaluation
