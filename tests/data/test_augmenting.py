"""Views of a dialogue: what they never change, that they differ, and that they depend on the seed alone."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoyak.data.augmenting.views import augment, make_views
from yoyak.data.records import Dialogue
from yoyak.korean.masks import find_masks

CHAT = """#Person1#: 안녕하세요.
#Person2#: 네, 안녕하세요!!
#Person1#: 지훈 씨, 3시 30분에 #PhoneNumber#로 전화했는데... 못 받으셨어요??
#Person2#: 아, 회의 중이었어요ㅎㅎ 4.5만 원은 보냈습니다.
#Person1#: 그렇군요. 감사합니다.
#Person2#: 네, 감사합니다. 수고하세요."""
ENGLISH = """#Person1#: Good morning.
#Person2#: Hello, I need 2 tickets to Boston...
#Person1#: They are $3.50 each!!
#Person2#: Okay, thanks.
#Person1#: Uh-huh."""
PIECES = (
    *("네", "음", "그렇군요", "안녕하세요", "thanks", "okay, ", "uh-huh", "지훈", "Anna", "회의", "ㅋㅋ", "ㅎㅎㅎ"),
    *("#Person1#", "#Person2#", "#A", "#", "ㅋ", "3", "3.5", "1,000", "10:30"),
    *("~", "!!", "??", "…", "...", ".", ",", " ", "  "),
)
turns = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
dialogues = st.lists(
    st.tuples(st.sampled_from(["#Person1#: ", "#Person2#: ", "의사: ", ""]), turns).map("".join), max_size=6
).map("\n".join)


def label(turn: str) -> str:
    match = re.match(r"#Person\d#: |의사: ", turn)
    return match.group() if match else ""


def content(turn: str) -> str:
    """What of a turn must stay: all but marks, spaces and laughter."""
    return re.sub(r"[\s.,!?~…ㅋㅎ]", "", turn)


@given(dialogues, st.integers(0, 3))
def test_content_and_speakers_stay(dialogue: str, seed: int) -> None:
    lines = dialogue.split("\n")
    for view in make_views(dialogue, 3, seed):
        remaining = iter(lines)
        for turn in view.split("\n"):
            # Turns keep their order: each one comes after the one before it.
            assert any(label(turn) == label(line) and content(turn) == content(line) for line in remaining), view
        assert {label(turn) for turn in view.split("\n")} == {label(line) for line in lines}
        assert view.strip() != "" or dialogue.strip() == ""


def facts(dialogue: str) -> list[list[str]]:
    """Masks and numbers of each turn that has some."""
    turns = [turn.removeprefix(label(turn)) for turn in dialogue.split("\n")]
    by_turn = [[*find_masks(turn), *re.findall(r"\d+(?:[.,:]\d+)*", turn)] for turn in turns]
    return [found_in_turn for found_in_turn in by_turn if found_in_turn]


@given(dialogues)
def test_no_number_and_no_mask_is_changed_lost_or_made_up(dialogue: str) -> None:
    for view in make_views(dialogue, 3, 20):
        assert facts(view) == facts(dialogue)


@given(dialogues, st.integers(0, 5), st.integers(0, 2**32 - 1))
def test_views_differ_and_a_smaller_number_is_a_prefix(dialogue: str, count: int, seed: int) -> None:
    views = make_views(dialogue, count, seed)
    assert len(views) <= count
    assert len({dialogue, *views}) == len(views) + 1
    assert make_views(dialogue, count + 2, seed)[:count] == views


@pytest.mark.parametrize("dialogue", [CHAT, ENGLISH])
def test_an_ordinary_dialogue_has_the_requested_number_of_views(dialogue: str) -> None:
    assert len(make_views(dialogue, 8, 20)) == 8


def test_what_changes() -> None:
    views = "\n".join(make_views(CHAT, 40, 20))
    assert "회의 중이었어요 4.5만 원" in views
    assert "회의 중이었어요ㅎㅎ" in views
    for spelling in (
        "전화했는데 못",
        "전화했는데… 못",
        "받으셨어요?\n",
        "받으셨어요??\n",
        "보냈습니다\n",
        "보냈습니다.\n",
    ):
        assert spelling in views, spelling
    counts = {view.count("\n") + 1 for view in make_views(CHAT, 40, 20)}
    assert min(counts) < 5
    assert all("지훈 씨, 3시 30분에 #PhoneNumber#로" in view for view in make_views(CHAT, 40, 20))


@pytest.mark.parametrize(
    "words", ["1ㅋㅋ2 갑니다", "3ㅋㅋ.3 갑니다", "#Aㅋㅋ# 갑니다", "#Person1#ㅋㅋ", "회의는 1...3 층에서 합니다"]
)
def test_laughter_and_dots_that_keep_a_number_or_a_mask_apart_stay(words: str) -> None:
    views = make_views(f"#Person1#: {words}.\n#Person2#: 좋아요ㅋㅋ!!", 12, 1)
    assert views
    for view in views:
        assert facts(view) == facts(f"#Person1#: {words}.")


def test_a_yes_to_a_question_stays_and_one_to_nothing_may_go() -> None:
    answer = "#Person1#: 내일 가실래요?\n#Person2#: 네.\n#Person1#: 그럼 표를 살게요.\n#Person2#: 저도 갈게요."
    backchannel = answer.replace("가실래요?", "갑시다.")
    views = make_views(answer, 20, 1)
    assert views
    assert all("#Person2#: 네" in view for view in views)
    assert any("#Person2#: 네" not in view for view in make_views(backchannel, 20, 1))


def test_a_speaker_with_only_fillers_keeps_a_turn() -> None:
    dialogue = "#Person1#: 회의는 세 시입니다.\n#Person2#: 네.\n#Person1#: 자료도 가져오세요.\n#Person2#: 음."
    views = make_views(dialogue, 20, 1)
    assert views
    for view in views:
        assert view.count("#Person2#: ") == 2


def test_no_turn_is_left_empty() -> None:
    dialogue = "#Person1#: ㅋㅋㅋ\n#Person2#: 네, 갈게요!! 지금요.\n#Person1#: ..."
    views = make_views(dialogue, 20, 1)
    assert views
    for view in views:
        assert [turn for turn in view.split("\n") if turn.strip() in ("#Person1#:", "#Person2#:")] == []
        assert view.count("#Person1#: ") == 2


def test_dialogues_with_little_to_change_have_few_views() -> None:
    assert make_views("", 3, 1) == []
    assert make_views("#Person1#: 3", 3, 1) == []
    assert make_views("#Person1#: 갈게요.", 3, 1) == ["#Person1#: 갈게요"]
    assert make_views(CHAT, 0, 1) == []


def test_augmented_rows_have_the_summary_of_their_dialogue() -> None:
    rows = [Dialogue(fname=name, dialogue=text, summaries=(name,)) for name, text in (("a", CHAT), ("b", ENGLISH))]
    augmented = augment(rows, 2, 1)
    assert [row.fname for row in augmented] == ["a", "a~1", "a~2", "b", "b~1", "b~2"]
    assert [row.dialogue for row in augmented] == [CHAT, *make_views(CHAT, 2, 1), ENGLISH, *make_views(ENGLISH, 2, 1)]
    assert [row.summaries for row in augmented] == [("a",)] * 3 + [("b",)] * 3
    assert augment(rows, 0, 1) == rows


def test_the_seed_and_the_dialogue_alone_decide() -> None:
    code = (
        "import json, sys; from yoyak.data.augmenting.views import make_views; "
        "print(json.dumps(make_views(sys.argv[1], 4, 20)))"
    )
    command = [sys.executable, "-c", code, CHAT]
    once, again = (
        subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": hash_seed}, check=True, capture_output=True, text=True
        ).stdout
        for hash_seed in ("1", "2")
    )
    make_views(ENGLISH, 3, 20)
    assert json.loads(once) == json.loads(again) == make_views(CHAT, 4, 20)
    assert make_views(CHAT, 4, 21) != make_views(CHAT, 4, 20)
