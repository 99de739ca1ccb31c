"""What each method of augmentation changes, and what it must not: masks, numbers, names, and anything but train."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yoyak.data.augmenting.edits import Source
from yoyak.data.augmenting.noise import mistype_syllable
from yoyak.data.augmenting.renaming import collect_names
from yoyak.data.augmenting.run import EDITS, augment_train, loses_facts
from yoyak.data.augmenting.turns import split_turns, split_words
from yoyak.data.folding import hold_out
from yoyak.data.records import Dialogue, read_jsonl, write_jsonl
from yoyak.data.samples import generate
from yoyak.korean.facts import find_made_up
from yoyak.korean.josa import particle
from yoyak.korean.masks import find_masks
from yoyak.params.augmentation import Augmentation

METHODS = (*EDITS, "renaming")
CHAT = Dialogue(
    fname="chat",
    dialogue="""#Person1#: 지훈아, 내일 오후 세 시 반에 #PhoneNumber#로 전화해 줄래?
#Person2#: 응, 그럴게요. 회의 자료를 준비했습니다.
#Person1#: 날씨가 정말 좋았어요.
#Person2#: 저도 산책을 했어요. 괜찮았습니다.
#Person1#: 그럼 3만 5천 원은 제가 보낼게요.""",
    summaries=("#Person2#는 지훈에게 내일 오후 3시 30분에 전화하고 #Person1#은 3만 5천 원을 보낸다.",),
)
ENGLISH = Dialogue(
    fname="english",
    dialogue="""#Person1#: Good morning, could Anna call me about 2 tickets to Boston?
#Person2#: certainly, people usually arrive before seven.
#Person1#: lovely weather today, wonderful really.
#Person2#: Okay, that makes $35.""",
    summaries=("#Person1# asks for 2 tickets to Boston for $35, and Anna will call.",),
)


def all_on(share: float = 1.0, **more: object) -> Augmentation:
    return Augmentation.model_validate({**{name: {"share": share} for name in METHODS}, **more})


def augment(rows: list[Dialogue], settings: Augmentation, **others: list[Dialogue]) -> list[Dialogue]:
    return augment_train({"train": rows, **others}, settings)[0]


@pytest.fixture(scope="module")
def sample_rows() -> list[Dialogue]:
    return list(generate(12, 3, split="train"))


def made_up(row: Dialogue) -> list[set[str]]:
    found = find_made_up(row.summaries, [row.dialogue] * len(row.summaries))
    return [{fact for facts in each.values() for fact in facts} for each in found]


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([CHAT, ENGLISH]), st.integers(0, 999), st.sampled_from(sorted(EDITS)), st.floats(0.05, 1))
def test_facts_of_the_summary_masks_and_labels_survive(row: Dialogue, seed: int, name: str, rate: float) -> None:
    changed = EDITS[name](Source(row), rate, random.Random(seed))
    if isinstance(changed, str):
        return
    assert changed.dialogue != row.dialogue
    assert changed.summaries == row.summaries
    assert made_up(changed) == made_up(row)
    if name == "turn_drop":
        assert set(changed.dialogue.split("\n")) < set(row.dialogue.split("\n"))
        return
    assert find_masks(changed.dialogue) == find_masks(row.dialogue)
    assert [label for label, _ in split_turns(changed.dialogue)] == [label for label, _ in split_turns(row.dialogue)]
    digits = re.compile(r"\d")
    assert digits.findall(changed.dialogue) == digits.findall(row.dialogue)


def test_every_method_changes_the_generated_rows_and_keeps_their_facts(sample_rows: list[Dialogue]) -> None:
    by_name = {row.fname: row for row in sample_rows}
    added = augment(sample_rows, all_on())
    assert {row.method for row in added} == set(METHODS)
    for row in added:
        source = by_name[row.source]
        assert row.fname == f"{row.source}~{row.method}"
        assert [len(facts) for facts in made_up(row)] == [len(facts) for facts in made_up(source)]
        assert (row.topic, row.slice, row.group) == (source.topic, source.slice, source.group)
        assert (row.summaries == source.summaries) or row.method == "renaming"


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 999))
def test_renaming_is_the_same_in_dialogue_and_summary_and_keeps_particles_right(seed: int) -> None:
    pool = [CHAT, Dialogue(fname="third", dialogue="#Person3#: 저는 못 가요.", summaries=("#Person3#은 못 간다.",))]
    added = augment_train({"train": pool}, Augmentation.model_validate({"seed": seed, "renaming": {"share": 1}}))[0]
    row = next(row for row in added if row.source == "chat")
    speakers = [label.rstrip(": ") for label, _ in split_turns(row.dialogue)[:2]]
    first, second = speakers
    assert first != second
    assert (first, second) != ("#Person1#", "#Person2#")
    summary = f"{second}{particle(second, '은')} 지훈에게 내일 오후 3시 30분에 전화하고 "
    assert row.summaries == (f"{summary}{first}{particle(first, '은')} 3만 5천 원을 보낸다.",)
    new_names = {"#Person1#": first, "#Person2#": second}
    assert row.dialogue == re.sub("#Person[12]#", lambda mask: new_names[mask.group()], CHAT.dialogue)


def test_speakers_with_names_get_names_and_roles_stay() -> None:
    def row(one: str, other: str) -> Dialogue:
        words = f"{one}: 배가 고파요.\n{other}: 같이 먹어요."
        return Dialogue(fname=one, dialogue=words, summaries=(f"{one}{particle(one, '은')} 배가 고프다.",))

    rows = [row("민수", "의사"), row("영희", "의사"), row("지훈", "의사")]
    assert collect_names(rows).speakers == sorted(["민수", "영희", "지훈"])
    for added in augment(rows, Augmentation.model_validate({"renaming": {"share": 1}})):
        name = added.dialogue.partition(":")[0]
        assert name != added.source
        assert added.dialogue.split("\n")[1] == "의사: 같이 먹어요."
        assert added.summaries == (f"{name}{particle(name, '은')} 배가 고프다.",)


@pytest.mark.parametrize(
    ("label", "called", "is_renamed"),
    [
        ("김지훈", "지훈아", False),
        ("지훈", "김지훈 씨", False),
        ("김지훈", "김지훈 씨", True),
        ("지훈", "지훈아", True),
    ],
)
def test_a_speaker_who_is_called_by_two_forms_of_a_name_is_not_renamed(
    label: str, called: str, is_renamed: bool
) -> None:
    dialogue = f"{label}: 배가 고파요.\n#Person1#: {called}, 같이 먹어요."
    rows = [Dialogue(fname=label, dialogue=dialogue, summaries=(f"{label}은 배가 고프다.",))]
    others = [Dialogue(fname=name, dialogue=f"{name}: 네.", summaries=("네.",)) for name in ("박서연", "민수")]
    added = augment([*rows, *others], Augmentation.model_validate({"renaming": {"share": 1}}))
    copies = [row for row in added if row.source == label]
    assert bool(copies) == is_renamed
    assert not any("지훈" in text for row in copies for text in (row.dialogue, *row.summaries))


@pytest.mark.parametrize("name", ["aeda", "spacing", "typos", "fillers"])
def test_labels_of_two_words_times_and_addresses_stay(name: str) -> None:
    talk = (
        "김 대리: 내일 회의 어디서 하나요",
        "오후3:30에 만나요 거기서",
        "https://a.b/c 여기서 봐요",
        "Dr. Kim: nothing matters",
    )
    dialogue = "\n".join(talk)
    row = Dialogue(fname="labels", dialogue=dialogue, summaries=("요약",))
    [added] = augment([row], Augmentation.model_validate({name: {"share": 1, "rate": 1}}))
    lines = added.dialogue.split("\n")
    assert lines[0].startswith("김 대리: ")
    assert "오후3:30에" in lines[1]
    assert "https://a.b/c" in lines[2]
    assert lines[3].startswith("Dr. Kim: ")


def test_a_long_word_takes_no_time() -> None:
    began = time.perf_counter()
    assert len(split_words("가" * 20_000, ())) == 1
    assert time.perf_counter() - began < 1


@given(st.integers(0xAC00, 0xD7A3).map(chr), st.integers(0, 99))
def test_a_mistyped_syllable_is_one_syllable(syllable: str, seed: int) -> None:
    typed = mistype_syllable(syllable, random.Random(seed))
    assert len(typed) == 1
    assert "가" <= typed <= "힣"


def test_turns_that_the_summary_has_something_of_stay() -> None:
    settings = Augmentation.model_validate({"turn_drop": {"share": 1, "rate": 1}})
    (row,) = augment([CHAT], settings)
    kept = row.dialogue.split("\n")
    assert kept[0] == CHAT.dialogue.split("\n")[0]
    assert kept[-1] == CHAT.dialogue.split("\n")[-1]
    assert "#Person1#: 날씨가 정말 좋았어요." not in kept
    clock = replace(CHAT, dialogue=CHAT.dialogue.replace("날씨가 정말 좋았어요", "15:30이 좋았어요"))
    (row,) = augment([clock], settings)
    assert "#Person1#: 15:30이 좋았어요." in row.dialogue.split("\n")


@pytest.mark.parametrize(
    ("method", "words", "expected"),
    [
        ("endings", "내일 갈게요.", "내일 가겠습니다."),
        ("endings", "예약했습니다.", "예약했어요."),
        ("endings", "정말 추웠어요?", "정말 추웠습니까?"),
        ("endings", "여기가 #Person1#입니다.", "여기가 #Person1#이에요."),
        ("endings", "여기가 #Person2#입니다.", "여기가 #Person2#예요."),
        ("endings", "저는 학생이에요.", "저는 학생입니다."),
        ("endings", "안녕하십니까?", "안녕하세요?"),
        ("endings", "이쪽으로 오세요.", None),
        ("particles", "저녁에 밥을 먹었어.", "저녁에 밥 먹었어."),
        ("particles", "저녁에 밥 먹었어.", "저녁에 밥을 먹었어."),
        ("particles", "#Person1#을 봤어.", None),
    ],
)
def test_endings_and_particles(method: str, words: str, expected: str | None) -> None:
    changed = EDITS[method](Source(Dialogue(fname="a", dialogue=f"#Person1#: {words}")), 1.0, random.Random(0))
    assert (None if isinstance(changed, str) else changed.dialogue) == (expected and f"#Person1#: {expected}")


@pytest.mark.parametrize("text", [CHAT, ENGLISH])
def test_fillers_are_of_the_language_of_the_text(text: Dialogue) -> None:
    changed = EDITS["fillers"](Source(text), 1.0, random.Random(1))
    assert isinstance(changed, Dialogue)
    words = [words for _, words in split_turns(changed.dialogue)]
    pattern = "(?:음|어|그|저|뭐|아), " if text is CHAT else "(?:Um|Uh|Er|Well|You know|I mean), "
    assert all(re.match(pattern, each) for each in words)


def test_a_copy_that_loses_a_fact_or_is_in_another_split_is_left_out() -> None:
    only = Augmentation.model_validate({"aeda": {"share": 1}})
    added, _ = augment_train({"train": [CHAT]}, only)
    held_out = replace(CHAT, fname="dev", dialogue=added[0].dialogue)
    rest, report = augment_train({"train": [CHAT], "dev": [held_out]}, only)
    assert rest == []
    assert report["methods"]["aeda"] == {"drawn": 1, "added": 0, "filtered": {"also in dev": 1}}
    assert report["rows"] == {"train": 1, "added": 0}
    assert loses_facts(Source(CHAT), replace(CHAT, dialogue=CHAT.dialogue.replace("3만 5천 원", "돈")))
    assert not loses_facts(Source(CHAT), replace(CHAT, dialogue=CHAT.dialogue.replace("3만 5천 원", "35,000원")))


def test_rows_do_not_depend_on_their_order_or_on_each_other(sample_rows: list[Dialogue]) -> None:
    settings = all_on(0.5)
    added = augment(sample_rows, settings)
    shuffled = random.Random(1).sample(sample_rows, len(sample_rows))
    assert sorted(augment(shuffled, settings), key=str) == sorted(added, key=str)
    edits_only = Augmentation.model_validate({name: {"share": 0.5} for name in EDITS})
    alone = [row for source in sample_rows for row in augment([source], edits_only)]
    assert sorted(alone, key=str) == sorted((row for row in added if row.method != "renaming"), key=str)


def test_a_larger_share_adds_to_the_rows_of_a_smaller_one(sample_rows: list[Dialogue]) -> None:
    small, large = augment(sample_rows, all_on(0.3)), augment(sample_rows, all_on(0.7))
    assert len(small) < len(large)
    assert {str(row) for row in small} < {str(row) for row in large}
    assert augment(sample_rows, all_on(0.0)) == []
    assert not all_on(0.0).is_on


def test_every_process_gives_the_same_bytes() -> None:
    code = (
        "import json, sys; from yoyak.data.augmenting.run import augment_train; "
        "from yoyak.data.records import Dialogue; from yoyak.params.augmentation import Augmentation; "
        "row = Dialogue(**{**json.loads(sys.argv[1]), 'summaries': tuple(json.loads(sys.argv[1])['summaries'])}); "
        "print(augment_train({'train': [row]}, Augmentation.model_validate_json(sys.argv[2])))"
    )
    row = json.dumps({"fname": CHAT.fname, "dialogue": CHAT.dialogue, "summaries": CHAT.summaries})
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code, row, all_on().model_dump_json()],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert outputs == {f"{augment_train({'train': [CHAT]}, all_on())}\n"}


def test_nothing_that_a_fold_holds_out_comes_back_in_another_form(sample_rows: list[Dialogue]) -> None:
    added = augment(sample_rows, all_on())
    pseudo = replace(CHAT, fname="chat~pseudo_labels", method="pseudo_labels")
    rows = [*sample_rows, *added, pseudo]
    parts = []
    for index in (1, 2, 3):
        kept, held_out = hold_out(rows, index, 3)
        assert not any(row.method for row in held_out)
        names = {row.fname for row in held_out}
        assert not {row.source for row in kept} & names
        assert {row.fname for row in kept} == {row.fname for row in rows if {row.fname, row.source}.isdisjoint(names)}
        assert pseudo in kept
        parts += held_out
    assert sorted(parts, key=str) == sorted(sample_rows, key=str)


def test_a_row_is_read_back_with_its_source_and_method(tmp_path: Path, sample_rows: list[Dialogue]) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [*sample_rows[:2], *augment(sample_rows[:2], all_on())]
    write_jsonl(path, rows)
    assert read_jsonl(path) == rows
