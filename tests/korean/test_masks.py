from __future__ import annotations

import pytest

from yoyak.korean.masks import count_masks, distinct_masks, find_masks, find_stray_hashes


def test_masks_are_found_whole_before_particles_and_beside_each_other() -> None:
    text = "#Person1#은 #PhoneNumber#로 #Person2##Person10#에게 #DateOfBirth#를 말한다."
    assert find_masks(text) == ["#Person1#", "#PhoneNumber#", "#Person2#", "#Person10#", "#DateOfBirth#"]
    assert distinct_masks([text]) == ["#DateOfBirth#", "#Person1#", "#Person2#", "#Person10#", "#PhoneNumber#"]


@pytest.mark.parametrize("text", ["#맛집#서울#", "C# and F#", "#3 and #4", "# Person1 #", "#person1#", "##"])
def test_other_uses_of_the_hash_sign_are_not_masks(text: str) -> None:
    assert find_masks(text) == []


def test_counts_come_most_frequent_first_and_equals_by_name() -> None:
    counts = count_masks(["#B# #A# #C#", "#C#"])
    assert list(counts.items()) == [("#C#", 2), ("#A#", 1), ("#B#", 1)]


def test_a_broken_mask_is_reported_as_a_stray_sign() -> None:
    assert find_stray_hashes("#Person1#: #Person2: 네. C#도 해요") == ["#Person2:", "C#도"]
    assert find_stray_hashes("#Person1#: 네") == []
