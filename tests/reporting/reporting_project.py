"""A tiny project folder with everything that the report reads, scored by the real evaluation."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from yoyak.data.records import Dialogue, write_jsonl
from yoyak.files import write_json, write_text
from yoyak.params import Scoring
from yoyak.scoring.evaluation import evaluate_systems, write_evaluation

PLACES = ("도서관", "병원", "식당", "은행")
TIMES = ("두 시", "세 시", "네 시", "다섯 시")
SCRIPT = "<script>alert('x')</script>"

Project = Callable[..., Path]


def dialogue(number: int, split: str, marker: str = "") -> Dialogue:
    """Return a dialogue of four to eight turns about one of four places."""
    place, time = PLACES[number % 4], TIMES[number // 4 % 4]
    turns = [f"#Person1#: {place}에서 몇 시에 만날까요?", f"#Person2#: {time}에 만나요.", "#Person1#: 네, 좋아요."]
    turns += ["#Person2#: 조금 늦을 수도 있어요. 길이 막히거든요."] * (number % 5 + 1)
    return Dialogue(
        fname=f"{split}_{number}",
        dialogue="\n".join(turns),
        summaries=(
            f"#Person1#과 #Person2#는 {time}에 {place}에서 만나기로 한다.",
            f"두 사람은 {place}에서 {time}에 보기로 약속한다.",
        ),
        topic=place,
        slice=marker,
    )


def summary(row: Dialogue, member: int) -> str:
    """Return what a member makes of a dialogue: the worse, the later it comes among the members."""
    words = row.summaries[0].split()
    number = int(row.fname.rpartition("_")[2])
    if number % 6 <= member:
        words[number % len(words)] = "내일"
    return " ".join(words[: max(1, len(words) - member * (number % 3))])


def write_project(
    root: Path,
    members: Sequence[str] = ("bart", "t5", "gpt2"),
    extra: bool = True,
    folder: str = "data",
    first: Dialogue | None = None,
) -> Path:
    """Write a project of 24 test dialogues; ``first`` takes the place of the first of them."""
    splits = {
        "dev": [dialogue(number, "dev") for number in range(12)],
        "test": [
            dialogue(number, "test", ("seen" if number < 16 else "unseen") if extra else "") for number in range(24)
        ],
    }
    if first:
        splits["test"][0] = first
    if extra:
        splits["handwritten"] = [dialogue(number, "handwritten") for number in range(8)]
    config = {"model_type": "bart"}
    settings = {
        "data": {"folder": folder},
        "tokenizers": {"bpe": {"type": "bpe", "vocab_size": 300}},
        "members": {
            name: {"family": "seq2seq", "config": config, "tokenizer": "bpe", "learning_rate": 0.001}
            for name in members
        },
    }
    write_json(root / "params.yaml", settings)
    predictions: dict[str, dict[str, dict[str, str]]] = {}
    for place, name in enumerate(members):
        predictions[name] = {split: {row.fname: summary(row, place) for row in rows} for split, rows in splits.items()}
        for split, texts in predictions[name].items():
            lines = [
                {"fname": fname, "candidates": [{"text": text, "score": -0.5}, {"text": "다른 후보", "score": -1.0}]}
                for fname, text in texts.items()
            ]
            write_text(
                root / f"predictions/{name}/{split}.jsonl",
                "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines),
            )
        metrics = {
            "train_loss": 1.25,
            "eval_loss": 1.5,
            "eval_combined": 0.5,
            "seconds": 92.4,
            "steps": 40,
            "parameters": 1_234_567,
            "samples_per_second": 431.2,
            "peak_memory_mb": 812.0,
            "device": "cpu",
        }
        write_json(root / f"metrics/train_{name}.json", metrics)
        write_curves(
            root / f"plots/curves_{name}.csv", [(step, step / 20, 8 / step, step % 20 == 0) for step in range(5, 45, 5)]
        )
    for split, rows in splits.items():
        write_jsonl(root / f"prepared/{split}.jsonl", rows)
    report: dict[str, Any] = {
        "seed": 20,
        "files": {
            split: {"rows_in": len(rows) + 1, "rows_kept": len(rows), "dropped": {"empty": 1}}
            for split, rows in splits.items()
        },
        "duplicates": {split: {"rows_beyond_first": 0} for split in splits},
        "leakage": [{"between": ["train", "test"], "dialogues": 3, "rows_removed_from_train": 3}],
    }
    write_json(root / "prepared/report.json", report)
    scoring = Scoring(granularities=["eojeol", "syllable"], bootstrap_samples=200)
    write_evaluation(evaluate_systems(splits, predictions, scoring, seed=1), root / "evaluation")
    registered = {
        "registered": [
            {
                "name": f"yoyak-{name}",
                "version": 2,
                "aliases": [],
                "run_id": f"{place:032x}",
                "member": name,
                "restored": False,
            }
            for place, name in enumerate(members)
        ],
        "decision": "Version 2 stays challenger.",
        "tracking_uri": "postgresql://me:secret@db:5432/mlflow",
    }
    write_json(root / "registry/registered.json", registered)
    return root


def write_curves(path: Path, rows: Sequence[tuple[int, float, float, bool]]) -> None:
    """Write (step, epoch, loss, evaluated) as the training does: a row of its own for an evaluation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["step", "epoch", "loss", "eval_loss", "eval_combined", "learning_rate"])
        for step, epoch, loss, evaluated in rows:
            writer.writerow([step, epoch, loss, "", "", 0.001])
            if evaluated:
                writer.writerow([step, epoch, "", loss + 0.1, 1 / (1 + loss), ""])
