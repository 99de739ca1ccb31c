"""The gate: each of its conditions, and the sentence that says so."""

from __future__ import annotations

from typing import Any

import pytest

from yoyak.bench.gate import as_good, decide, faster, rounds_needed
from yoyak.params.deploy import Gate

EIGHT = [10.0] * 8


def quality(low: float, difference: float = 0.0) -> dict[str, Any]:
    found = {"exported": 0.5 + difference, "fp32": 0.5, "difference": difference, "low": low, "high": 0.02, "n": 200}
    return {"n": 200, "metrics": {"combined": found}}


def speed(own: list[float], **others: list[float]) -> Any:
    return faster({"exported": own, **others}, 0.95, 8, 4)


def test_both_conditions_are_needed() -> None:
    fast = {"exported": [20.0] * 8, "torch_fp32": EIGHT}
    slow = {"exported": [9.0] * 8, "torch_fp32": EIGHT}
    for rounds, low, passed in ((fast, -0.005, True), (fast, -0.02, False), (slow, -0.005, False)):
        decision = decide(rounds, quality(low), Gate(), batch_size=8, beams=4)
        assert decision.passed is passed
        assert decision.figures()["passed"] is passed
        assert [one.name for one in decision.conditions] == ["speed", "rouge"]
    assert decision.figures()["speed.ratio"] == pytest.approx(0.9)
    assert decision.figures()["rouge.low"] == -0.005


def test_it_has_to_beat_the_better_of_the_two() -> None:
    found = speed([15.0] * 8, torch_fp32=EIGHT, onnx_fp32=[20.0] * 8)
    assert not found.passed
    assert found.figures["against"] == "onnx_fp32"
    assert found.sentence == (
        "At batch 8 with 4 beams it is 0.75 times as fast as ONNX fp32, the faster of the two in fp32: from 0.75 to "
        "0.75 times, and faster in 0 of 8 rounds; more than 1 is asked for."
    )
    assert speed([25.0] * 8, torch_fp32=EIGHT, onnx_fp32=[20.0] * 8).passed


def test_one_disturbed_round_does_not_decide_and_two_do() -> None:
    assert speed([12.0] * 7 + [1.0], torch_fp32=EIGHT).passed
    found = speed([12.0] * 6 + [1.0, 1.0], torch_fp32=EIGHT)
    assert not found.passed
    assert "faster in 6 of 8 rounds, which chance alone does with p = 0.14; 0.05 is asked for" in found.sentence


def test_rounds_are_compared_in_pairs() -> None:
    # The machine is half as fast in the second half; the exported model is faster at any time.
    assert speed([12.0] * 4 + [6.0] * 4, torch_fp32=[10.0] * 4 + [5.0] * 4).passed


def test_without_fp32_nothing_is_faster() -> None:
    found = speed([12.0] * 8)
    assert not found.passed
    assert "bench.variants names no fp32 model" in found.sentence


@pytest.mark.parametrize(("confidence", "rounds"), [(0.95, 8), (0.99, 11), (0.75, 5)])
def test_as_many_rounds_as_one_lost_takes(confidence: float, rounds: int) -> None:
    assert rounds_needed(confidence) == rounds
    won = {"exported": [12.0] * (rounds - 1) + [1.0], "torch_fp32": [10.0] * rounds}
    assert faster(won, confidence, 1, 1).passed
    short = {"exported": won["exported"][1:], "torch_fp32": won["torch_fp32"][1:]}
    assert not faster(short, confidence, 1, 1).passed


def test_the_far_end_of_the_interval_decides() -> None:
    bound = Gate(max_rouge_drop=0.01)
    assert as_good(quality(-0.01), bound).passed
    found = as_good(quality(-0.0101, difference=-0.002), bound)
    assert not found.passed
    assert found.sentence == (
        "Its combined ROUGE on 200 dev dialogues is 0.4980, fp32's 0.5000: the difference is −0.0020 "
        "[−0.0101, +0.0200] at 95\u00a0%, and its far end is past −0.0100."
    )
