"""OpenAI's client, and what is compatible with it, against the server."""

from __future__ import annotations

import json

import pytest

from live_server import Live

TEXT = "#Person1#: 내일 만나요?\n#Person2#: 네."
USER = {"role": "user", "content": TEXT}


@pytest.fixture
def expected(live: Live) -> str:
    """The summary of the dialogue."""
    return str(live.engine.summarizer.summarize([TEXT]).texts[0])


def test_the_client_of_openai_gets_a_summary(live: Live, expected: str) -> None:
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(base_url=f"{live.url}/v1", api_key="none", max_retries=0)
    [model] = client.models.list().data
    answer = client.chat.completions.create(model=model.id, messages=[USER], temperature=0.2)
    [choice] = answer.choices
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", expected, "stop")
    assert (answer.truncated, answer.read) == (False, "whole")
    chunks = list(client.chat.completions.create(model=model.id, messages=[USER], stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == expected
    assert chunks[-1].choices[0].finish_reason == "stop"
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="gpt-9", messages=[USER])
    with pytest.raises(openai.BadRequestError, match="is empty"):
        client.chat.completions.create(model=model.id, messages=[{"role": "user", "content": " "}])


def content(live: Live, **changed: object) -> str:
    status, _, text = live.ask("/v1/chat/completions", {"model": "yoyak", "messages": [USER], **changed})
    assert status == 200, text
    return str(json.loads(text)["choices"][0]["message"]["content"])


def test_the_last_message_of_the_user_is_the_dialogue(live: Live, expected: str) -> None:
    history = [
        {"role": "system", "content": "Answer in French."},
        {"role": "user", "content": "#Person1#: 다른 대화"},
        {"role": "assistant", "content": "요약"},
        USER,
    ]
    parts = [{"type": "text", "text": part} for part in TEXT.split("\n")]
    assert content(live, messages=history) == expected
    assert content(live, messages=[{"role": "user", "content": parts}]) == expected


def test_limits_on_tokens_shorten_and_never_lengthen(live: Live, expected: str) -> None:
    default = live.engine.summarizer.generation
    short = default.model_copy(update={"max_new_tokens": 2, "min_new_tokens": 0})
    shorter = live.engine.summarizer.summarize([TEXT], generation=short).texts[0]
    assert content(live, max_tokens=100_000) == expected
    assert content(live, max_completion_tokens=2) == shorter
    assert content(live, max_new_tokens=2, min_new_tokens=0) == shorter


@pytest.mark.parametrize(
    ("changed", "status", "message"),
    [
        ({"model": None}, 400, '"model"'),
        ({"model": "other"}, 404, "not served here"),
        ({"messages": None}, 400, '"messages"'),
        ({"messages": []}, 400, "No message is the user's"),
        ({"messages": ["hello"]}, 400, '"messages"'),
        ({"messages": [{"role": "judge", "content": TEXT}]}, 400, "needs a role"),
        ({"messages": [{"role": "user", "content": 3}]}, 400, "must be the dialogue"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "must be texts"),
        ({"n": 2}, 400, '"n" must be 1'),
        ({"stream": "yes"}, 400, '"stream"'),
        ({"tools": [{}]}, 400, "calls no tools"),
        ({"max_tokens": 0}, 400, '"max_tokens"'),
        ({"num_beams": 99}, 400, "params.num_beams may be at most 32"),
    ],
)
def test_what_cannot_be_done_is_refused_in_openais_shape(live: Live, changed: dict, status: int, message: str) -> None:
    answered, _, text = live.ask("/v1/chat/completions", {"model": "yoyak", "messages": [USER], **changed})
    error = json.loads(text)["error"]
    assert (answered, error["type"]) == (status, "invalid_request_error")
    assert message in error["message"]


@pytest.mark.parametrize(
    "body", [b"", b"[1]", b"{", json.dumps({"model": "yoyak", "messages": [{**USER, "content": ""}]}).encode()]
)
def test_no_error_shows_the_body_of_another_route(live: Live, body: bytes) -> None:
    status, _, text = live.ask("/v1/chat/completions", body)
    assert status == 400
    assert "inputs" not in text
    assert "#Person1#" in text
