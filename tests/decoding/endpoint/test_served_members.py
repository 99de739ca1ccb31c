"""A member that asks an endpoint, served: whose fault a failure is, and who pays for it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from decoding.endpoint.conftest import DIALOGUES, Load
from endpoint_proxy import KEY, Proxy
from live_server import Live, serve_live


@pytest.fixture
def server(proxy: Proxy, load: Load, tmp_path: Path) -> Iterator[Live]:
    """The server of a member, outside a project."""
    (tmp_path / "params.yaml").unlink()
    load(concurrency=1, retries=0)
    with serve_live(tmp_path / "model-solar") as server:
        yield server


@pytest.mark.parametrize("path", ["/invocations", "/v1/chat/completions"])
@pytest.mark.parametrize("fault", ["quota", "404", "500", "no key"])
def test_a_failure_of_the_endpoint_is_not_the_clients_and_tells_it_nothing(
    server: Live, proxy: Proxy, fault: str, path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if fault == "no key":
        monkeypatch.delenv("TEST_API_KEY")
    else:
        proxy.faults.append(fault)
    messages = [{"role": "user", "content": DIALOGUES[0]}]
    body = {"inputs": DIALOGUES[:1]} if path == "/invocations" else {"model": "yoyak", "messages": messages}
    with caplog.at_level(logging.ERROR, logger="yoyak"):
        status, headers, text = server.ask(path, body)
    assert (status, headers["Retry-After"]) == (503, "1")
    error = json.loads(text)
    sentence = error["message"] if path == "/invocations" else error["error"]["message"]
    assert sentence == "Dialogue 1 of 1 cannot be summarized: its endpoint fails; the server's log says more."
    assert ("TEST_API_KEY" if fault == "no key" else proxy.url) in caplog.text
    assert KEY not in caplog.text


def test_a_dialogue_that_fails_makes_no_other_be_paid_for_again(server: Live, proxy: Proxy) -> None:
    proxy.faults.extend(["", "", "400", "400", "400"])
    assert server.ask("/invocations", {"inputs": DIALOGUES[:4]})[0] == 503
    assert server.ask("/invocations", {"inputs": DIALOGUES[:2]})[0] == 200
    asked = [body["messages"][-1]["content"] for body in proxy.asked]
    assert [asked.count(dialogue) for dialogue in DIALOGUES[:2]] == [1, 1]
