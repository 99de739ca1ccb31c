"""The checks, on summarizers that fail in one known way each."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from yoyak.behaviour.cases import CaseFile
from yoyak.behaviour.changes import texts_of
from yoyak.behaviour.results import Behaviour, make_rate, read_behaviour, write_behaviour
from yoyak.behaviour.run import run_behaviour
from yoyak.data.records import Dialogue
from yoyak.errors import UserError

FILE = CaseFile.model_validate({
    "language": "ko",
    "empty": ["", "#Person1#:"],
    "fillers": ["음, 그렇군요."],
    "dialogues": [
        {"name": "one", "dialogue": "#Person1#: 3시에 갈게."},
        {
            "name": "two",
            "dialogue": (
                "#Person1#: 3시에 갈게.\n#Person1#: 우유는 민수가 산대.\n#Person2#: 응, 전화는 #PhoneNumber#로 해."
            ),
            "reorder": [1, 2],
            "mentions": ["#PhoneNumber#"],
            "never": ["4시"],
        },
    ],
})  # fmt: skip
TEST = [
    Dialogue(fname="a", dialogue="#Person1#: 5만 원이야.", summaries=("#Person1#은 5만 원을 말한다.",)),
    Dialogue(fname="b", dialogue="#Person1#: 가자.", summaries=("#Person1#은 9시에 가자고 한다.",)),
]


def good(dialogue: str) -> str:
    """Summarize as one should: the facts, sorted, and the speaker of the time."""
    speaker = "#Person1#은" if "#Person1#: 3시" in dialogue else "#Person2#는"
    return f"{speaker} 3시에 온다." + (" 민수는 #PhoneNumber#로 연락한다." if "민수" in dialogue else "")


def run(write: Callable[[str], str], predictions: dict[str, str] | None = None, examples: int = 5) -> Behaviour:
    return run_behaviour(
        "m",
        {"mine": FILE},
        {text: write(text) for text in texts_of([FILE])},
        TEST,
        predictions or {"a": "5만 원이다.", "b": "가기로 한다."},
        refuses=lambda dialogue: not dialogue,
        confidence=0.95,
        examples=examples,
    )


def failed(behaviour: Behaviour) -> dict[str, tuple[int, int]]:
    return {name: (rate.failures, rate.n) for name, rate in behaviour.rates.items() if rate.failures}


def test_a_good_summarizer_fails_nothing_but_what_the_server_does() -> None:
    behaviour = run(good)
    assert failed(behaviour) == {"empty_accepted": (1, 2)}
    assert {name: rate.n for name, rate in behaviour.rates.items()} == {
        "empty_accepted": 2,
        "one_turn_empty": 1,
        "mentions_missing": 1,
        "never_mentioned": 1,
        "masks_made_up": 2,
        "numbers_made_up": 2,
        "names_made_up": 2,
        "filler_changed": 1,
        "order_changed": 1,
        "swap_changed": 1,
        "test_masks_made_up": 2,
        "test_numbers_made_up": 2,
        "test_names_made_up": 2,
    }
    assert behaviour.passed == {"mine": 1.0}
    assert behaviour.rates["filler_changed"].similarity == 1
    assert behaviour.references["test_numbers_made_up"].failures == 1


@pytest.mark.parametrize(
    ("write", "check"),
    [
        (lambda dialogue: good(dialogue) if "민수" in dialogue else " ", "one_turn_empty"),
        (lambda dialogue: good(dialogue).replace(" 민수는 #PhoneNumber#로 연락한다.", ""), "mentions_missing"),
        (lambda dialogue: good(dialogue) + " 4시가 아니다.", "never_mentioned"),
        (lambda dialogue: good(dialogue) + " #Email#", "masks_made_up"),
        (lambda dialogue: good(dialogue) + " 값은 2만 원이다.", "numbers_made_up"),
        (lambda dialogue: good(dialogue) + " 지영과 함께 간다.", "names_made_up"),
        (
            lambda dialogue: good(dialogue).replace("3시", "4시") if "음" in dialogue else good(dialogue),
            "filler_changed",
        ),
        (
            lambda dialogue: (
                good(dialogue).replace(" 민수는", "") if ".\n#Person1#: 3시" in dialogue else good(dialogue)
            ),
            "order_changed",
        ),
        (lambda dialogue: good(dialogue).replace("#Person2#는", "#Person1#은"), "swap_changed"),
    ],
)
def test_each_check_finds_its_failure(write: Callable[[str], str], check: str) -> None:
    behaviour = run(write)
    assert check in failed(behaviour)
    assert (behaviour.passed["mine"] < 1) is not check.endswith("_changed")
    example = next(failure for failure in behaviour.failures if failure.check == check)
    assert example.detail
    assert example.dialogue
    assert bool(example.changed_dialogue) is check.endswith("_changed")


def test_other_words_for_the_same_content_are_no_failure_of_filler_but_of_swapped_speakers() -> None:
    def write(dialogue: str) -> str:
        longer = "음" in dialogue or dialogue.startswith("#Person2#")
        return good(dialogue).replace("온다", "도착할 것이다") if longer else good(dialogue)

    behaviour = run(write)
    assert "filler_changed" not in failed(behaviour)
    assert "swap_changed" in failed(behaviour)
    similarity = behaviour.rates["filler_changed"].similarity
    assert similarity is not None
    assert 0 < similarity < 1


def test_predictions_of_the_test_split_are_checked_without_decoding() -> None:
    behaviour = run(good, {"a": "6만 원이다.", "b": "#Person4#가 간다."})
    assert failed(behaviour) == {
        "empty_accepted": (1, 2),
        "test_numbers_made_up": (1, 2),
        "test_masks_made_up": (1, 2),
    }


def test_examples_are_limited_and_rates_are_not() -> None:
    behaviour = run(lambda dialogue: "9시에 #Email#로", examples=1)
    assert behaviour.rates["numbers_made_up"].failures == 2
    assert sum(failure.check == "numbers_made_up" for failure in behaviour.failures) == 1


def test_the_interval_is_wilsons() -> None:
    # Wilson (1927) as statsmodels' proportion_confint(method="wilson") computes it.
    rate = make_rate("order_changed", 3, 20, 0.95)
    assert (rate.rate, rate.low, rate.high) == pytest.approx((0.15, 0.052369, 0.360419), abs=1e-6)
    none, every = make_rate("order_changed", 0, 20, 0.95), make_rate("order_changed", 20, 20, 0.95)
    assert (none.low, none.high) == pytest.approx((0, 0.161125), abs=1e-6)
    assert (every.low, every.high) == pytest.approx((1 - 0.161125, 1), abs=1e-6)


def test_results_are_read_as_they_were_written(tmp_path) -> None:
    behaviour = run(good)
    write_behaviour(tmp_path / "m.json", behaviour)
    assert read_behaviour(tmp_path / "m.json") == behaviour
    with pytest.raises(UserError, match=r"x\.json is missing"):
        read_behaviour(tmp_path / "x.json")
    (tmp_path / "m.json").write_text('{"version": 2}')
    with pytest.raises(UserError, match="is damaged"):
        read_behaviour(tmp_path / "m.json")
