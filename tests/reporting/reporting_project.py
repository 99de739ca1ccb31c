"""A tiny project folder with everything that the report reads, scored by the real evaluation."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from yoyak import params, project
from yoyak.behaviour.accuracy import measure_facts
from yoyak.behaviour.accuracy_results import write_fact_accuracy
from yoyak.data.facts import Fact, KnownFacts
from yoyak.data.records import Dialogue, write_jsonl
from yoyak.decoding.candidates import Candidate
from yoyak.ensemble.analysis import analyse
from yoyak.ensemble.splits import Choice
from yoyak.files import write_json, write_text
from yoyak.params import Scoring
from yoyak.params.ensemble import Mbr, Soup, Strategy, Vote
from yoyak.params.stages import ReportParams
from yoyak.reporting.build import build_report
from yoyak.scoring.evaluation import evaluate_systems, write_evaluation
from yoyak.tracking.registered import Registered, RegisteredModel, write_registered

PLACES = ("도서관", "병원", "식당", "은행")
TIMES = ("두 시", "세 시", "네 시", "다섯 시")
SCRIPT = "<script>alert('x')</script>"

STRATEGIES: dict[str, Strategy] = {
    "vote": Vote(type="vote"),
    "mbr": Mbr(type="mbr"),
    "soup": Soup(type="soup", members=["bart", "t5"]),
}

Project = Callable[..., Path]
VOID = {"meta", "br", "line", "circle", "img", "source"}
FIGURE = re.compile(r"[+−]?\b\d\.\d{3}\b")


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
    strategies: Sequence[str] = (),
    facts: str = "",
) -> Path:
    """Write a project of 24 test dialogues; ``first`` takes the place of the first of them.

    ``facts`` is ``known`` if the data say what summaries have to state, ``unknown`` if not; otherwise they are not
    measured. ``strategies`` are names of `STRATEGIES`: the first of them writes what the first member does, the next
    the next.
    """
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
        splits["gate"] = [dialogue(number, "gate", "seen" if number < 6 else "unseen") for number in range(9)]
    config = {"model_type": "bart"}
    settings = {
        "data": {"folder": folder},
        "tokenizers": {"bpe": {"type": "bpe", "vocab_size": 300}},
        "members": {
            name: {"family": "seq2seq", "config": config, "tokenizer": "bpe", "learning_rate": 0.001}
            for name in members
        },
    }
    of_models = [name for name in strategies if name == "soup"]
    dumped = {name: STRATEGIES[name].model_dump() for name in strategies}
    settings["ensemble"] = {
        "models": {name: dumped[name] for name in of_models},
        "strategies": {name: dumped[name] for name in strategies if name not in of_models},
    }
    write_json(root / "params.yaml", settings)
    predictions: dict[str, dict[str, dict[str, str]]] = {}
    for index, name in enumerate(members):
        predictions[name] = {split: {row.fname: summary(row, index) for row in rows} for split, rows in splits.items()}
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
        write_json(root / f"training/{name}.json", metrics)
        write_curves(
            root / f"plots/curves_{name}.csv", [(step, step / 20, 8 / step, step % 20 == 0) for step in range(5, 45, 5)]
        )
    for split, rows in splits.items():
        write_jsonl(root / project.split_file(split), rows)
    report: dict[str, Any] = {
        "seed": 20,
        "files": {
            split: {"rows_in": len(rows) + 1, "rows_kept": len(rows), "dropped": {"empty": 1}}
            for split, rows in splits.items()
        },
        "duplicates": {split: {"rows_beyond_first": 0} for split in splits},
        "leakage": [{"between": ["train", "test"], "dialogues": 3, "rows_removed": {"train": 3}}],
    }
    write_json(root / "prepared/report.json", report)
    scoring = Scoring(granularities=["eojeol", "syllable"], bootstrap_samples=200)
    choices = {name: choices_of(name, index, members, splits) for index, name in enumerate(strategies)}
    ensembles = {
        name: {split: {fname: choice.text for fname, choice in rows.items()} for split, rows in by_split.items()}
        for name, by_split in choices.items()
    }
    for name, parts in ensembles.items():
        for split, texts in parts.items():
            lines = [{"fname": fname, "candidates": [{"text": text, "score": 1.0}]} for fname, text in texts.items()]
            write_text(
                root / f"ensembles/{name}/{split}.jsonl",
                "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines),
            )
    candidates = {
        name: {
            split: {fname: [Candidate(text, -0.5), Candidate("다른 후보", -1.0)] for fname, text in texts.items()}
            for split, texts in parts.items()
        }
        for name, parts in predictions.items()
    }
    evaluation = evaluate_systems(splits, predictions, scoring, 1, ensembles)
    selected = {name: STRATEGIES[name] for name in strategies}
    analysis = analyse(splits, evaluation, selected, candidates, choices, scoring, 1)
    write_evaluation(evaluation, root / "evaluation", analysis)
    if facts:
        measured = {split: rows for split, rows in splits.items() if split != "gate"}
        known = {
            split: {row.fname: KnownFacts((Fact("thing", (row.topic,)),)) for row in rows}
            for split, rows in measured.items()
        }
        accuracy = measure_facts(measured, known if facts == "known" else {}, {**predictions, **ensembles}, 0.95)
        write_fact_accuracy(root / project.FACT_ACCURACY, accuracy)
    registered = Registered(
        registered=tuple(
            RegisteredModel(
                name=f"yoyak-{name}", version=2, aliases=(), run_id=f"{number:032x}", member=name, restored=False
            )
            for number, name in enumerate(members)
        ),
        decision="Version 2 stays challenger.",
        tracking_uri="postgresql://me:secret@db:5432/mlflow",
        fingerprint="0" * 32,
    )
    write_registered(registered, root)
    return root


def choices_of(
    name: str, index: int, members: Sequence[str], splits: dict[str, list[Dialogue]]
) -> dict[str, dict[str, Choice]]:
    """Return the choices of a strategy: of vote nobody wrote the text, of soup nobody was left out."""
    of_member = members[index % len(members)]

    def without(row: Dialogue) -> dict[str, str]:
        never_left_out = name == "soup" or len(members) == 1
        return {} if never_left_out else {member: summary(row, index + (member == of_member)) for member in members}

    return {
        split: {
            row.fname: Choice(
                text=summary(row, index), member=of_member if name == "mbr" else "", rank=0, without=without(row)
            )
            for row in rows
        }
        for split, rows in splits.items()
    }


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


class Page(HTMLParser):
    """What a test asks of a page: its tags with attributes, whether they are balanced, its text outside of code."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.unbalanced: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID and (not self.open or self.open.pop() != tag):
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        if not {"style", "script", "svg"} & set(self.open):
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


def settings(root: Path, report: params.Report, members: list[str] | None = None) -> ReportParams:
    every = params.load(ReportParams, root / "params.yaml", env={})
    selected = {name: every.members.get(name, next(iter(every.members.values()))) for name in members or every.members}
    return every.model_copy(update={"report": report, "members": selected})


def build(root: Path, out: Path, dialogues: int = 6, members: list[str] | None = None) -> Page:
    report = params.Report(dialogues=dialogues, title="요약 & 보고")
    build_report(root, out, settings(root, report, members))
    return Page((out / "index.html").read_text(encoding="utf-8"))
