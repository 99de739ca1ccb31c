"""yoyak train <member>: train one member of params.yaml."""

from __future__ import annotations

import csv
from pathlib import Path

from yoyak import lineage, params, tracking
from yoyak.data.records import read_jsonl
from yoyak.files import atomic_path, write_json


def run(member: str) -> None:
    """Train a member; write models/, metrics/, plots/ and receipts/, and one MLflow run with its curves."""
    p = params.read(f"members.{member}", "seed")
    settings = p.members[member]
    inputs = lineage.inputs("prepared")
    with tracking.stage_run("train", member=member, params=p, inputs=inputs) as run:
        from yoyak.models.tokenizers import load_tokenizer
        from yoyak.training.trainer import CURVE, train_member

        prepared = Path("prepared")
        masks = (prepared / "masks.txt").read_text(encoding="utf-8").split()
        tokenizer = load_tokenizer(prepared / "tokenizers" / settings.tokenizer, masks)
        done = train_member(
            member,
            settings,
            tokenizer,
            read_jsonl(prepared / "train.jsonl"),
            read_jsonl(prepared / "dev.jsonl"),
            seed=p.seed,
            out=Path("models", member),
            checkpoints=Path("checkpoints", member),
            log=run.log_metrics,
        )
