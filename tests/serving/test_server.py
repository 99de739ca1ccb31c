"""A real `mlflow models serve` on a free port, asked as people ask it and as they get it wrong."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from mlflow_helpers import DIALOGUE
from yoyak import registry, tracking
from yoyak.serving.packaging import log_member

pytestmark = pytest.mark.slow


@pytest.fixture
def server(store, tiny_bart):
    """A served champion: a function that posts a body and returns status and answer."""
    with tracking.stage_run("train", member="bart", params={}, inputs={}) as run:
        model_id = log_member(run, tiny_bart, example=DIALOGUE)
    registry.register_best("yoyak", member="bart", model_id=model_id, run_id=run.run_id, scores={}, tags={})
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/yoyak@champion"]
    # MLflow starts uvicorn by its name, as in an environment that is activated; both end with their group.
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with Path("serve.log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--env-manager", "local", "-p", str(port)],
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        )

    def post(body, kind="application/json"):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", data, {"Content-Type": kind})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            text = error.read().decode()
            return error.code, json.loads(text)["message"] if text.startswith("{") else text

    try:
        deadline = time.monotonic() + 90
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=2)
                break
            except OSError:
                assert process.poll() is None, Path("serve.log").read_text()
                assert time.monotonic() < deadline, Path("serve.log").read_text()
                time.sleep(0.3)
        yield post
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)


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
]
BAD = [
    ({}, "exactly one of the input fields"),
    ({"dialogue": DIALOGUE}, "exactly one of the input fields"),
    ({"inputs": []}, "The request holds no dialogue"),
    ({"inputs": [1, 2]}, "Dialogue 1 of 2 ('1') has no words"),
    ({"inputs": [None]}, "Dialogue 1 of 1 is no text but 'None'"),
    ({"inputs": [DIALOGUE, ""]}, "Dialogue 2 of 2 is empty"),
    ({"inputs": [[DIALOGUE]]}, "Dialogue 1 of 1 is no text but"),
    ({"inputs": 3}, "Model is missing inputs ['dialogue']"),
    ({"dataframe_records": [{"text": DIALOGUE}]}, "Model is missing inputs ['dialogue']"),
    ({"dataframe_records": [{"dialogue": 3}]}, "Dialogue 1 of 1 is no text but 3"),
    ({"dataframe_split": {"columns": ["dialogue"], "data": []}}, "The request holds no dialogue"),
    ({"inputs": [DIALOGUE], "params": {"num_beams": 0}}, "params.num_beams is 0"),
    ({"inputs": [DIALOGUE], "params": {"num_beams": "many"}}, "num_beams"),
    ({"inputs": [DIALOGUE], "params": {"max_new_tokens": 5000}}, "params.max_new_tokens is 5000"),
    ([DIALOGUE], "must be a JSON dictionary"),
    (b"{not json", "valid JSON"),
    (b"\xff\xfe", "valid JSON"),
]


def test_the_champion_answers_and_wrong_bodies_are_told_why(server):
    answers = []
    for body, count in GOOD:
        status, answer = server(body)
        assert status == 200, (body, answer)
        assert len(answer["predictions"]) == count
        assert all(isinstance(text, str) for text in answer["predictions"])
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
