"""Which facts of a summary are right: what it must state, what it makes up, and who does what."""

from __future__ import annotations

import pytest

from yoyak.behaviour.accuracy import check_facts, measure_facts
from yoyak.behaviour.accuracy_results import EVERY, read_fact_accuracy, write_fact_accuracy
from yoyak.data.facts import NO_FACTS, KnownFacts, parse_facts
from yoyak.data.records import Dialogue
from yoyak.data.samples import generate_with_facts

DIALOGUE = (
    "#Person1#: 토요일 저녁 6시에 네 명 예약할게요.\n#Person2#: 네, 성함이 어떻게 되세요?\n"
    "#Person1#: 민수예요. 아, 6시 말고 7시로 해 주세요. 책도 두고 갈게요."
)
REFERENCE = "#Person1#은 #Person2#에게 토요일 저녁 7시에 네 명 자리를 민수 이름으로 예약하고 책을 맡긴다."
FACTS = parse_facts(
    '{"time": ["저녁 7시"], "date": ["토요일"], "number": ["네 명"], "name": ["민수"], "thing": ["책|서적"], '
    '"wrong": ["저녁 6시"]}',
    "here",
)


def check(summary: str, facts: KnownFacts = FACTS, dialogue: str = DIALOGUE) -> dict[str, bool]:
    row = Dialogue(fname="a", dialogue=dialogue, summaries=(REFERENCE,))
    [result] = check_facts([summary], [row], [facts])
    return result


def wrong(summary: str, facts: KnownFacts = FACTS) -> set[str]:
    return {kind for kind, right in check(summary, facts).items() if not right} - {EVERY}


def test_a_reference_has_everything_right() -> None:
    assert check(REFERENCE) == dict.fromkeys(["time", "date", "number", "name", "thing", "person", EVERY], True)


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ("저녁 7시", "저녁 8시", "time"),
        ("토요일", "일요일", "date"),
        ("네 명", "두 명", "number"),
        ("민수", "지훈", "name"),
        ("책을", "책임을", "thing"),
        ("책을", "꽃을", "thing"),
    ],
)
def test_what_is_replaced_is_wrong(old: str, new: str, kind: str) -> None:
    changed = REFERENCE.replace(old, new)
    assert kind in wrong(changed)
    assert not check(changed)[EVERY]


@pytest.mark.parametrize(
    ("old", "new"),
    [("저녁 7시", "저녁 일곱 시"), ("저녁 7시", "저녁7시"), ("네 명", "4명"), ("책을", "서적을"), ("책을", "책도")],
)
def test_other_wordings_are_right(old: str, new: str) -> None:
    assert not wrong(REFERENCE.replace(old, new))


def test_what_was_taken_back_is_wrong_even_beside_what_is_right() -> None:
    summary = REFERENCE.replace("저녁 7시에", "저녁 6시가 아니라 저녁 7시에")
    assert not wrong(summary)
    assert not check(summary)[EVERY]


def test_what_is_left_out_is_wrong_only_where_it_is_known() -> None:
    summary = "#Person1#은 #Person2#에게 예약한다."
    assert wrong(summary) == {"time", "date", "number", "name", "thing"}
    assert wrong(summary, NO_FACTS) == set()


def test_swapped_speakers_are_mixed_up() -> None:
    assert "person" in wrong(REFERENCE.replace("#Person1#은 #Person2#에게", "#Person2#는 #Person1#에게"))


def test_a_speaker_or_mask_that_the_dialogue_lacks_is_made_up() -> None:
    assert "person" in wrong(REFERENCE.replace("#Person2#에게", "#Person3#에게"))
    assert "mask" in wrong(REFERENCE.replace("책을", "책을 #Address#에"))


def test_another_speaker_s_view_is_not_mixed_up() -> None:
    summary = "#Person2#는 #Person1#의 토요일 저녁 7시 네 명 자리를 민수 이름으로 예약받고 책을 맡는다."
    assert "person" not in check(summary)
    assert check(summary)[EVERY]


def test_what_a_reference_has_is_not_made_up() -> None:
    row = Dialogue(fname="a", dialogue="#Person1#: 둘씩 세 묶음 주세요.", summaries=("#Person1#은 6개를 산다.",))
    [result] = check_facts(["#Person1#은 6개를 산다."], [row], [NO_FACTS])
    assert all(result.values())


def test_english_is_checked_too() -> None:
    dialogue = "#Person1#: Can we meet at 5 pm on Friday?\n#Person2#: Sure, at the library, with Tom."
    row = Dialogue(fname="a", dialogue=dialogue, summaries=("#Person1# and #Person2# meet Tom on Friday at five.",))
    facts = parse_facts({"time": ["5 pm|five"], "date": ["Friday"], "name": ["Tom"]}, "here")
    right, made_up = check_facts(
        ["#Person1# and #Person2# meet Tom on Friday at five.", "They meet Anna on Friday at 6 pm."],
        [row, row],
        [facts, facts],
    )
    assert all(right.values())
    assert {kind for kind, value in made_up.items() if not value} >= {"name", "time", EVERY}


def test_references_of_the_sample_corpus_are_right() -> None:
    rows = list(generate_with_facts(200, 3, split="test"))
    assert all(facts.stated for _, facts in rows)
    dialogues = [row for row, _ in rows]
    for number in range(3):
        results = check_facts([row.summaries[number] for row in dialogues], dialogues, [facts for _, facts in rows])
        assert sum(result[EVERY] for result in results) >= 0.97 * len(rows)
        assert all(result.get("person", True) and result.get("thing", True) for result in results)
    # The same summaries of the next dialogue.
    shifted = check_facts(
        [row.summaries[0] for row in dialogues[1:]], dialogues[:-1], [facts for _, facts in rows[:-1]]
    )
    assert sum(result[EVERY] for result in shifted) == 0


def test_systems_are_measured_by_split_and_slice(tmp_path) -> None:
    rows = [
        Dialogue(fname=str(number), dialogue=DIALOGUE, summaries=(REFERENCE,), slice="odd" if number % 2 else "even")
        for number in range(4)
    ]
    summaries = {"0": REFERENCE, "1": REFERENCE.replace("7시", "9시"), "2": REFERENCE}
    accuracy = measure_facts(
        {"test": rows}, {"test": {row.fname: FACTS for row in rows}}, {"bart": {"test": summaries}}, 0.95
    )
    found = {(rate.system, rate.slice): (rate.right, rate.n) for rate in accuracy.rates if rate.kind == EVERY}
    assert found == {
        ("bart", EVERY): (2, 3), ("bart", "even"): (2, 2), ("bart", "odd"): (0, 1),
    }  # fmt: skip
    assert accuracy.known == {"test": 4}
    assert accuracy.shares("bart") == {"test": pytest.approx(2 / 3, abs=1e-5)}
    rates = {rate.kind: rate for rate in accuracy.rates if (rate.system, rate.slice) == ("bart", EVERY)}
    assert (rates["time"].right, rates["date"].right) == (2, 3)
    assert rates["time"].low < 2 / 3 < rates["time"].high
    # A dialogue of which nothing is known says nothing about who has everything right.
    some = measure_facts({"test": rows}, {"test": {"1": FACTS}}, {"bart": {"test": summaries}}, 0.95)
    assert (some.known, some.shares("bart")) == ({"test": 1}, {"test": 0.0})
    assert {rate.n for rate in some.rates if (rate.slice, rate.kind) == (EVERY, "date")} == {3}
    write_fact_accuracy(tmp_path / "facts.json", accuracy)
    assert read_fact_accuracy(tmp_path / "facts.json") == accuracy
