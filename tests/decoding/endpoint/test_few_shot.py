"""The examples of few-shot prompts: similar or random ones, always the same, and never the dialogue itself."""

from __future__ import annotations

from typing import Literal

import pytest

from decoding.endpoint.conftest import TRAIN, Load
from endpoint_proxy import Proxy
from yoyak.decoding.endpoint.examples import ExamplePool
from yoyak.models.prompts import Example
from yoyak.params.endpoint import FewShot

ROWS = [Example(dialogue, summary) for dialogue, summary in TRAIN]


def pool(choice: Literal["similar", "random"] = "similar", examples: int = 3, seed: int = 20) -> ExamplePool:
    return ExamplePool(ROWS, FewShot(examples=examples, choice=choice), seed)


def test_similar_dialogues_are_shown_the_nearest_last() -> None:
    [chosen] = pool().choose(["#Person1#: 3번 피자\n#Person2#: 좋아요."])
    assert chosen[-1].summary == "피자 3"
    assert all("피자" in example.summary or "3" in example.summary for example in chosen)


def test_a_dialogue_is_no_example_for_itself() -> None:
    dialogue = ROWS[0].dialogue
    choices: tuple[Literal["similar", "random"], ...] = ("similar", "random")
    for choice in choices:
        for text in (dialogue, f" {dialogue.lower()}\n"):
            [chosen] = pool(choice, examples=len(ROWS)).choose([text])
            assert dialogue not in [example.dialogue for example in chosen]
            assert len(chosen) == len(ROWS) - 1


def test_random_ones_depend_on_the_seed_and_the_dialogue_alone() -> None:
    dialogues = [f"#Person1#: {number}" for number in range(8)]
    chosen = pool("random").choose(dialogues)
    assert pool("random").choose(dialogues[::-1]) == chosen[::-1]
    assert pool("random", seed=21).choose(dialogues) != chosen
    assert len({tuple(examples) for examples in chosen}) > 1


def test_the_pool_is_a_sample_that_is_saved(proxy: Proxy, load: Load) -> None:
    member = load(few_shot={"examples": 2, "pool": 5})
    again = load(few_shot={"examples": 2, "pool": 5})
    assert member.pool is not None and again.pool is not None
    assert len(member.pool.rows) == 5
    assert member.pool.rows == again.pool.rows
    assert set(member.pool.rows) <= set(ROWS)
    messages = member.render(["#Person1#: 3번 피자"])[0]
    assert [message["role"] for message in messages] == ["user", "assistant", "user", "assistant", "user"]


@pytest.mark.parametrize("choice", ["similar", "random"])
def test_no_dialogues_need_no_examples(choice: Literal["similar", "random"]) -> None:
    assert pool(choice).choose([]) == []
