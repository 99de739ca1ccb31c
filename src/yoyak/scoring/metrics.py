"""The metrics for scoring systems; `yoyak.scoring.rouge` computes them."""

from __future__ import annotations

METRIC_LABELS = {"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L", "combined": "combined"}
"""Names in files, and labels in the report; ``combined``, the weighted sum of the first three, is last."""
METRICS = tuple(METRIC_LABELS)
COMPARED_METRICS = ("combined", "rouge1")
"""Metrics for pairwise comparisons of systems."""
