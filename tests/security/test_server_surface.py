"""What reaches a model's server beside bodies: heads without end, WebSockets, paths that look like lines of a log."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from live_server import Live, serve_live
from yoyak.serving.guard import Guard
from yoyak.serving.hosting import HEAD_BYTES, limit_head
from yoyak.serving.logs import JsonFormatter
from yoyak.serving.metrics import Metrics

FORGED = "ERROR: the disk is full"


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\x85", "\x0b", "\x1c", "\r", "\n"])
def test_a_path_is_one_line_of_the_log_for_every_reader(live: Live, caplog: pytest.LogCaptureFixture, end: str) -> None:
    with caplog.at_level(logging.INFO, logger="yoyak.requests"):
        quoted = "".join(f"%{byte:02x}" for byte in end.encode())
        assert live.ask(f"/{quoted}{FORGED.replace(' ', '%20')}")[0] == 404
        # It is logged after it has been answered.
        deadline = time.monotonic() + 60
        while not caplog.records and time.monotonic() < deadline:
            time.sleep(0.01)
    line = JsonFormatter().format(caplog.records[-1])
    assert len(line.splitlines()) == 1
    assert json.loads(line)["path"] == f"/{end}{FORGED}"


def test_no_code_for_a_terminal_reaches_the_log() -> None:
    record = logging.LogRecord("yoyak", logging.INFO, "", 0, "요약 \x1b[2J \x9b2J \x7f \u202e \u200b %s", ("é",), None)
    line = JsonFormatter().format(record)
    assert line.isprintable()
    assert json.loads(line)["message"] == record.getMessage()
    assert "요약" in line and "é" in line


def test_a_head_without_end_is_hung_up_on(tiny_export: Path) -> None:
    """h11 has a limit of its own, which is lifted here; httptools, where it is installed, has none."""
    patient = limit_head(H11Protocol, 3600)
    with serve_live(tiny_export, http=patient, h11_max_incomplete_event_size=1 << 30) as server:
        head = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX: "
        assert server.send(head + b"a" * (HEAD_BYTES // 2) + b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
        with suppress(ConnectionError):
            assert server.send(head + b"a" * (8 * HEAD_BYTES)) == b""
        assert server.ask("/health")[0] == 200


def test_many_small_requests_of_one_connection_are_not_a_long_head(live: Live) -> None:
    one = b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * (HEAD_BYTES // 4) + b"\r\n"
    answer = live.send((one + b"\r\n") * 8 + one + b"Connection: close\r\n\r\n")
    assert answer.count(b"HTTP/1.1 200 ") == 9


def ask_guard(scope: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what the guard of an application without routes sends."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    guard = Guard(Starlette(), metrics=Metrics(), max_bytes=1 << 20)
    asyncio.run(guard({"path": "/", "headers": [], "method": "GET", "query_string": b"", **scope}, receive, send))
    return sent


def test_a_websocket_is_refused_and_not_a_failure() -> None:
    assert ask_guard({"type": "websocket"}) == [{"type": "websocket.close"}]


def test_a_length_in_digits_of_another_script_is_not_a_failure() -> None:
    """No server of today hands such a header on."""
    [start, _] = ask_guard({"type": "http", "headers": [(b"host", b"localhost"), (b"content-length", b"\xb2")]})
    assert start["status"] == 404
