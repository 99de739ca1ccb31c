"""A real `mlflow models serve` on a free port, asked as people ask it and as they get it wrong."""

import pytest

from mlflow_helpers import DIALOGUE, register_champion, serve
from yoyak.registration.packaging import log_member
from yoyak.tracking import runs

pytestmark = pytest.mark.slow


@pytest.fixture
def server(store, tiny_bart):
    """A served champion: a function that posts a body and returns status and answer."""
    with runs.stage_run("train", member="bart", params={}, inputs={}) as run:
        model_id = log_member(run, tiny_bart, example=DIALOGUE)
    register_champion("yoyak", model_id, run.run_id)
    with serve("models:/yoyak@champion") as post:
        yield post


GOOD = [
    ({"inputs": [DIALOGUE]}, 1),
    ({"inputs": [DIALOGUE, "#Person1#: 네"]}, 2),
    ({"instances": [DIALOGUE]}, 1),
    ({"inputs": {"dialogue": [DIALOGUE, DIALOGUE]}}, 2),
    ({"dataframe_split": {"columns": ["dialogue"], "data": [[DIALOGUE]]}}, 1),
    ({"dataframe_split": {"columns": ["fname", "dialogue"], "data": [["a", DIALOGUE]]}}, 1),
    ({"dataframe_records": [{"dialogue": DIALOGUE}, {"dialogue": DIALOGUE, "topic": "x"}]}, 2),
    ({"inputs": [DIALOGUE], "params": {"num_beams": 4, "max_new_tokens": 6, "length_penalty": 2}}, 1),
    ({"inputs": [DIALOGUE], "params": {"no_repeat_ngram_size": 2, "min_new_tokens": 6}}, 1),
    ({"inputs": [DIALOGUE], "params": {"repetition_penalty": 1.5}}, 1),
]
BAD = [
    ({}, "exactly one of the input fields"),
    ({"dialogue": DIALOGUE}, "exactly one of the input fields"),
    ({"inputs": []}, "The request has no dialogue"),
    ({"inputs": [1, 2]}, "Dialogue 1 of 2 ('1') has no words"),
    ({"inputs": [None]}, "Dialogue 1 of 1 is not text but 'None'"),
    ({"inputs": [DIALOGUE, ""]}, "Dialogue 2 of 2 is empty"),
    ({"inputs": [[DIALOGUE]]}, "Dialogue 1 of 1 is not text but"),
    ({"inputs": 3}, "Model is missing inputs ['dialogue']"),
    ({"dataframe_records": [{"text": DIALOGUE}]}, "Model is missing inputs ['dialogue']"),
    ({"dataframe_records": [{"dialogue": 3}]}, "Dialogue 1 of 1 is not text but 3"),
    ({"dataframe_split": {"columns": ["dialogue"], "data": []}}, "The request has no dialogue"),
    ({"inputs": [DIALOGUE], "params": {"num_beams": 0}}, "params.num_beams is 0"),
    ({"inputs": [DIALOGUE], "params": {"num_beams": "many"}}, "num_beams"),
    ({"inputs": [DIALOGUE], "params": {"max_new_tokens": 5000}}, "params.max_new_tokens is 5000"),
    ({"inputs": [DIALOGUE], "params": {"repetition_penalty": 0}}, "params.repetition_penalty is 0"),
    ({"inputs": [DIALOGUE] * 257}, "The request has 257 dialogues, but at most 256 are allowed"),
    ({"inputs": ["네" * 20001]}, "Dialogue 1 of 1 has 20001 characters, but at most 20000 are allowed."),
    ([DIALOGUE], "must be a JSON dictionary"),
    (b"{not json", "valid JSON"),
    (b"\xff\xfe", "valid JSON"),
]


def test_the_champion_answers_and_wrong_bodies_get_a_reason(server):
    answers = []
    for body, count in GOOD:
        status, answer = server(body)
        assert status == 200, (body, answer)
        assert len(answer["predictions"]) == count
        assert all(isinstance(row["summary"], str) for row in answer["predictions"])
        assert not any(row["truncated"] for row in answer["predictions"])
        answers.append(answer["predictions"][0])
    assert answers[0] == answers[1] == answers[3] == answers[4] == answers[5]
    assert answers[0] != answers[7]
    for body, message in BAD:
        status, answer = server(body)
        assert status == 400, (body, answer)
        assert message in answer, (body, answer)
    assert server(b"x", "application/x-www-form-urlencoded")[0] == 415
    status, answer = server(f'dialogue\n"{DIALOGUE}"\n'.encode(), "text/csv")
    assert (status, answer["predictions"]) == (200, answers[:1])
