"""Asking a real server through every failure: what is asked again, what is kept, and when it ends before it costs."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from decoding.endpoint.conftest import DIALOGUES, Load
from endpoint_proxy import KEY, Proxy, count_tokens
from live_server import Live
from yoyak.decoding.endpoint import store
from yoyak.errors import UserError

FAULTS = ["429", "500", "cut", "malformed", "shapeless", "html", "503", "408"]


def test_every_failure_that_may_pass_is_asked_again(proxy: Proxy, load: Load, live: Live) -> None:
    proxy.faults.extend(FAULTS)
    summaries = load().summarize(DIALOGUES)
    assert summaries.texts == live.engine.summarizer.summarize(DIALOGUES).texts
    assert len(proxy.asked) == len(DIALOGUES) + len(FAULTS)
    assert summaries.measures["retries"] == len(FAULTS)
    assert summaries.cut == [False] * len(DIALOGUES)


def test_a_request_says_only_what_it_must(proxy: Proxy, load: Load) -> None:
    load(max_tokens=7).summarize(DIALOGUES[:1])
    message = {"role": "user", "content": DIALOGUES[0]}
    assert proxy.asked == [{"model": "yoyak", "messages": [message], "max_tokens": 7, "temperature": 0.0}]
    proxy.asked.clear()
    load(temperature=None, max_tokens_key="max_completion_tokens", extra_body={"top_k": 1}).summarize(DIALOGUES[:1])
    assert proxy.asked[0].keys() == {"model", "messages", "max_completion_tokens", "top_k"}


def test_a_rerun_asks_nothing_and_reproduces(proxy: Proxy, load: Load) -> None:
    first = load(price={"input": 1, "output": 2}).summarize([*DIALOGUES, *DIALOGUES])
    assert len(proxy.asked) == len(DIALOGUES)
    # Not even a key is needed.
    os.environ.pop("TEST_API_KEY")
    again = load(price={"input": 1, "output": 2}).summarize([*DIALOGUES, *DIALOGUES])
    assert len(proxy.asked) == len(DIALOGUES)
    assert (again.candidates, again.tokens) == (first.candidates, first.tokens)
    assert again.measures["cost"] == 0 < first.measures["cost"]


@pytest.mark.parametrize("changed", [{"temperature": 0.5}, {"max_tokens": 6}, {"extra_body": {"top_k": 1}}])
def test_another_setting_is_another_answer(proxy: Proxy, load: Load, changed: dict[str, Any]) -> None:
    load().summarize(DIALOGUES[:2])
    load(concurrency=1, timeout_seconds=9, retries=1).summarize(DIALOGUES[:2])
    assert len(proxy.asked) == 2
    load(**changed).summarize(DIALOGUES[:2])
    assert len(proxy.asked) == 4


@pytest.mark.parametrize("fault", ["500", "malformed", "cut"])
def test_after_the_last_try_the_answers_are_kept(proxy: Proxy, load: Load, fault: str) -> None:
    member = load(retries=1, concurrency=1)
    proxy.faults.extend(["", "", fault, fault])
    with pytest.raises(UserError, match=r"^members\.solar: .* 2 times; 10 summaries are missing; .* from here\.$"):
        member.summarize(DIALOGUES)
    assert len(proxy.asked) == 4
    member.summarize(DIALOGUES)
    assert len(proxy.asked) == 14


def test_what_is_under_way_when_another_request_fails_is_kept(proxy: Proxy, load: Load) -> None:
    member = load(concurrency=2, retries=0)
    proxy.faults.extend(["slow", "500"])
    threading.Timer(0.2, proxy.released.set).start()
    with pytest.raises(UserError, match="11 summaries are missing"):
        member.summarize(DIALOGUES)
    assert len(proxy.asked) == 2


def test_a_slow_answer_is_given_up(proxy: Proxy, load: Load) -> None:
    proxy.faults.append("slow")
    summaries = load(timeout_seconds=0.5).summarize(DIALOGUES[:1])
    assert len(summaries.texts) == 1
    assert len(proxy.asked) == 2


def test_all_requests_wait_as_long_as_the_endpoint_asks(proxy: Proxy, load: Load) -> None:
    proxy.faults.append("429 0.4")
    load(concurrency=1).summarize(DIALOGUES[:3])
    assert proxy.times[1] - proxy.times[0] >= 0.4
    proxy.faults.append("429 999")
    with pytest.raises(UserError, match="999 s of patience, and max_wait_seconds is 120"):
        load().summarize(DIALOGUES)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("quota", "no money left"),
        ("400", "refuses the request"),
        ("413", "set max_input_chars"),
        ("404", "no model 'yoyak'"),
    ],
)
def test_what_does_not_pass_is_not_asked_again(proxy: Proxy, load: Load, fault: str, sentence: str) -> None:
    proxy.faults.append(fault)
    with pytest.raises(UserError, match=sentence) as caught:
        load(concurrency=1).summarize(DIALOGUES)
    assert len(proxy.asked) == 1
    assert KEY not in str(caught.value)


def test_a_wrong_key_is_named_by_its_variable(proxy: Proxy, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_API_KEY", "sk-wrong-0123456789abcdef")
    with pytest.raises(UserError, match="refuses the key in TEST_API_KEY") as caught:
        load().summarize(DIALOGUES)
    assert "sk-wrong" not in str(caught.value)
    monkeypatch.setenv("TEST_API_KEY", "sk-wrong\n0123456789 abcdef")
    with pytest.raises(UserError, match="TEST_API_KEY holds spaces") as caught:
        load().summarize(DIALOGUES)
    assert "sk-wrong" not in str(caught.value)
    monkeypatch.delenv("TEST_API_KEY")
    with pytest.raises(UserError, match="the environment variable TEST_API_KEY is not set"):
        load().summarize(DIALOGUES)


def cost_of(dialogue: str) -> int:
    usage = count_tokens({"messages": [{"content": dialogue}]})
    return usage["prompt_tokens"] + usage["completion_tokens"]


def test_the_budget_ends_before_it_is_exceeded(proxy: Proxy, load: Load) -> None:
    price, cost = {"input": 1e6, "output": 1e6}, cost_of(DIALOGUES[0])
    member = load(price=price, budget=500, max_tokens=20)
    with pytest.raises(UserError, match=r"budget of 500, of which \d+ is spent; \d+ summaries are missing"):
        member.summarize(DIALOGUES)
    paid = proxy.answered * cost
    assert 0 < paid <= 500
    assert paid == member.asker.store.spent("solar")
    # The same budget pays for nothing more, a higher one for the rest.
    with pytest.raises(UserError):
        load(price=price, budget=500, max_tokens=20).summarize(DIALOGUES)
    assert proxy.answered * cost == paid
    assert len(load(price=price, budget=5000, max_tokens=20).summarize(DIALOGUES).texts) == len(DIALOGUES)
    assert proxy.answered == len(DIALOGUES)


def test_an_answer_that_was_lost_counts_in_full(proxy: Proxy, load: Load) -> None:
    member = load(price={"input": 0, "output": 1e6}, budget=1000, max_tokens=20, concurrency=1)
    proxy.faults.extend(["malformed", "500"])
    member.summarize(DIALOGUES[:1])
    assert member.asker.store.spent("solar") == 20 + 10


def test_tokens_are_bounded_where_the_endpoint_counts_none(proxy: Proxy, load: Load) -> None:
    proxy.counts_tokens = False
    summaries = load(price={"input": 1e6, "output": 1e6}, budget=1e6).summarize(DIALOGUES[:1])
    assert summaries.tokens.read >= len(DIALOGUES[0].encode())
    assert summaries.measures["cost"] == summaries.tokens.read + summaries.tokens.written


@pytest.mark.parametrize("limit", [{"requests_per_minute": 600}, {"tokens_per_minute": 600 * 60, "max_tokens": 10}])
def test_requests_are_spaced(proxy: Proxy, load: Load, limit: dict[str, Any]) -> None:
    load(**limit).summarize(DIALOGUES[:4])
    assert proxy.times[3] - proxy.times[0] >= 0.25


def test_an_interruption_keeps_what_was_answered(proxy: Proxy, load: Load) -> None:
    member = load(concurrency=2)
    proxy.hold_after = 5

    def interrupt() -> None:
        assert proxy.all_asked.wait(30)
        os.kill(os.getpid(), 2)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        member.summarize(DIALOGUES)
    thread.join()
    asked, proxy.hold_after = len(proxy.asked), None
    proxy.released.set()
    assert asked in (6, 7)
    assert len(load().summarize(DIALOGUES).texts) == len(DIALOGUES)
    assert len(proxy.asked) - asked in (len(DIALOGUES) - 5, len(DIALOGUES) - 4)


def test_long_dialogues_are_cut_where_params_say(proxy: Proxy, load: Load) -> None:
    summaries = load(max_input_chars=20).summarize([DIALOGUES[0], "#Person1#: 네."])
    assert summaries.cut == [True, False]
    assert sorted(len(body["messages"][-1]["content"]) for body in proxy.asked) == [13, 20]


def test_answers_are_kept_without_the_dialogues(proxy: Proxy, load: Load, tmp_path: Path) -> None:
    load().summarize(DIALOGUES[:1])
    with sqlite3.connect(tmp_path / ".yoyak/answers.db") as file:
        [row] = file.execute("SELECT * FROM answers").fetchall()
    assert "버스를 타세요" not in json.dumps(row, ensure_ascii=False)


def test_outside_a_project_answers_are_kept_in_memory(
    proxy: Proxy, load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "KEPT_IN_MEMORY", 2)
    (tmp_path / "params.yaml").unlink()
    member = load(price={"input": 1, "output": 1}, budget=1)
    first, second, third = DIALOGUES[:3]
    for dialogue in (first, second, first, third, first):
        member.summarize([dialogue])
    assert len(proxy.asked) == 3
    # The one that was not used for longest has made room.
    member.summarize([second])
    assert len(proxy.asked) == 4
    assert not (tmp_path / ".yoyak").exists()
    assert member.asker.store.spent("solar") > 0
    load().summarize([second])
    assert len(proxy.asked) == 5
