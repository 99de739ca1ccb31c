"""Extractive baselines and their ceiling."""

import itertools
from typing import Any

import numpy as np
import pytest

from yoyak.scoring.baselines import BASELINES, extract_baseline, extract_oracle, split_turns
from yoyak.scoring.rouge import rouge

DIALOGUE = (
    "#Person1#: 안녕.\n#Person2#: 오늘 저녁에 영화 볼래?\n#Person1#: 좋아, 일곱 시에 극장 앞에서 만나자.\n"
    "#Person2#: 표는 내가 예매할게.\n#Person1#: 고마워!"
)
LINES = DIALOGUE.split("\n")
OPTIONS: dict[str, Any] = {"granularity": "morpheme", "multi_reference": "mean", "weights": (0.33, 0.33, 0.34)}


def combined(texts: list[str], references: list[tuple[str, ...]]) -> np.ndarray:
    return rouge(texts, references, **OPTIONS)["combined"]


@pytest.mark.parametrize(
    ("name", "indices"),
    [("first", [0]), ("last", [4]), ("longest", [2]), ("longest3", [1, 2, 3]), ("lead3", [0, 1, 2])],
)
def test_baselines_take_their_turns_in_order(name: str, indices: list[int]) -> None:
    assert extract_baseline(name, DIALOGUE) == "\n".join(LINES[index] for index in indices)


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("dialogue", ["", "\n \n", "#Person1#: 네."])
def test_short_dialogues_give_what_there_is(name: str, dialogue: str) -> None:
    assert extract_baseline(name, dialogue) == dialogue.strip()


def test_empty_lines_are_not_turns() -> None:
    assert split_turns("\n#Person1#: 네.\n\n #Person2#: 응.\n") == ["#Person1#: 네.", "#Person2#: 응."]


def test_the_oracle_finds_the_turns_that_the_reference_is_made_of() -> None:
    reference = f"{LINES[1]} {LINES[3]}"
    assert extract_oracle([DIALOGUE], [(reference,)], **OPTIONS) == [f"{LINES[1]}\n{LINES[3]}"]


def test_the_oracle_is_never_under_a_baseline_and_near_the_best_choice() -> None:
    generator = np.random.default_rng(3)
    words = "저녁 영화 극장 표 예매 만나 일곱 시 약속 시간 친구 커피 점심 내일 회의"
    rows = [
        [
            f"#Person{i % 2 + 1}#: {' '.join(generator.choice(words.split(), generator.integers(1, 7)))}"
            for i in range(6)
        ]
        for _ in range(30)
    ]
    dialogues = ["\n".join(lines) for lines in rows]
    references = [
        tuple(f"#Person1#은 {' '.join(generator.choice(words.split(), 7))}" for _ in range(1 + i % 3))
        for i in range(30)
    ]
    ceiling = combined(extract_oracle(dialogues, references, **OPTIONS), references)
    for name in BASELINES:
        assert (ceiling >= combined([extract_baseline(name, text) for text in dialogues], references) - 1e-12).all()
    exact = np.max(
        [
            combined(["\n".join(lines[index] for index in indices) for lines in rows], references)
            for size in (1, 2, 3)
            for indices in itertools.combinations(range(6), size)
        ],
        axis=0,
    )
    assert (ceiling <= exact + 1e-12).all()
    assert ceiling.mean() > 0.95 * exact.mean()


def test_an_oracle_without_turns_is_empty() -> None:
    assert extract_oracle([""], [("요약",)], **OPTIONS) == [""]
