"""A whole bench of a tiny model, and the pages that show it."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from bench.conftest import SETTINGS, bench_params
from yoyak.bench import page, quality
from yoyak.bench.run import Subject, run_bench
from yoyak.data.records import Dialogue
from yoyak.decoding.candidates import Candidate, write_candidates
from yoyak.errors import UserError
from yoyak.params import Generation, Scoring
from yoyak.stages.bench import logged, metrics, served
from yoyak.tracking import lineage

pytestmark = pytest.mark.slow


def test_every_variant_is_measured_at_every_cell(figures: dict[str, Any]) -> None:
    names = ["torch_int8", "onnx_fp32", "exported"]
    assert list(figures["variants"]) == names
    assert [(row["variant"], row["batch_size"], row["beams"]) for row in figures["cells"]] == [
        (name, size, beams) for name in names for beams in (1, 2) for size in (1, 2)
    ]
    assert set(figures["rounds"]) == {"onnx_fp32", "exported"}
    assert {len(speeds) for speeds in figures["rounds"].values()} == {8}
    sizes = {name: about["disk_mb"] for name, about in figures["variants"].items()}
    assert sizes["exported"] < sizes["onnx_fp32"]
    assert figures["gate"]["conditions"][0]["figures"]["batch_size"] == figures["search"]["batch_size"]
    assert figures["quality"]["n"] == 6
    assert figures["quality"]["fp32"] == "written by the bench"
    json.dumps(figures, allow_nan=False)


def test_small_files_hold_what_they_are_for(figures: dict[str, Any]) -> None:
    small = served(figures)
    assert small["model"] == "bart"
    assert small["batch_size"] == figures["search"]["batch_size"]
    assert small["gate"]["passed"] is figures["gate"]["passed"]
    assert len(small["gate"]["sentences"]) == 2
    shown = metrics(figures)
    assert all(isinstance(value, int | float) for value in shown.values())
    assert shown["samples_per_second"] > 0
    assert logged(figures)["exported.batch_2.beams_1.samples_per_second"]


def test_a_memory_that_not_one_dialogue_fits_into_is_one_sentence(subject: Subject, dev: list[Dialogue]) -> None:
    settings = {**SETTINGS, "bench": {**SETTINGS["bench"], "memory_limit_mb": 1}}
    with pytest.raises(UserError, match=r"^bench.memory_limit_mb is 1, and one dialogue at a time needs \d+ MB: raise"):
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


def test_the_pages_say_it_all_and_load_nothing(figures: dict[str, Any], tmp_path: Path) -> None:
    page.write(figures, tmp_path / "out")
    text, loaded = read(tmp_path / "out/index.html")
    assert [name for name in loaded if not name.startswith("#")] == []
    for name in ("torch INT8", "ONNX fp32", "ONNX INT8"):
        assert name in text
    for condition in figures["gate"]["conditions"]:
        assert " ".join(condition["sentence"].split()) in text
    for heading in ("Speed", "Size and memory", "Batch size", "ROUGE", "What stayed in float"):
        assert heading in text
    assert f"up to {figures['search']['batch_size']} dialogues at once" in text
    assert figures["machine"]["processor"] in text
    images = {path.name for path in (tmp_path / "out/images").iterdir()}
    assert images == {"frontier_1.svg", "frontier_2.svg", "search.svg"}
    markdown = (tmp_path / "out/report.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\(images/([^)]+)\)", markdown)) == images
    page.write(figures, tmp_path / "again")
    for path in (tmp_path / "out").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "again" / path.relative_to(tmp_path / "out")).read_bytes()


def test_the_verdict_names_what_failed(figures: dict[str, Any], tmp_path: Path) -> None:
    def judged(speed: bool, rouge: bool) -> str:
        conditions = [
            {**one, "passed": passed} for one, passed in zip(figures["gate"]["conditions"], (speed, rouge), strict=True)
        ]
        return page.verdict({**figures, "gate": {"passed": speed and rouge, "conditions": conditions}})

    assert judged(True, True).startswith("ONNX INT8 of bart is the model to serve")
    assert judged(False, True) == "fp32 is kept, and not ONNX INT8 of bart: it is not shown to be faster"
    assert judged(False, False).endswith("it is not shown to be faster and it may lose more ROUGE than is allowed")


def test_quality_is_paired() -> None:
    dev = [Dialogue(fname=str(place), dialogue="x", summaries=("하나 둘 셋",)) for place in range(8)]
    scoring = Scoring(granularities=["eojeol"], bootstrap_samples=100)
    same = quality.compare(["하나 둘"] * 8, ["하나 둘"] * 8, dev, scoring, confidence=0.9, seed=1)
    assert same["different_texts"] == 0
    assert (same["metrics"]["combined"]["low"], same["metrics"]["combined"]["high"]) == (0, 0)
    worse = quality.compare(["하나"] * 8, ["하나 둘"] * 8, dev, scoring, confidence=0.9, seed=1)
    assert worse["different_texts"] == 8
    assert worse["metrics"]["rouge1"]["exported"] == pytest.approx(0.5)
    assert worse["metrics"]["rouge1"]["high"] < 0


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


def test_what_was_evaluated_is_what_fp32_wrote(evaluated: tuple[list[Dialogue], Generation]) -> None:
    dev, generation = evaluated
    assert quality.evaluated_texts("bart", dev, generation) == ["best of a", "best of b"]
    assert quality.evaluated_texts("bart", dev, Generation(max_new_tokens=8)) is None
    assert quality.evaluated_texts("soup", dev, generation) is None


@pytest.mark.parametrize("changed", ["models/bart/file", "prepared/eval/file", "predictions/bart/dev.jsonl"])
def test_predictions_of_something_else_are_not_taken(
    changed: str, evaluated: tuple[list[Dialogue], Generation]
) -> None:
    dev, generation = evaluated
    with Path(changed).open("a") as file:
        file.write("\n")
    assert quality.evaluated_texts("bart", dev, generation) is None


def test_predictions_without_a_lock_file_are_not_taken(evaluated: tuple[list[Dialogue], Generation]) -> None:
    dev, generation = evaluated
    Path("dvc.lock").unlink()
    assert quality.evaluated_texts("bart", dev, generation) is None
