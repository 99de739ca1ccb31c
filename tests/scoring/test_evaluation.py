"""The evaluation of all systems: its files, its choices, its errors."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from yoyak.data.records import Dialogue
from yoyak.errors import UserError
from yoyak.params import Scoring
from yoyak.scoring.baselines import BASELINES
from yoyak.scoring.evaluation import Evaluation, evaluate_systems, headline_metrics, write_evaluation
from yoyak.scoring.metrics import METRICS
from yoyak.scoring.results import Part, PrimaryScore, read_evaluation
from yoyak.scoring.rouge import Protocol, rouge

SCORING = Scoring(granularities=["syllable", "eojeol"], bootstrap_samples=200)
WORDS = "저녁에 영화를 보고 극장 앞에서 만나 표를 예매하고 일곱 시에 친구와 커피를 마신다"


def corpus() -> tuple[dict[str, list[Dialogue]], dict[str, dict[str, dict[str, str]]]]:
    generator = np.random.default_rng(0)

    def text(count: int) -> str:
        return " ".join(generator.choice(WORDS.split(), count))

    def rows(split: str, count: int, references: int, slices: tuple[str, ...] = ("",)) -> list[Dialogue]:
        return [
            Dialogue(
                fname=f"{split}_{i}",
                dialogue="\n".join(f"#Person{turn % 2 + 1}#: {text(5)}" for turn in range(4)),
                summaries=tuple(f"#Person1#은 {text(6)}." for _ in range(1 + (i + references - 1) % references)),
                topic="약속",
                slice=slices[i % len(slices)],
            )
            for i in range(count)
        ]

    splits = {"dev": rows("dev", 12, 1), "test": rows("test", 10, 3, ("seen", "unseen"))}
    good = {name: {row.fname: row.summaries[0] for row in split} for name, split in splits.items()}
    poor = {name: {row.fname: text(6) for row in split} for name, split in splits.items()}
    poor["dev"]["dev_0"] = ""
    return splits, {"poor": poor, "good": good}


SPLITS, PREDICTIONS = corpus()
ENSEMBLES = {
    "half": {
        split: {
            row.fname: PREDICTIONS[("good", "poor")[index % 3 == 1]][split][row.fname] for index, row in enumerate(rows)
        }
        for split, rows in SPLITS.items()
    },
    "same": PREDICTIONS["good"],
}


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return evaluate_systems(SPLITS, PREDICTIONS, SCORING, seed=20, ensembles=ENSEMBLES)


def test_the_summary_has_every_system_part_granularity_protocol_and_metric_once(evaluation: Evaluation) -> None:
    summary = evaluation.summary
    assert summary.primary == PrimaryScore(granularity="syllable", multi_reference="mean", metric="combined")
    sizes = [(part.split, part.slice, part.n) for part in summary.parts]
    assert sizes == [("dev", "all", 12), ("test", "all", 10), ("test", "seen", 5), ("test", "unseen", 5)]
    models = {"poor": "member", "good": "member", "half": "ensemble", "same": "ensemble"}
    assert summary.systems == {**models, **dict.fromkeys(BASELINES, "baseline"), "oracle": "oracle"}
    scored = {(row.system, row.part, row.granularity, row.multi_reference, row.metric) for row in summary.scores}
    assert len(scored) == len(summary.scores) == 10 * 4 * 2 * 2 * 4
    assert all(0 <= row.interval.low <= row.interval.mean <= row.interval.high <= 1 for row in summary.scores)
    assert (summary.best_member, summary.best_ensemble) == ("good", "same")
    assert summary.best_baseline in BASELINES


@pytest.mark.parametrize("protocol", ["mean", "max"])
def test_scores_are_the_means_of_rouge(evaluation: Evaluation, protocol: Protocol) -> None:
    unseen = [row for row in SPLITS["test"] if row.slice == "unseen"]
    expected = rouge(
        [PREDICTIONS["poor"]["test"][row.fname] for row in unseen],
        [row.summaries for row in unseen],
        granularity="eojeol",
        multi_reference=protocol,
        weights=SCORING.weights,
    )
    intervals = {
        score.metric: score.interval
        for score in evaluation.summary.scores
        if (score.system, score.part, score.granularity, score.multi_reference)
        == ("poor", Part(split="test", slice="unseen", n=5), "eojeol", protocol)
    }
    assert list(intervals) == list(METRICS)
    for metric, interval in intervals.items():
        assert (interval.mean, interval.n) == (pytest.approx(expected[metric].mean(), abs=1e-6), 5)


def test_comparisons_pair_members_best_first_and_each_with_the_best_baseline(evaluation: Evaluation) -> None:
    summary = evaluation.summary
    rows = {(row.system, row.against, row.part, row.metric): row for row in summary.comparisons}
    assert len(rows) == len(summary.comparisons)
    for part in summary.parts:
        baselines = {
            score.system: score.interval.mean
            for score in summary.scores
            if score.system in BASELINES
            and (score.part, score.metric) == (part, "combined")
            and (score.granularity, score.multi_reference) == ("syllable", "mean")
        }
        best = max(baselines, key=lambda name: baselines[name])
        assert rows["good", "poor", part, "combined"].gain.n == part.n
        for member in ("good", "poor"):
            for against in {best, summary.best_baseline}:
                assert (member, against, part, "combined") in rows
        assert rows["half", "good", part, "combined"].gain.mean < 0
        assert rows["same", "good", part, "combined"].p_value == 1
    won = rows["good", "poor", summary.parts[0], "rouge1"]
    assert won.gain.low > 0
    assert won.p_value < 0.05
    lost = won.swapped()
    assert (lost.system, lost.against, lost.gain.high) == ("poor", "good", -won.gain.low)


def test_many_members_are_compared_with_the_best_one_only() -> None:
    poor = {split: dict.fromkeys(texts, "") for split, texts in PREDICTIONS["poor"].items()}
    many = {f"m{number}": poor for number in range(49)} | {"good": PREDICTIONS["good"]}
    summary = evaluate_systems(SPLITS, many, SCORING, seed=20, ensembles=ENSEMBLES).summary
    comparisons = [row for row in summary.comparisons if (row.part, row.metric) == (summary.parts[0], "combined")]
    assert sum(row.against in many for row in comparisons) == 49 + 2
    assert len(comparisons) <= 49 + 2 + 50 * 2
    assert all("good" in (row.system, row.against) for row in comparisons if row.against in many)


def test_without_ensembles_none_is_best() -> None:
    summary = evaluate_systems(SPLITS, PREDICTIONS, SCORING, seed=20).summary
    assert (summary.best_member, summary.best_ensemble) == ("good", None)


def test_the_oracle_is_above_every_baseline_on_every_dialogue(evaluation: Evaluation) -> None:
    combined = {(row.split, row.fname, row.system): row.combined for row in evaluation.dialogues}
    baselines = {key: value for key, value in combined.items() if key[2] in BASELINES}
    assert len(baselines) == len(BASELINES) * sum(map(len, SPLITS.values()))
    for (split, fname, _), value in baselines.items():
        assert combined[split, fname, "oracle"] >= value


def test_files_and_metrics_agree_with_the_summary(evaluation: Evaluation, tmp_path: Path) -> None:
    folder = tmp_path / "evaluation"
    write_evaluation(evaluation, folder)
    write_evaluation(evaluation, folder)
    assert read_evaluation(folder) == evaluation.summary
    with (folder / "dialogues.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    header = "split,fname,slice,topic,turns,dialogue_chars,system,rouge1,rouge2,rougeL,combined"
    assert ",".join(rows[0]) == header
    assert len(rows) == 22 * 10
    empty = next(row for row in rows if row["fname"] == "dev_0" and row["system"] == "poor")
    assert (empty["combined"], empty["turns"], empty["topic"]) == ("0.0", "4", "약속")
    assert int(empty["dialogue_chars"]) == len(SPLITS["dev"][0].dialogue)
    of_poor = [row["fname"] for row in rows if (row["split"], row["system"]) == ("dev", "poor")]
    assert of_poor == [row.fname for row in SPLITS["dev"]]
    numbers = headline_metrics(evaluation.summary)
    assert set(numbers) == {"poor", "good", "half", "same", "best_baseline"}
    assert list(numbers["good"]["test"]) == list(METRICS)
    of_good = [float(row["combined"]) for row in rows if row["split"] == "test" and row["system"] == "good"]
    assert numbers["good"]["test"]["combined"] == pytest.approx(np.mean(of_good), abs=1e-5)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "missing"),
        ("{", "not valid JSON"),
        ("[]", "not what"),
        ("{}", "splits"),
    ],
)
def test_a_missing_or_damaged_summary_is_an_error(tmp_path: Path, content: str | None, words: str) -> None:
    if content is not None:
        (tmp_path / "summary.json").write_text(content)
    with pytest.raises(UserError, match=rf"summary\.json.*({words})"):
        read_evaluation(tmp_path)


def test_the_result_depends_on_the_seed_alone(evaluation: Evaluation) -> None:
    assert evaluate_systems(SPLITS, PREDICTIONS, SCORING, 20, ENSEMBLES) == evaluation
    assert evaluate_systems(SPLITS, PREDICTIONS, SCORING, 21, ENSEMBLES).summary != evaluation.summary


def without(predictions: dict, member: str, split: str, fname: str | None = None) -> dict:
    copy = {name: {part: dict(texts) for part, texts in parts.items()} for name, parts in predictions.items()}
    del (copy[member][split] if fname else copy[member])[fname or split]
    return copy


@pytest.mark.parametrize(
    ("splits", "predictions", "message"),
    [
        (SPLITS, without(PREDICTIONS, "good", "test", "test_3"), "'good' .*'test_3' of split 'test'"),
        (SPLITS, without(PREDICTIONS, "good", "dev"), "'good' .*split 'dev'"),
        ({"test": SPLITS["test"]}, PREDICTIONS, "split named 'dev'"),
        ({**SPLITS, "extra": []}, PREDICTIONS, "'extra' has no dialogues"),
        ({"dev": [Dialogue(fname="a", dialogue="가")]}, {"m": {"dev": {"a": ""}}}, "'a' of split 'dev'"),
        (SPLITS, {"oracle": PREDICTIONS["good"]}, "Member 'oracle'"),
        (SPLITS, {}, "no member"),
    ],
)
def test_what_is_missing_is_named(splits: dict, predictions: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        evaluate_systems(splits, predictions, SCORING, seed=20)


@pytest.mark.parametrize(
    ("ensembles", "message"),
    [
        ({"good": PREDICTIONS["poor"]}, "Ensemble 'good'"),
        ({"mbr": {"dev": PREDICTIONS["good"]["dev"]}}, "Ensemble 'mbr' .*split 'test'"),
    ],
)
def test_ensembles_are_checked_as_members_are(ensembles: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        evaluate_systems(SPLITS, PREDICTIONS, SCORING, 20, ensembles)


def test_evaluation_imports_no_framework() -> None:
    code = (
        "import sys, yoyak.scoring.evaluation; "
        "print([m for m in ('torch', 'transformers', 'evaluate', 'mlflow', 'kiwipiepy') if m in sys.modules])"
    )
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert completed.stdout.strip() == "[]"
