"""A real `mlflow models serve` on a free port, asked as people ask it and as they get it wrong."""

import os
from pathlib import Path

import psutil
import pytest

from mlflow_helpers import DIALOGUE, register_champion, serve
from yoyak.registration.packaging import log_member
from yoyak.tracking import runs

pytestmark = pytest.mark.slow


@pytest.fixture
def server(store, tiny_bart):
    """A served champion."""
    with runs.stage_run("train", member="bart", params={}, inputs={}) as run:
        model_id = log_member(run, tiny_bart, example=DIALOGUE)
    register_champion("yoyak", model_id, run.run_id)
    with serve("models:/yoyak@champion") as served:
        yield served


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
    ({}, "exactly one of inputs, instances"),
    ({"dialogue": DIALOGUE}, "exactly one of inputs, instances"),
    ({"inputs": [DIALOGUE], "instances": [DIALOGUE]}, "exactly one of inputs, instances"),
    ({"inputs": []}, "The request has no dialogue"),
    ({"inputs": [1, 2]}, "Dialogue 1 of 2 is not text:"),
    ({"inputs": ["1", "2"]}, "Dialogue 1 of 2 has no words:"),
    ({"inputs": [None]}, "Dialogue 1 of 1 is not text:"),
    ({"inputs": [DIALOGUE, ""]}, "Dialogue 2 of 2 is empty"),
    ({"inputs": [[DIALOGUE]]}, "Dialogue 1 of 1 is not text:"),
    ({"inputs": 3}, 'no dialogues under "inputs"'),
    ({"dataframe_records": [{"text": DIALOGUE}]}, 'no dialogues under "dataframe_records"'),
    ({"dataframe_records": [{"dialogue": 3}]}, "Dialogue 1 of 1 is not text:"),
    ({"dataframe_split": {"columns": ["dialogue"], "data": []}}, "The request has no dialogue"),
    ({"dataframe_split": {"columns": ["dialogue"], "data": [[DIALOGUE, 1]]}}, 'no dialogues under "dataframe_split"'),
    ({"inputs": [DIALOGUE], "params": {"num_beams": 0}}, "params.num_beams is wrong"),
    ({"inputs": [DIALOGUE], "params": {"num_beams": "many"}}, "params.num_beams must be a number."),
    ({"inputs": [DIALOGUE], "params": [4]}, '"params" must be a JSON object'),
    ({"inputs": [DIALOGUE], "params": {"max_new_tokens": 5000}}, "params.max_new_tokens may be at most 255."),
    ({"inputs": [DIALOGUE], "params": {"repetition_penalty": 0}}, "params.repetition_penalty is wrong"),
    ({"inputs": [DIALOGUE] * 257}, "The request has more than 256 dialogues"),
    ({"inputs": ["네" * 20001]}, "Dialogue 1 of 1 has 20001 characters, but at most 20000 are allowed."),
    ([DIALOGUE], "must be a JSON object"),
    (b"{not json", "not valid JSON"),
    (b"\xff\xfe", "not valid UTF-8"),
    (b"[" * 100_000, "more values than 256 dialogues need"),
    (b'{"inputs": ' + b"[" * 30 + b"]" * 30 + b"}", "nested too deeply"),
    (b'{"inputs": ["a"], "params": {"num_beams": ' + b"9" * 5000 + b"}}", "not valid JSON"),
    (b'{"inputs": ["a"], "params": {"length_penalty": NaN}}', "not valid JSON"),
]


def peak_mb() -> float:
    """The most memory that the server has had."""
    [server] = [
        process
        for process in psutil.process_iter(["cmdline"])
        if any("scoring_server.app:app" in part for part in process.info["cmdline"] or ())
        and os.getpid() in [parent.pid for parent in process.parents()]
    ]
    status = Path(f"/proc/{server.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


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
    for kind in (
        "application/x-www-form-urlencoded",
        "application/json; charset=utf-16",
        "application/vnd.apache.parquet",
    ):
        assert server(b"x", kind)[0] == 415
    status, answer = server(f'dialogue\n"{DIALOGUE}"\n'.encode(), "text/csv")
    assert (status, answer["predictions"]) == (200, answers[:1])
    assert server(b"text\n1\n", "text/csv")[1].startswith("The table needs a first line")
    assert server(b'dialogue\n"open', "text/csv")[1] == "The body is not valid CSV."
    # A body of 1 MB that has a few short dialogues and a long one would be an array of 300 MB, were it made into one.
    before = peak_mb()
    assert server({"inputs": ["a"] * 255 + ["b" * 1_000_000]})[0] == 400
    assert server({"inputs": ["b" * 5_000_000]})[0] == 413
    assert peak_mb() - before < 40
    headers = {name.lower(): value for name, value in server.headers().items()}
    assert (headers["x-yoyak-model"], headers["x-yoyak-version"]) == ("yoyak", "1")
