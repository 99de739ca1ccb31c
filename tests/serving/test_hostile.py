"""Whatever a client sends gets an answer, and never one that blames the server, names its files or repeats the request.

YOYAK_HOSTILE_REQUESTS=10000 sends that many; by default it is a few hundred. benchmarks/fuzz.py sends the same to a
server in a process of its own, from several clients at once.
"""

from __future__ import annotations

import http.client
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from hostile_requests import BODIES, bodies, find_fault, raw_requests, statuses, types
from live_server import Live, serve_live

REQUESTS = int(os.environ.get("YOYAK_HOSTILE_REQUESTS", "300"))

many = settings(
    max_examples=max(1, REQUESTS // 3), deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)


@pytest.fixture(scope="module")
def page(tiny_export: Path) -> Iterator[Live]:
    """A server with the page of the demo."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("YOYAK_PAGE", '{"model": "yoyak"}')
        with serve_live(tiny_export) as server:
            yield server


def check(live: Live, path: str, body: bytes, kind: str) -> None:
    """Send a body and check the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", live.port, timeout=60)
    connection.request("POST", path, body, {"Content-Type": kind} if kind else {})
    answer = connection.getresponse()
    status, text = answer.status, answer.read().decode()
    connection.close()
    assert not find_fault(path, status, text), (status, text)


@many
@given(body=bodies(BODIES["/invocations"]), kind=types)
def test_any_invocation_is_answered(live: Live, body: bytes, kind: str) -> None:
    check(live, "/invocations", body, kind)


@many
@given(body=bodies(BODIES["/v1/chat/completions"]), kind=types)
def test_any_chat_is_answered(live: Live, body: bytes, kind: str) -> None:
    check(live, "/v1/chat/completions", body, kind)


@settings(many, max_examples=max(1, REQUESTS // 10))
@given(body=bodies(BODIES["/summarize"]), kind=types)
def test_anything_that_a_page_sends_is_answered(page: Live, body: bytes, kind: str) -> None:
    check(page, "/summarize", body, kind)


@settings(many, max_examples=max(1, REQUESTS // 10))
@given(data=raw_requests())
def test_any_bytes_leave_the_server_alive(live: Live, data: bytes) -> None:
    answer = live.send(data)
    assert all(status < 500 for status in statuses(answer)), answer
    assert live.ask("/health")[0] == 200
