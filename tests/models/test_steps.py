"""The steps before and after a model, by name."""

from __future__ import annotations

from typing import get_args

import pytest

from trained_members import parse_trained
from yoyak.models.families import family_of
from yoyak.models.spec import load_spec, save_spec
from yoyak.models.steps import (
    INPUT_STEPS,
    OUTPUT_STEPS,
    add_topics,
    finish_summary,
    prepare_dialogue,
    prepare_target,
)
from yoyak.params import Generation
from yoyak.params.generation import OutputStep
from yoyak.params.members import InputStep

MEMBER = {"family": "seq2seq", "config": {"model_type": "bart"}, "tokenizer": "bpe", "learning_rate": 0.1}


def test_params_name_every_step() -> None:
    assert set(get_args(InputStep)) == set(INPUT_STEPS)
    assert set(get_args(OutputStep)) == set(OUTPUT_STEPS)


def test_steps_are_applied_in_their_order() -> None:
    dialogue = "#Person1#: 음… 네!! ㅋㅋㅋ"
    assert prepare_dialogue(dialogue, ()) == dialogue
    assert prepare_dialogue(dialogue, ("drop_fillers", "clean_symbols", "plain_masks")) == "Person1: 네!"
    assert finish_summary("Person1은 갑니다. Person1은 갑니다.", dialogue, (), ("drop_repeats", "plain_style")) == (
        "Person1은 간다."
    )


def test_what_is_learned_as_words_is_given_out_as_masks() -> None:
    target = prepare_target("#Person1#은 간다.", ("plain_masks",))
    assert target == "Person1은 간다."
    assert finish_summary(target, "#Person1#: 네.", ("plain_masks",), ()) == "#Person1#은 간다."
    assert prepare_target("#Person1#은 간다. ㅋㅋㅋ", ("clean_symbols",)) == "#Person1#은 간다. ㅋㅋㅋ"


def test_a_row_without_a_topic_has_no_hint() -> None:
    assert add_topics(["a", "b"], ["weather", ""], ("topic",)) == ["Topic: weather\na", "b"]
    assert add_topics(["a"], ["weather"], ()) == ["a"]


def test_a_saved_model_carries_its_steps(tmp_path) -> None:
    member = parse_trained(
        {**MEMBER, "preprocessing": ["drop_fillers"], "truncate": "both", "windows": {"max_parts": 4, "merge": "join"}}
    )
    spec = family_of(member).make_spec("bart", member)
    save_spec(tmp_path, spec)
    loaded = load_spec(tmp_path)
    assert loaded == spec
    assert (loaded.preprocessing, loaded.truncate) == (("drop_fillers",), "both")
    assert loaded.windows is not None
    assert (loaded.windows.max_parts, loaded.windows.merge) == (4, "join")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"preprocessing": ["drop_filler"]}, "drop_fillers"),
        ({"preprocessing": ["topic"], "truncate": "tail"}, "truncate: tail cuts off"),
        ({"windows": {"max_parts": 1}}, "max_parts"),
    ],
)
def test_what_cannot_be_is_refused(values: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        parse_trained({**MEMBER, **values})


def test_two_styles_at_once_are_refused() -> None:
    with pytest.raises(ValueError, match="both plain_style and polite_style"):
        Generation(postprocessing=("plain_style", "polite_style"))
