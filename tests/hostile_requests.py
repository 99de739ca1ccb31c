"""Requests that no client should send: bodies of every route, made up by hypothesis, and what their answers must be.

It needs neither pytest nor a model: benchmarks/fuzz.py sends them to a server of its own.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

CANARY = "zqxcanary"
"""In whatever a client makes up, and so never in an error."""
SECRETS = ("Traceback", ".py", "site-packages", "Error(")
"""Signs of a traceback, a path or an object of Python."""
REFUSALS = (400, 404, 405, 413, 415)
"""The statuses of what is wrong with a body, a path or a method."""

words = st.sampled_from(
    ["", CANARY, f"#Person1#: {CANARY} 네", "안녕 " * 300, "\x00", "\ud83d", "12.5", "None", "a,b\n"]
)
texts = words | st.text(max_size=30)
numbers = (
    st.integers(-3, 9) | st.integers() | st.floats() | st.sampled_from([10**40, 10**4000, -(10**400), 0.5, 33, 1025])
)
scalars = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=8
)
good = st.sampled_from(["#Person1#: 내일 만나요?", "#Person1#: 네\n#Person2#: 아니요"])
PARAMS = ["num_beams", "max_new_tokens", "min_new_tokens", "length_penalty", "no_repeat_ngram_size",
          "repetition_penalty", CANARY]  # fmt: skip
params = st.dictionaries(st.sampled_from(PARAMS), st.integers(1, 4) | values, max_size=3)
columns = st.lists(good | values, max_size=5)
invocations = st.fixed_dictionaries(
    {},
    optional={
        "inputs": columns | values | st.fixed_dictionaries({"dialogue": columns | values}),
        "dataframe_records": st.lists(st.fixed_dictionaries({"dialogue": good | values}) | values, max_size=3),
        "dataframe_split": st.fixed_dictionaries(
            {"columns": st.just(["dialogue"]) | values, "data": st.lists(st.lists(good | values, max_size=2)) | values}
        ),
        "params": params | values,
        CANARY: values,
    },
)
messages = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "system", "assistant"]) | values, "content": good | values},
        optional={CANARY: values},
    )
    | values,
    max_size=4,
)
chats = st.fixed_dictionaries(
    {"model": st.just("yoyak") | values, "messages": messages | values},
    optional={
        "stream": values | st.booleans(), "n": values, "max_tokens": values | st.integers(1, 9), "tools": values,
        "num_beams": values, "temperature": values,
    },
)  # fmt: skip
pages = st.fixed_dictionaries(
    {"dialogue": good | values}, optional={"num_beams": st.integers(1, 4) | values, "max_new_tokens": values}
)
BODIES: dict[str, Any] = {"/invocations": invocations, "/v1/chat/completions": chats, "/summarize": pages}
"""Objects that each route takes, or nearly; /summarize is a route of the page."""
types = st.sampled_from(
    ["application/json"] * 6
    + ["application/json; charset=utf-8", "application/json; charset=zqxcanary", "text/csv", "text/plain", "",
       "application/vnd.apache.parquet", "multipart/form-data; boundary=zqxcanary", CANARY]
)  # fmt: skip
heads = st.just(b"") | st.binary(max_size=120)
lines = st.sampled_from(
    [b"", b"GET / HTTP/1.1\r\n", b"POST /invocations HTTP/1.1\r\n", b"GET /\xff HTTP/1.0\r\n",
     b"OPTIONS * HTTP/1.1\r\n", b"CONNECT evil.example:443 HTTP/1.1\r\n",
     b"GET http://evil.example/health HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n",
     b"GET /metrics HTTP/1.1\r\nHost: evil.example\r\n"]
)  # fmt: skip
lengths = st.sampled_from(
    [b"", b"Content-Length: -1\r\n", b"Content-Length: 99999999999999999999\r\n", b"Content-Length: \xb2\r\n",
     b"Content-Length: 3\r\nContent-Length: 4\r\n", b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
     b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\nContent-Length: 9\r\n",
     b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
     b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
     b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"]
)  # fmt: skip


@st.composite
def bodies(draw: st.DrawFn, valid: Any) -> bytes:
    """A body that is right, nearly right, or nothing of the kind."""
    kind = draw(st.sampled_from(["json"] * 6 + ["cut", "flipped", "bytes", "csv", "deep", "long"]))
    if kind == "bytes":
        return draw(st.binary(max_size=200))
    if kind == "csv":
        return ("dialogue\n" + draw(texts) + "\n").encode(errors="surrogatepass")
    if kind == "deep":
        brackets = draw(st.sampled_from(["[", '{"a":', '{"inputs": [', '[{"inputs":']))
        return (brackets * draw(st.integers(1, 30_000))).encode()
    if kind == "long":
        digit, count = draw(st.sampled_from('19.-e\\"')), draw(st.integers(1, 20_000))
        return f'{{"inputs": ["#Person1#: {CANARY}"], "params": {{"num_beams": {digit * count}}}}}'.encode()
    body = json.dumps(draw(valid), ensure_ascii=draw(st.booleans())).encode(errors="surrogatepass")
    if kind == "cut":
        return body[: draw(st.integers(0, len(body)))]
    if kind == "flipped" and body:
        index = draw(st.integers(0, len(body) - 1))
        return body[:index] + draw(st.binary(min_size=1, max_size=1)) + body[index + 1 :]
    return body


@st.composite
def raw_requests(draw: st.DrawFn) -> bytes:
    """Bytes that may be a request, after which the connection shall be closed."""
    host = draw(st.sampled_from([b"Host: localhost\r\n", b"Host: localhost\r\nHost: evil.example\r\n", b"Host: \r\n"]))
    return draw(lines) + host + b"Connection: close\r\n" + draw(lengths) + draw(heads) + b"\r\n\r\n"


def statuses(answer: bytes) -> list[int]:
    """Return the statuses of the answers in what a server has sent."""
    return [int(part.split(b" ")[1]) for part in answer.split(b"\r\n") if part.startswith(b"HTTP/1.1 ")]


def find_fault(path: str, status: int, text: str) -> str:
    """Return what is wrong with an answer, or nothing: an error is the client's, and one plain sentence."""
    try:
        answer: Any = json.loads(text) if not text.startswith("data: ") else None
    except ValueError:
        return "neither JSON nor a stream of events"
    if status == 200:
        return _find_wrong_summary(path, answer, text)
    if status not in REFUSALS:
        return "a status that is not the client's fault"
    message = answer["message"] if "message" in answer else answer["error"]["message"]
    if not message.endswith(".") or "\n" in message:
        return "not one sentence"
    if CANARY in text:
        return "repeats what was sent"
    return "shows the server's inside" if any(secret in text for secret in SECRETS) else ""


def _find_wrong_summary(path: str, answer: Any, text: str) -> str:
    if answer is None:
        return "" if text.endswith("data: [DONE]\n\n") else "a stream without its end"
    rows = {
        "/invocations": lambda: answer["predictions"],
        "/v1/chat/completions": lambda: [
            {"summary": answer["choices"][0]["message"]["content"], "truncated": False, "read": "whole"}
        ],
    }.get(path, lambda: [answer])()
    is_right = all(set(row) == {"summary", "truncated", "read"} and isinstance(row["summary"], str) for row in rows)
    return "" if is_right else "not a summary"
