"""A whole bench of a tiny model, and the pages that show it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bench.conftest import SETTINGS, bench_params
from yoyak.bench import page, quality
from yoyak.bench.results import (
    BenchResult,
    GateDecision,
    Quality,
    ServingDecision,
    collect_dvc_metrics,
    collect_run_metrics,
    extract_serving_decision,
)
from yoyak.bench.run import Subject, run_bench
from yoyak.data.records import Dialogue
from yoyak.decoding.candidates import Candidate, write_candidates
from yoyak.errors import UserError
from yoyak.files import read_result, write_result
from yoyak.params import Generation, Scoring
from yoyak.tracking import lineage

pytestmark = pytest.mark.slow


def test_every_variant_is_measured_at_every_cell(result: BenchResult) -> None:
    names = ["torch_int8", "onnx_fp32", "exported"]
    assert list(result.variants) == names
    assert [(cell.variant, cell.batch_size, cell.beams) for cell in result.cells] == [
        (name, size, beams) for name in names for beams in (1, 2) for size in (1, 2)
    ]
    assert set(result.rounds) == {"onnx_fp32", "exported"}
    assert {len(speeds) for speeds in result.rounds.values()} == {8}
    assert result.variants["exported"].disk_mb < result.variants["onnx_fp32"].disk_mb
    assert result.gate.speed.comparison
    assert result.gate.speed.comparison.batch_size == result.search.batch_size
    assert result.quality.n == 6
    assert result.quality.fp32_source == "written by the bench"


def test_results_are_read_back_as_they_were_written(result: BenchResult, tmp_path: Path) -> None:
    write_result(tmp_path / "figures.json", result)
    assert read_result(tmp_path / "figures.json", BenchResult, command="yoyak bench") == result
    write_result(tmp_path / "serving.json", extract_serving_decision(result))
    decision = read_result(tmp_path / "serving.json", ServingDecision, command="yoyak bench")
    assert decision == extract_serving_decision(result)


def test_metrics_are_numbers(result: BenchResult) -> None:
    metrics = collect_dvc_metrics(result)
    assert all(isinstance(value, int | float) for value in metrics.values())
    assert set(metrics) == {"speedup", "rouge_change"}
    assert collect_run_metrics(result)["exported.batch_2.beams_1.samples_per_second"]


def test_a_memory_limit_that_is_too_low_for_one_dialogue_is_an_error(subject: Subject, dev: list[Dialogue]) -> None:
    settings = {**SETTINGS, "bench": {**SETTINGS["bench"], "memory_limit_mb": 1}}
    with pytest.raises(UserError, match=r"bench\.memory_limit_mb is 1,.* needs \d+ MB"):
        run_bench(subject, dev, bench_params(settings))


class Words(HTMLParser):
    """What a reader sees, and what a browser would load."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.loaded: list[str] = []
        self.hidden = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.hidden = tag == "style"
        self.loaded += [
            value for key, value in attrs if value and (key in ("src", "srcset") or (key == "href" and tag != "a"))
        ]

    def handle_endtag(self, tag: str) -> None:
        self.hidden = False

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.words += data.split()


def read(path: Path) -> tuple[str, list[str]]:
    parser = Words()
    parser.feed(path.read_text(encoding="utf-8"))
    return " ".join(parser.words), parser.loaded


def test_the_pages_show_everything_and_load_nothing(result: BenchResult, tmp_path: Path) -> None:
    page.write_report(result, tmp_path / "out")
    text, loaded = read(tmp_path / "out/index.html")
    assert [name for name in loaded if not name.startswith(("#", "data:"))] == []
    for name in ("torch INT8", "ONNX fp32", "ONNX INT8"):
        assert name in text
    for check in result.gate.checks:
        assert " ".join(check.sentence.split()) in text
    for heading in ("Speed", "Size and memory", "Batch size", "ROUGE", "What stayed in float"):
        assert heading in text
    assert f"up to {result.search.batch_size} dialogues at once" in text
    assert result.machine.processor in text
    images = {path.name for path in (tmp_path / "out/images").iterdir()}
    assert images == {"frontier_1.svg", "frontier_2.svg", "search.svg"}
    markdown = (tmp_path / "out/report.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\(images/([^)]+)\)", markdown)) == images
    page.write_report(result, tmp_path / "again")
    for path in (tmp_path / "out").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "again" / path.relative_to(tmp_path / "out")).read_bytes()


@pytest.mark.parametrize(
    ("speed", "rouge", "parts"),
    [
        (True, True, ["is the model to serve"]),
        (False, True, ["fp32 stays", "not been shown"]),
        (True, False, ["fp32 stays", "ROUGE"]),
        (False, False, ["fp32 stays", "not been shown", "ROUGE"]),
    ],
)
def test_the_verdict_names_what_failed(speed: bool, rouge: bool, parts: list[str], result: BenchResult) -> None:
    gate = GateDecision(speed=replace(result.gate.speed, passed=speed), rouge=replace(result.gate.rouge, passed=rouge))
    verdict = page.describe_verdict(replace(result, gate=gate))
    assert [
        part for part in ("is the model to serve", "fp32 stays", "not been shown", "ROUGE") if part in verdict
    ] == parts
    assert "ONNX INT8 of bart" in verdict


def compare(exported: list[str], fp32: list[str]) -> Quality:
    dev = [Dialogue(fname=str(number), dialogue="x", summaries=("하나 둘 셋",)) for number in range(len(exported))]
    scoring = Scoring(granularities=["eojeol"], bootstrap_samples=100)
    return quality.compare(exported, fp32, dev, scoring, fp32_source="written by the bench", confidence=0.9, seed=1)


def test_equal_texts_have_no_difference() -> None:
    same = compare(["하나 둘"] * 8, ["하나 둘"] * 8)
    assert same.different_texts == 0
    assert (same.metrics["combined"].low, same.metrics["combined"].high) == (0, 0)


def test_differences_are_paired() -> None:
    """Four texts lose a word and four gain one: the interval covers both signs, and its mean is the real difference."""
    mixed = compare(["하나", "하나 둘 셋"] * 4, ["하나 둘"] * 8)
    assert mixed.different_texts == 8
    rouge1 = mixed.metrics["rouge1"]
    assert rouge1.exported == pytest.approx((0.5 + 1) / 2)
    assert rouge1.fp32 == pytest.approx(0.8)
    assert rouge1.difference == pytest.approx(-0.05)
    assert rouge1.low < rouge1.difference < rouge1.high
    worse = compare(["하나"] * 8, ["하나 둘"] * 8)
    assert worse.metrics["rouge1"].high < 0


@pytest.fixture
def evaluated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Dialogue], Generation]:
    """A member's predictions, and the lock file that says how they were made."""
    monkeypatch.chdir(tmp_path)
    for folder in ("models/bart", "prepared/eval"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "file").write_text(folder)
    dev = [Dialogue(fname=name, dialogue="x", summaries=("y",)) for name in "ab"]
    view = Candidate("of a changed dialogue", -0.1, view=1)
    rows = [(row.fname, [view, Candidate(f"best of {row.fname}", -0.2)]) for row in dev]
    Path("predictions/bart").mkdir(parents=True)
    write_candidates("predictions/bart/dev.jsonl", rows)
    generation = Generation(max_new_tokens=7)
    lock(generation)
    return dev, generation


def lock(generation: Generation) -> None:
    def entry(path: str) -> dict[str, str]:
        return {"path": path, "md5": lineage.digest(path)}

    stage = {
        "deps": [entry("models/bart"), entry("prepared/eval")],
        "params": {"params.yaml": {"generation": generation.model_dump(exclude_defaults=True)}},
        "outs": [entry("predictions/bart")],
    }
    Path("dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": {"predict@bart": stage}}))


def test_evaluated_predictions_are_used_for_fp32(evaluated: tuple[list[Dialogue], Generation]) -> None:
    dev, generation = evaluated
    assert quality.read_evaluated_texts("bart", dev, generation) == ["best of a", "best of b"]
    assert quality.read_evaluated_texts("bart", dev, Generation(max_new_tokens=8)) is None
    assert quality.read_evaluated_texts("soup", dev, generation) is None


@pytest.mark.parametrize("changed", ["models/bart/file", "prepared/eval/file", "predictions/bart/dev.jsonl"])
def test_other_predictions_are_not_used(changed: str, evaluated: tuple[list[Dialogue], Generation]) -> None:
    dev, generation = evaluated
    with Path(changed).open("a") as file:
        file.write("\n")
    assert quality.read_evaluated_texts("bart", dev, generation) is None


def test_predictions_without_a_lock_file_are_not_used(evaluated: tuple[list[Dialogue], Generation]) -> None:
    dev, generation = evaluated
    Path("dvc.lock").unlink()
    assert quality.read_evaluated_texts("bart", dev, generation) is None
