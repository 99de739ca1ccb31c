from __future__ import annotations

import math

import pandas as pd
import pytest

from yoyak.reporting.groups import MAX_TOPICS, make_groupings
from yoyak.scoring.results import Part

TEST = Part(split="test", slice="all", n=0)


def table(lengths: list[int], topics: list[str], chars: list[int] | None = None) -> pd.DataFrame:
    """Return scores of two systems: ``up`` scores better, the longer the dialogue."""
    rows = []
    for number, (turns, topic) in enumerate(zip(lengths, topics, strict=True)):
        for split in ("dev", "test"):
            for system, value in (("up", turns / 100), ("flat", 0.5)):
                rows.append(
                    {
                        "split": split,
                        "fname": f"d{number}",
                        "topic": topic,
                        "turns": turns,
                        "dialogue_chars": chars[number] if chars else turns * 10,
                        "system": system,
                        "combined": value,
                    }
                )
    return pd.DataFrame(rows)


def test_bins_hold_every_test_dialogue_once_and_do_not_overlap() -> None:
    lengths = [2, 3, 3, 3, 4, 5, 6, 7, 8, 20, 20, 21]
    by_length = make_groupings(table(lengths, [""] * 12), TEST, "combined", ["up", "flat"], "up", 0.95)
    assert len(by_length) == 1
    groups = by_length[0].groups
    assert sum(group.n for group in groups) == 12
    ends = [int(end) for group in groups for end in group.label.split("–")]
    assert ends == sorted(ends)
    assert [group.label for group in groups] == ["2–3", "4", "5–6", "7–8", "20–21"]


def test_the_interval_is_a_normal_interval_of_the_mean() -> None:
    groups = make_groupings(table([10, 20, 30], ["여행"] * 3), TEST, "combined", ["up"], "up", 0.95)[1].groups
    score = groups[0].scores["up"]
    assert score.mean == pytest.approx(0.2)
    assert score.high - score.mean == pytest.approx(1.959964 * 0.1 / math.sqrt(3))
    assert score.n == groups[0].n == 3


def test_characters_are_used_if_all_dialogues_have_the_same_number_of_turns() -> None:
    groupings = make_groupings(table([4] * 10, [""] * 10, list(range(100, 110))), TEST, "combined", ["up"], "up", 0.95)
    assert groupings[0].by == "characters"
    assert [group.n for group in groupings[0].groups] == [2] * 5


def test_topics_are_sorted_by_the_best_member_and_single_dialogues_are_only_counted() -> None:
    by_topic = make_groupings(
        table([10, 10, 30, 30, 20], ["은행", "은행", "여행", "여행", "하나"]),
        TEST,
        "combined",
        ["up", "flat"],
        "up",
        0.95,
    )[1]
    assert [group.label for group in by_topic.groups] == ["여행", "은행"]
    assert by_topic.hidden == 1


def test_only_the_most_frequent_topics_are_shown() -> None:
    topics = [f"t{number % 100}" for number in range(250)]
    by_topic = make_groupings(table([5] * 250, topics), TEST, "combined", ["up"], "up", 0.95)[1]
    assert len(by_topic.groups) == MAX_TOPICS
    assert by_topic.hidden == 100 - MAX_TOPICS
    assert all(group.n == 3 for group in by_topic.groups)


def test_a_split_without_topics_has_none() -> None:
    assert [groups.by for groups in make_groupings(table([3, 4], ["", ""]), TEST, "combined", ["up"], "up", 0.95)] == [
        "characters"
    ]
