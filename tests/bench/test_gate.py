"""The gate: each of its checks, and what decides it."""

from __future__ import annotations

import pytest

from yoyak.bench.gate import check_rouge, check_speed, decide, rounds_needed
from yoyak.bench.results import Quality, RougeComparison, SpeedCheck
from yoyak.params.deploy import Gate

EIGHT = [10.0] * 8


def quality(low: float, difference: float = 0.0, n: int = 200) -> Quality:
    combined = RougeComparison(
        exported=0.5 + difference, fp32=0.5, difference=difference, low=low, high=0.02, p_value=0.5, n=n
    )
    return Quality(
        fp32_source="written by the bench",
        granularity="syllable",
        n=n,
        confidence=0.95,
        different_texts=9,
        metrics={"combined": combined},
    )


def speed(exported: list[float], **others: list[float]) -> SpeedCheck:
    return check_speed({"exported": exported, **others}, 0.95, batch_size=8, beams=4)


@pytest.mark.parametrize(
    ("speed_of_export", "low", "passed"), [(20.0, -0.005, True), (20.0, -0.02, False), (9.0, -0.005, False)]
)
def test_both_checks_are_needed(speed_of_export: float, low: float, passed: bool) -> None:
    rounds = {"exported": [speed_of_export] * 8, "torch_fp32": EIGHT}
    decision = decide(rounds, quality(low), Gate(), batch_size=8, beams=4)
    assert decision.passed is passed
    tags = decision.tags()
    assert tags["passed"] is passed
    assert tags["speed"]["ratio"] == pytest.approx(speed_of_export / 10)
    assert tags["rouge"]["low"] == low


def test_the_export_has_to_beat_the_faster_fp32_model() -> None:
    check = speed([15.0] * 8, torch_fp32=EIGHT, onnx_fp32=[20.0] * 8)
    assert not check.passed
    assert check.comparison
    assert (check.comparison.against, check.comparison.ratio, check.comparison.won) == ("onnx_fp32", 0.75, 0)
    for part in ("0.75 times", "ONNX fp32", "batch 8", "4 beams", "0 of 8 rounds"):
        assert part in check.sentence
    assert speed([25.0] * 8, torch_fp32=EIGHT, onnx_fp32=[20.0] * 8).passed


def test_one_slow_round_does_not_decide_but_two_do() -> None:
    assert speed([12.0] * 7 + [1.0], torch_fp32=EIGHT).passed
    check = speed([12.0] * 6 + [1.0, 1.0], torch_fp32=EIGHT)
    assert not check.passed
    assert "6 of 8 rounds" in check.sentence
    assert "p = 0.14" in check.sentence


def test_rounds_are_compared_in_pairs() -> None:
    # The machine is half as fast in the second half; the exported model is faster at any time.
    assert speed([12.0] * 4 + [6.0] * 4, torch_fp32=[10.0] * 4 + [5.0] * 4).passed


def test_without_an_fp32_model_to_compare_with_it_fails() -> None:
    check = speed([12.0] * 8)
    assert not check.passed
    assert check.comparison is None
    assert "bench.variants" in check.sentence


@pytest.mark.parametrize(("confidence", "rounds"), [(0.95, 8), (0.99, 11), (0.75, 5)])
def test_there_are_enough_rounds_to_lose_one(confidence: float, rounds: int) -> None:
    assert rounds_needed(confidence) == rounds
    won = {"exported": [12.0] * (rounds - 1) + [1.0], "torch_fp32": [10.0] * rounds}
    assert check_speed(won, confidence, batch_size=1, beams=1).passed
    short = {"exported": won["exported"][1:], "torch_fp32": won["torch_fp32"][1:]}
    assert not check_speed(short, confidence, batch_size=1, beams=1).passed


def test_the_lower_end_of_the_interval_decides() -> None:
    bound = Gate(max_rouge_drop=0.01)
    assert check_rouge(quality(-0.01), bound).passed
    check = check_rouge(quality(-0.0101, difference=-0.002), bound)
    assert not check.passed
    for part in ("0.4980", "0.5000", "−0.0020 [−0.0101, +0.0200]", "−0.0100"):
        assert part in check.sentence


def test_few_dialogues_decide_nothing() -> None:
    assert not check_rouge(quality(0.01, n=49), Gate()).passed
    assert check_rouge(quality(0.01, n=50), Gate()).passed
    assert check_rouge(quality(0.01, n=3), Gate(min_dialogues=3)).passed
