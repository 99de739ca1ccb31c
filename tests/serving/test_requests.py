import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoyak.errors import UserError
from yoyak.params import Generation, Serving
from yoyak.serving.requests import PARAMS, check_dialogues, request_generation

DEFAULT = Generation(max_new_tokens=20, num_beams=4, num_return_sequences=4)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "has no dialogue"),
        (["#Person1#: 안녕", ""], "Dialogue 2 of 2 is empty"),
        (["  \n"], "Dialogue 1 of 1 is empty"),
        (["#Person1#:\n#Person2#：  "], "Dialogue 1 of 1 is empty"),
        ([3], "Dialogue 1 of 1 is not text:"),
        ([None], "Dialogue 1 of 1 is not text:"),
        (["None"], "Dialogue 1 of 1 is not text:"),
        ([["a", "b"]], "Dialogue 1 of 1 is not text:"),
        (["네"] * 257, "more than 256 dialogues"),
        (["네", "네" * 20_001], "Dialogue 2 of 2 has 20001 characters, but at most 20000"),
        (["네 \ud83d"], "Dialogue 1 of 1 has half of a character"),
        (["12.5"], "Dialogue 1 of 1 has no words"),
    ],
)
def test_what_is_not_a_dialogue_is_an_error(values, message):
    with pytest.raises(UserError, match=message):
        check_dialogues(values, Serving())


@given(st.lists(st.text().map(lambda text: "안녕 " + text), min_size=1))
def test_dialogues_are_passed_through_unchanged(values):
    assert check_dialogues(values, Serving(max_rows=1000)) == values


def test_a_request_changes_only_what_it_names_and_asks_for_one_summary():
    settings = request_generation(DEFAULT, {"num_beams": 2, "length_penalty": 0.5, "min_new_tokens": None})
    assert settings == DEFAULT.model_copy(update={"num_beams": 2, "length_penalty": 0.5, "num_return_sequences": 1})
    assert request_generation(DEFAULT, {}) == DEFAULT.model_copy(update={"num_return_sequences": 1})
    assert set(PARAMS) <= set(Generation.model_fields)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"num_beams": 0}, r"params\.num_beams is wrong: input should be greater than 0"),
        ({"num_beams": 33}, r"params\.num_beams may be at most 32"),
        ({"num_beams": 10**4000}, r"params\.num_beams may be at most 32"),
        ({"num_beams": True}, r"params\.num_beams must be a number"),
        ({"num_beams": "4"}, r"params\.num_beams must be a number"),
        ({"num_beams": 1.5}, r"params\.num_beams is wrong"),
        ({"max_new_tokens": 100_000}, r"params\.max_new_tokens may be at most 1024"),
        ({"repetition_penalty": 0.0}, r"params\.repetition_penalty is wrong"),
        ({"repetition_penalty": 11.0}, r"params\.repetition_penalty may be at most 10"),
        ({"min_new_tokens": 30}, r"params\.min_new_tokens may be at most max_new_tokens"),
        ({"length_penalty": float("nan")}, r"params\.length_penalty may be at most 10"),
        ({"length_penalty": -1e300}, r"params\.length_penalty may be at most 10"),
    ],
)
def test_params_out_of_bounds_are_errors(params, message):
    with pytest.raises(UserError, match=message):
        request_generation(DEFAULT, params)


def test_no_more_tokens_are_written_than_the_model_has_positions_for():
    assert request_generation(DEFAULT, {"max_new_tokens": 255}, 255).max_new_tokens == 255
    with pytest.raises(UserError, match=r"params\.max_new_tokens may be at most 255"):
        request_generation(DEFAULT, {"max_new_tokens": 256}, 255)
