"""The server as its operators and its clients see it: what is refused, what is counted, what is logged."""

from __future__ import annotations

import gzip
import http.client
import json
import logging
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from uvicorn.protocols.http.h11_impl import H11Protocol

from live_server import HEAD_SECONDS, Live, serve_live
from yoyak.serving import guard, hosting
from yoyak.serving.continuous import ContinuousBatcher
from yoyak.serving.guard import SMALL
from yoyak.serving.hosting import limit_head
from yoyak.serving.logs import JsonFormatter
from yoyak.serving.memory import MemoryKeeper, resident_bytes

TEXT = "#Person1#: 내일 만나요?"
BODY = {"inputs": [TEXT]}
CHAT = {"model": "yoyak", "messages": [{"role": "user", "content": TEXT}]}
SLOW = {"num_beams": 32, "max_new_tokens": 100, "min_new_tokens": 100}


def samples(live: Live) -> dict[tuple[str, ...], float]:
    """The figures that /metrics has, by their names and the values of their labels."""
    status, headers, text = live.ask("/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """The lines of the server's log."""
    written: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.append(JsonFormatter().format(record))

    handler, logger = Keep(), logging.getLogger("yoyak")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield written
    logger.removeHandler(handler)
    logger.setLevel(before)


def last_line(lines: list[str], status: int) -> dict:
    """The line of the request with this status: it is written after the answer has been sent."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for line in map(json.loads, list(lines)):
            if line.get("status") == status:
                return line
        time.sleep(0.01)
    raise AssertionError(lines)


def test_requests_batches_and_truncated_dialogues_are_counted(live: Live) -> None:
    before = samples(live)
    assert live.ask("/invocations", {"inputs": [TEXT, "네 " * 400]})[0] == 200
    assert live.ask("/invocations", {"inputs": []})[0] == 400
    assert live.ask("/v1/chat/completions", CHAT)[0] == 200
    assert live.ask("/made/up")[0] == 404
    after = samples(live)

    def grew(*key: str) -> float:
        return after[key] - before.get(key, 0)

    assert grew("yoyak_requests_total", "/invocations", "200") == 1
    assert grew("yoyak_requests_total", "/invocations", "400") == 1
    assert grew("yoyak_requests_total", "/v1/chat/completions", "200") == 1
    assert grew("yoyak_requests_total", "other", "404") == 1
    assert grew("yoyak_request_seconds_count", "/invocations") == 2
    assert grew("yoyak_dialogues_total") == 3
    assert grew("yoyak_truncated_dialogues_total") == 1
    # Each step counts as a batch.
    assert 1 <= grew("yoyak_batch_dialogues_sum") / grew("yoyak_batch_dialogues_count") <= 2
    assert grew("yoyak_batch_dialogues_sum") > 3
    assert grew("yoyak_batch_seconds_count") == grew("yoyak_batch_dialogues_count")
    assert after[("yoyak_queue_dialogues",)] == 0
    assert after[("process_resident_memory_bytes",)] > 1e6


def test_health_version_and_readiness(live: Live) -> None:
    for path in ("/health", "/ping", "/ready", "/version", "/openapi.json", "/v1/models"):
        assert live.ask(path)[0] == 200, path
    for path in ("/health", "/ping", "/ready"):
        status, headers, text = live.ask(path, method="HEAD")
        assert (status, headers["Content-Type"], text) == (200, "application/json", ""), path
    schema = json.loads(live.ask("/openapi.json")[2])
    assert {"/invocations", "/v1/chat/completions", "/v1/models", "/health", "/ready", "/metrics"} <= set(
        schema["paths"]
    )
    assert "requestBody" in schema["paths"]["/invocations"]["post"]
    assert live.ask("/summarize", {"dialogue": TEXT})[0] == 404


def test_a_request_has_one_id_in_its_answer_and_in_the_log(live: Live, lines: list[str]) -> None:
    _, headers, _ = live.ask("/invocations", BODY, X_Request_ID="from-the-client.1")
    assert headers["X-Request-ID"] == "from-the-client.1"
    line = last_line(lines, 200)
    assert (line["request_id"], line["path"], line["method"]) == ("from-the-client.1", "/invocations", "POST")
    assert (line["dialogues"], line["truncated"]) == (1, 0)
    assert TEXT not in json.dumps(line, ensure_ascii=False)
    for wrong in ("", "a b", "x" * 65, "é", '"}', "../../etc"):
        made = live.ask("/health", X_Request_ID=wrong)[1]["X-Request-ID"]
        assert len(made) == 32, wrong


def test_nothing_that_is_sent_becomes_a_header_or_a_line_of_the_log(live: Live, lines: list[str]) -> None:
    status, headers, text = live.ask("/%0d%0aX-Evil:%201%0d%0a%7b%22level%22:%22ERROR%22%7d")
    assert status == 404
    assert "X-Evil" not in headers
    assert "Evil" not in text
    line = last_line(lines, 404)
    assert line["level"] == "INFO"
    assert "\n" not in lines[-1]
    answer = live.send(
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: a\r\n X-Evil: 1\r\nConnection: close\r\n\r\n"
    )
    assert b"x-evil" not in answer.lower()


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "", "[::2]"])
def test_a_foreign_host_name_is_refused_on_this_machine(live: Live, host: str) -> None:
    for path, body in (("/health", None), ("/invocations", BODY), ("/v1/chat/completions", CHAT)):
        status, _, text = live.ask(path, body, Host=host)
        assert status == 400
        error = json.loads(text)
        sentence = error["error"]["message"] if path.startswith("/v1/") else error["message"]
        assert sentence == "The Host of this request is not a name of this server: YOYAK_ALLOWED_HOSTS lists its names."
    for own in ("localhost", "127.0.0.1:5001", "[::1]:5001"):
        assert live.ask("/health", Host=own)[0] == 200


def test_host_names_are_allowed_by_name(tiny_export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YOYAK_ALLOWED_HOSTS", "summaries.example, *.internal")
    with serve_live(tiny_export) as live:
        for host, status in (
            ("summaries.example", 200),
            ("a.internal:80", 200),
            ("localhost", 200),
            ("evil.example", 400),
        ):
            assert live.ask("/health", Host=host)[0] == status


@pytest.mark.parametrize("sent", [b"", b"POST /invocations HT", b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: "])
def test_a_client_that_is_slow_with_its_head_is_hung_up_on(live: Live, sent: bytes) -> None:
    started = time.monotonic()
    assert live.send(sent) == b""
    assert time.monotonic() - started >= HEAD_SECONDS * 0.9


def test_a_trickle_does_not_extend_the_time_for_the_head(live: Live) -> None:
    with socket.create_connection(("127.0.0.1", live.port), timeout=60) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: ")
        with pytest.raises(OSError, match=r".*"):
            for _ in range(10_000):
                connection.sendall(b"y")
                connection.settimeout(0.01)
                try:
                    if not connection.recv(1):
                        raise ConnectionResetError
                except TimeoutError:
                    continue


def test_a_body_that_does_not_arrive_is_answered(live: Live) -> None:
    head = (
        b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n"
    )
    answer = live.send(head + b'{"inputs": ["')
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert answer.endswith(b'did not arrive within 2 s."}')


def test_slow_clients_do_not_keep_others_out(tiny_export: Path) -> None:
    with serve_live(tiny_export, max_connections=6) as live:
        slow = [socket.create_connection(("127.0.0.1", live.port)) for _ in range(6)]
        for connection in slow:
            connection.sendall(b"GET /")
        assert wait_for_room(live)
        for connection in slow:
            connection.close()


def wait_for_room(live: Live) -> int:
    """Return how often the server says that it has too many connections before it has room for one more."""
    refused, deadline = 0, time.monotonic() + 30
    while (status := live.ask("/health")[0]) != 200:
        assert status == 503
        refused += 1
        assert time.monotonic() < deadline
    return refused


def test_a_client_that_does_not_take_its_answers_is_hung_up_on(tiny_export: Path) -> None:
    impatient = limit_head(H11Protocol, 3600, 0.5)
    with serve_live(tiny_export, http=impatient) as live, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", live.port))
        client.settimeout(20)
        # The server reads no more once it cannot write what it has answered, so that this would wait for ever.
        with pytest.raises(ConnectionError):
            while True:
                client.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20)


def test_connections_beyond_the_limit_are_closed(tiny_export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosting, "RESERVE", 2)
    patient = limit_head(H11Protocol, 3600)
    with serve_live(tiny_export, max_connections=6, http=patient) as live, ExitStack() as stack:
        for _ in range(7):
            stack.enter_context(socket.create_connection(("127.0.0.1", live.port)))
        assert live.ask("/health")[0] == 503
        stack.enter_context(socket.create_connection(("127.0.0.1", live.port)))
        with pytest.raises(ConnectionResetError):
            live.ask("/health")


def start_body(live: Live, sent: int) -> socket.socket:
    """Return a connection that has sent a part of a body of 3 MB."""
    connection = socket.create_connection(("127.0.0.1", live.port), timeout=60)
    head = "POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
    connection.sendall(f"{head}{3 << 20}\r\n\r\n".encode() + b" " * sent)
    return connection


def test_bodies_are_counted_while_they_arrive_and_keep_no_small_one_out(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "BODIES_AT_ONCE", 1)
    monkeypatch.setattr(guard, "BODY_SECONDS", 30)
    with start_body(live, 2 << 20), start_body(live, (2 << 20) + SMALL) as second:
        assert second.recv(12) == b"HTTP/1.1 503"
        assert live.ask("/invocations", BODY)[0] == 200
    # Both are gone: neither counts any more.
    with start_body(live, 3 << 20) as alone:
        assert alone.recv(12) == b"HTTP/1.1 400"


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_refused_whether_its_length_is_told_or_not(live: Live, chunked: bool) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", live.port, timeout=60)
    parts = [b'{"inputs": ["', *[b"a" * (1 << 20)] * 5, b'"]}']
    body = iter(parts) if chunked else b"".join(parts)
    connection.request("POST", "/invocations", body, {"Content-Type": "application/json"}, encode_chunked=chunked)
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["message"]) == (
        413,
        "The body is larger than 4 MB: send fewer dialogues.",
    )


@pytest.mark.parametrize(("path", "body"), [("/invocations", BODY), ("/v1/chat/completions", CHAT)])
def test_a_compressed_body_is_refused_as_such(live: Live, path: str, body: dict) -> None:
    data = gzip.compress(json.dumps(body).encode())
    status, _, text = live.ask(path, data, Content_Encoding="gzip")
    assert status == 415
    assert "no Content-Encoding is understood." in text
    assert live.ask(path, body, Content_Encoding="identity")[0] == 200


def test_what_is_refused_before_a_route_is_in_the_shape_of_its_clients(live: Live) -> None:
    status, headers, text = live.ask("/v1/chat/completions", b"a" * (5 << 20))
    assert (status, headers["Connection"]) == (413, "close")
    assert json.loads(text)["error"]["type"] == "invalid_request_error"


def test_what_would_take_too_many_tokens_is_refused_and_what_is_large_is_split(live: Live) -> None:
    status, _, text = live.ask("/invocations", {"inputs": [TEXT] * 256, "params": SLOW})
    assert status == 400
    assert "819200 tokens (dialogues x num_beams x max_new_tokens)" in text
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(live.engine, "limits", live.engine.limits.model_copy(update={"max_batch_tokens": 3000}))
        status, _, text = live.ask("/invocations", {"inputs": [TEXT], "params": SLOW})
    assert status == 400
    assert "up to 3200 tokens, but at most 3000 are allowed" in text
    settings = live.engine.summarizer.generation.model_copy(update={"num_beams": 32, "max_new_tokens": 100})
    assert live.engine.rows_at_once(settings) == 8192 // 3200
    assert live.engine.rows_at_once(settings.model_copy(update={"num_beams": 1})) == live.engine.batch_size


def test_a_search_that_does_not_fit_into_memory_is_refused(tiny_export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YOYAK_SERVING_MEMORY_MB", "1")
    with serve_live(tiny_export) as live:
        status, _, text = live.ask("/invocations", {"inputs": [TEXT], "params": SLOW})
        assert status == 400
        assert "at most 1 MB are allowed: lower one of them." in text
        assert live.ask("/invocations", {"inputs": [TEXT], "params": {"num_beams": 1, "max_new_tokens": 4}})[0] == 200


def test_a_large_request_holds_up_none_that_is_small(live: Live) -> None:
    done: list[str] = []

    def large() -> None:
        live.ask("/invocations", {"inputs": [TEXT] * 12, "params": SLOW})
        done.append("large")

    thread = threading.Thread(target=large)
    thread.start()
    while not live.engine.batcher.waiting:
        time.sleep(0.005)
    assert live.ask("/invocations", BODY)[0] == 200
    done.append("small")
    thread.join(120)
    assert done == ["small", "large"]


def test_a_client_that_leaves_frees_the_queue_and_ends_the_search(live: Live, lines: list[str]) -> None:
    body = json.dumps({"inputs": [TEXT] * 60, "params": SLOW}).encode()
    head = "POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {len(body)}"
    with socket.create_connection(("127.0.0.1", live.port)) as connection:
        connection.sendall(head.encode() + b"\r\n\r\n" + body)
        while not live.engine.batcher.waiting:
            time.sleep(0.005)
    assert last_line(lines, 499)["path"] == "/invocations"
    assert live.engine.batcher.waiting == 0
    # Sixty of these take many seconds; what is left of them must not be in front of the next.
    assert live.ask("/invocations", BODY)[0] == 200


def test_a_full_queue_is_told_to_clients_and_to_the_load_balancer(
    tiny_export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YOYAK_SERVING_QUEUE_SIZE", "2")
    released = threading.Event()
    with serve_live(tiny_export) as live:
        batcher = live.engine.batcher
        assert isinstance(batcher, ContinuousBatcher)
        open_run = batcher.open_run

        def open_later(settings: Any, room: int) -> Any:
            assert released.wait(60)
            return open_run(settings, room)

        monkeypatch.setattr(batcher, "open_run", open_later)
        thread = threading.Thread(target=live.ask, args=["/invocations", {"inputs": [TEXT] * 12}])
        thread.start()
        while live.engine.batcher.waiting < 2:
            time.sleep(0.005)
        # Another process of the server may be asked for the figures, so this one keeps its own up to date.
        assert live.engine.metrics is not None
        deadline = time.monotonic() + 60
        while not re.search(rb"yoyak_queue_dialogues [1-9]", live.engine.metrics.render()):
            assert time.monotonic() < deadline
            time.sleep(0.005)
        status, headers, text = live.ask("/invocations", BODY)
        assert (status, headers["Retry-After"]) == (429, "1")
        assert json.loads(text)["error_code"] == "RESOURCE_EXHAUSTED"
        status, _, text = live.ask("/v1/chat/completions", CHAT)
        assert (status, json.loads(text)["error"]["type"]) == (429, "rate_limit_error")
        assert live.ask("/ready")[0] == 503
        assert live.ask("/health")[0] == 200
        released.set()
        thread.join(120)
        assert live.ask("/ready")[0] == 200


def test_a_failure_of_the_model_is_a_500_without_its_reason(
    live: Live, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(settings: object, room: int) -> None:
        raise ValueError("secret of the model")

    monkeypatch.setattr(live.engine.batcher, "open_run", fail)
    for path, body in (("/invocations", BODY), ("/v1/chat/completions", CHAT)):
        status, _, text = live.ask(path, body, X_Request_ID="the-one")
        assert status == 500
        assert "the server's log says more" in text
        assert "secret" not in text
    logged = [json.loads(line) for line in lines if "secret of the model" in line]
    assert [line["request_id"] for line in logged] == ["the-one"] * 2


def test_memory_returns_after_a_large_request() -> None:
    keeper = MemoryKeeper()
    before = resident_bytes()
    # Small pieces, which no allocator gives back by itself while one is left at their end.
    pieces = [bytes(2000) for _ in range(100_000)]
    last = bytes(2000)
    grown = resident_bytes()
    del pieces
    keeper.settle(lambda: None)
    assert last
    assert resident_bytes() - before < (grown - before) / 2
