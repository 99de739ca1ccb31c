"""Voting: alignments hold every text and cost what they must, majorities and ties, ROVER on small examples."""

from __future__ import annotations

import itertools
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ensemble.ensemble_rows import equal, row_of
from yoyak.ensemble.units import Unit, split
from yoyak.ensemble.vote import GAP, SUBSTITUTION, Slot, align, majority, vote

words = st.lists(st.sampled_from("abcd"), max_size=7)


def units(letters: str | list[str]) -> list[Unit]:
    result, before = [], ""
    for letter in letters:
        result.append(Unit(letter, f" {letter}" if before else letter, before))
        before = letter
    return result


def keys(slots: list[Slot]) -> list[tuple[str | None, ...]]:
    return [tuple(unit.key if unit else None for unit in slot) for slot in slots]


def cheapest(slots: list[set[str | None]], text: list[str]) -> int:
    """Return the lowest cost of all possible alignments."""

    @cache
    def best(slot: int, index: int) -> int:
        options = []
        if slot < len(slots):
            options.append((0 if None in slots[slot] else GAP) + best(slot + 1, index))
        if index < len(text):
            options.append(GAP + best(slot, index + 1))
        if slot < len(slots) and index < len(text):
            options.append((0 if text[index] in slots[slot] else SUBSTITUTION) + best(slot + 1, index + 1))
        return min(options, default=0)

    return best(0, 0)


def cost_of_last(texts: list[list[str]]) -> int:
    """Return what `align` pays for the last text: the others, in the slots they have, are the network."""
    total = 0
    for slot in align([units(text) for text in texts]):
        old, new = {unit.key if unit else None for unit in slot[:-1]}, slot[-1]
        if all(unit is None for unit in slot[:-1]):
            total += GAP
        elif new is None:
            total += 0 if None in old else GAP
        else:
            total += 0 if new.key in old else SUBSTITUTION
    return total


@given(st.lists(words, min_size=1, max_size=5))
def test_every_text_is_in_the_slots_once_and_in_order(texts: list[list[str]]) -> None:
    slots = align([units(text) for text in texts])
    for number, text in enumerate(texts):
        assert [unit.key for slot in slots if (unit := slot[number])] == text
    assert all(len(slot) == len(texts) and any(slot) for slot in slots)


@given(words, words)
def test_two_texts_are_aligned_at_the_edit_distance(left: list[str], right: list[str]) -> None:
    slots = align([units(left), units(right)])
    paid = sum(GAP if None in slot else SUBSTITUTION * (slot[0] != slot[1]) for slot in keys(slots))
    assert paid == cheapest([{letter} for letter in left], right)


@given(st.lists(words, min_size=2, max_size=5), words)
@settings(max_examples=300)
def test_each_further_text_is_aligned_at_minimal_cost(texts: list[list[str]], last: list[str]) -> None:
    networks = [set(slot) for slot in keys(align([units(text) for text in texts]))]
    assert cost_of_last([*texts, last]) == cheapest(networks, last)


def test_a_common_beginning_does_not_hide_a_slot_that_may_stay_empty() -> None:
    # The second text has one a; the third text's belongs in the slot where both have one.
    assert cost_of_last([["a", "a"], ["a"], ["a"]]) == 0
    slots = align([units("aa"), units("a"), units("a")])
    assert set(keys(slots)) == {("a", None, None), ("a", "a", "a")}


def test_a_majority_wins_a_slot() -> None:
    a, b, c = units("a")[0], units("b")[0], units("c")[0]
    assert majority([a, b, b], [1, 1, 1]) == (b, pytest.approx(2 / 3))
    assert majority([a, None, None], [1, 1, 1]) == (None, pytest.approx(2 / 3))
    assert majority([a, b, c], [0.2, 0.5, 0.3]) == (b, 0.5)
    assert majority([a, b, b], [0.6, 0.2, 0.2]) == (a, pytest.approx(0.6))


def test_ties_go_to_the_first_text_and_last_bits_do_not_count() -> None:
    a, b = units("a")[0], units("b")[0]
    assert majority([a, b], [0.5, 0.5])[0] is a
    assert majority([None, b], [0.5, 0.5])[0] is None
    # 0.1 + 0.2 is more than 0.3 in the last bit.
    assert majority([a, b, b], [0.3, 0.1, 0.2])[0] is a


def test_the_winner_is_written_as_the_first_text_has_it() -> None:
    first, second = Unit("x", "first"), Unit("x", "second")
    assert majority([Unit("y", "y"), first, second], [1, 1, 1])[0] is first


def words_of(outcome_text: str) -> list[str]:
    return outcome_text.split()


def test_two_that_agree_outvote_a_third_in_any_order() -> None:
    right, wrong = "#Person1#은 내일 회의실을 예약한다.", "#Person2#는 오늘 식당에 간다."
    for texts in set(itertools.permutations([right, right, wrong])):
        outcomes = vote([row_of(a=texts[0], b=texts[1], c=texts[2])], equal("abc"), "morpheme", positional=False)
        assert outcomes[0].text == right
        assert 2 / 3 - 1e-9 <= outcomes[0].score < 1
        assert outcomes[0].member == ""


def test_a_shift_by_one_word_is_aligned_and_breaks_positional_voting() -> None:
    texts = {"a": "가 나 다 라", "b": "바 가 나 다 라", "c": "가 나 다 라"}
    assert vote([row_of(**texts)], equal(texts), "eojeol", positional=False)[0].text == "가 나 다 라"
    shifted = {"a": "바 가 나 다 라", "b": "가 나 다 라", "c": "사 가 나 다 라"}
    assert vote([row_of(**shifted)], equal(shifted), "eojeol", positional=True)[0].text == "바 가 나 다 라"
    moved = row_of(**{**texts, "a": "마 바 가 나"})
    assert vote([moved], equal(texts), "eojeol", positional=True)[0].text != "가 나 다 라"


def test_positional_voting_by_hand() -> None:
    texts = {"a": "가 나 다 라", "b": "가 마 다 바", "c": "사 마 아 라"}
    outcome = vote([row_of(**texts)], equal(texts), "eojeol", positional=True)[0]
    # Position by position: 가 2, 마 2, 다 2, 라 2 of 3.
    assert (outcome.text, outcome.score) == ("가 마 다 라", pytest.approx(2 / 3))
    weighted = {"a": 0.6, "b": 0.2, "c": 0.2}
    outcome = vote([row_of(**texts)], weighted, "eojeol", positional=True)[0]
    # a alone has 0.6: with 가 b agrees, with 나 nobody, with 다 b, with 라 c.
    assert (outcome.text, outcome.score) == ("가 나 다 라", pytest.approx((0.8 + 0.6 + 0.8 + 0.8) / 4))
    longer = {"a": "가 나", "b": "가 나 다", "c": "가 나 다"}
    assert vote([row_of(**longer)], equal(longer), "eojeol", positional=True)[0].text == "가 나 다"


def test_ties_go_to_the_heavier_member_then_to_the_first() -> None:
    texts = {"a": "가", "b": "나"}
    assert vote([row_of(**texts)], {"a": 0.5, "b": 0.5}, "eojeol", positional=False)[0].text == "가"
    assert vote([row_of(**texts)], {"b": 0.5, "a": 0.5}, "eojeol", positional=False)[0].text == "나"
    assert vote([row_of(**texts)], {"a": 0.4, "b": 0.6}, "eojeol", positional=False)[0].text == "나"
    words = {"a": "가", "b": "나", "c": "다"}
    assert vote([row_of(**words)], {"a": 0.3, "b": 0.3, "c": 0.4}, "eojeol", positional=False)[0].text == "다"
    halves = {"a": "가", "b": "가", "c": "나"}
    assert vote([row_of(**halves)], {"a": 0.25, "b": 0.25, "c": 0.5}, "eojeol", positional=False)[0].text == "나"
    agreeing = {"a": "가", "b": "나", "c": "나"}
    assert vote([row_of(**agreeing)], {"a": 0.4, "b": 0.3, "c": 0.3}, "eojeol", positional=False)[0].text == "나"


@given(st.lists(st.lists(st.sampled_from("가나다"), min_size=3, max_size=3), min_size=3, max_size=3))
def test_the_order_of_members_changes_nothing_but_ties(texts: list[list[str]]) -> None:
    members = dict(zip("abc", [" ".join(text) for text in texts], strict=True))
    slots = list(zip(*texts, strict=True))
    settled = [max(set(slot), key=slot.count) if len(set(slot)) < 3 else None for slot in slots]
    for order in itertools.permutations(members):
        outcome = vote([row_of(**members)], equal(order), "eojeol", positional=True)[0]
        assert [word if winner else None for word, winner in zip(outcome.text.split(), settled, strict=True)] == settled


@given(words.filter(bool), st.permutations(range(5)), words, words)
def test_a_text_that_most_wrote_wins_in_any_order(
    right: list[str], order: list[int], first: list[str], second: list[str]
) -> None:
    texts = [" ".join(right)] * 3 + [" ".join(first), " ".join(second)]
    members = {f"m{index}": texts[index] for index in order}
    assert vote([row_of(**members)], equal(members), "eojeol", positional=False)[0].text == " ".join(right)


def test_a_member_that_wrote_nothing_does_not_vote() -> None:
    texts = {"a": "", "b": "내일 간다.", "c": " \n"}
    outcome = vote([row_of(**texts)], equal(texts), "morpheme", positional=False)[0]
    assert (outcome.text, outcome.score) == ("내일 간다.", 1.0)
    nothing = vote([row_of(a="", b="")], equal("ab"), "morpheme", positional=False)[0]
    assert (nothing.text, nothing.score) == ("", 0.0)
    # The only one that wrote has no weight: still better than nothing.
    assert vote([row_of(**texts)], {"a": 1.0, "b": 0.0, "c": 0.0}, "morpheme", positional=False)[0].text == "내일 간다."
    tied = row_of(a="", b="가 나", c="가 다")
    assert vote([tied], {"a": 1.0, "b": 0.0, "c": 0.0}, "eojeol", positional=False)[0].text == "가 나"


@pytest.mark.parametrize("positional", [False, True])
def test_a_unanimous_text_is_unchanged(positional: bool) -> None:
    text = "#Person1#은  회의를 😀 미룬다 ."
    outcome = vote([row_of(a=text, b=text, c=text)], equal("abc"), "morpheme", positional=positional)[0]
    assert (outcome.text, outcome.score) == (text, 1.0)


def test_particles_vote_together_and_fit_the_winner() -> None:
    texts = {"a": "지훈은 병원에 간다.", "b": "민수는 병원에 간다.", "c": "민수는 학교에 간다."}
    outcome = vote([row_of(**texts)], equal(texts), "morpheme", positional=False)[0]
    assert outcome.text == "민수는 병원에 간다."
    mixed = {"a": "#Person1#은 표를 산다.", "b": "#Person2#는 표를 산다.", "c": "#Person2#가 책을 산다."}
    # 은 and 는 are one unit with two votes, #Person2# has two, and the shape is the one that it wants.
    assert vote([row_of(**mixed)], equal(mixed), "morpheme", positional=False)[0].text == "#Person2#는 표를 산다."


def test_rows_are_independent_of_each_other() -> None:
    rows = [row_of(a="가 나", b="가 다", c="라 다"), row_of(a="", b="", c=""), row_of(a="마", b="마", c="바")]
    together = vote(rows, equal("abc"), "eojeol", positional=False)
    assert together == [vote([row], equal("abc"), "eojeol", positional=False)[0] for row in rows]
    assert vote([], equal("abc"), "eojeol", positional=False) == []


def test_fifty_members() -> None:
    members = {f"m{number}": f"가 나 {'다' if number % 3 else '라'} 마" for number in range(50)}
    outcome = vote([row_of(**members)], equal(members), "eojeol", positional=False)[0]
    assert outcome.text == "가 나 다 마"
    assert outcome.score == pytest.approx((3 + 33 / 50) / 4)


def test_slots_of_real_units_join_to_a_text() -> None:
    first, second = split(["회의를 미룬다.", "회의를 취소한다."], "morpheme")
    assert keys(align([first, second])) == [
        ("회의", "회의"),
        ("을/JKO", "을/JKO"),
        ("미룬다", "취소한다"),
        (".", "."),
    ]
