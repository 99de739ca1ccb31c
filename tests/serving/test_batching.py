"""Many at once: each gets its own answers, whatever befalls the others."""

import copy
import gc
import os
import pickle
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import Future

import pytest

from yoyak.decoding.deadline import check_deadline
from yoyak.errors import UserError
from yoyak.params import Generation
from yoyak.serving import batching
from yoyak.serving.batching import Batcher
from yoyak.serving.queued import Answer, DialogueFailedError, QueueFullError, QueueTimeoutError, WorkerDiedError

PLAIN = Generation(max_new_tokens=8)
OTHER = Generation(max_new_tokens=16)


class Echo:
    """Answers each text with itself and the settings, notes its batches, and does as it is told by the text."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.batches: list[list[str]] = []
        self.threads: set[int] = set()
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, texts: list[str], settings: Generation) -> list[Answer]:
        self.threads.add(threading.get_ident())
        self.batches.append(texts)
        self.gate.wait(10)
        time.sleep(self.seconds)
        for text in texts:
            if text == "poison":
                raise RuntimeError("secret of the model")
            if text == "too long":
                raise UserError("The model has no room for it.")
            if text == "exit":
                raise SystemExit(3)
            if text == "memory":
                raise MemoryError
        return [self.answer(text, settings) for text in texts]

    def answer(self, text: str, settings: Generation) -> Answer:
        return Answer(f"{settings.max_new_tokens} {text}", len(text) > 50)

    def hold(self, batcher: Batcher) -> Future:
        """Return once the worker has a first batch in its hands, which it keeps until the gate is opened."""
        self.gate.clear()
        before = len(self.batches)
        held = begin(batcher.ask, ["held"], PLAIN)
        until(lambda: len(self.batches) > before)
        return held


def until(condition) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def begin(function, *arguments) -> Future:
    """Call a function in a thread that a failing test does not wait for."""
    future: Future = Future()

    def run() -> None:
        try:
            future.set_result(function(*arguments))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def ask_behind(batcher: Batcher, *requests):
    """Ask one request after the other, each known to wait in the queue before the next."""
    futures = []
    for texts, settings in requests:
        waiting = batcher.waiting
        futures.append(begin(batcher.ask, texts, settings))
        until(lambda waiting=waiting, texts=texts: batcher.waiting == waiting + len(texts))
    return futures


def test_many_threads_get_their_own_answers_in_order():
    echo = Echo(0.0005)
    batcher = Batcher(echo, batch_size=8, max_wait=0.002, capacity=10_000)

    def client(number: int) -> None:
        settings = PLAIN if number % 3 else OTHER
        for turn in range(20):
            texts = [
                f"{number}/{turn}/{index} " + "네" * (number * turn * (index + 5) % 97)
                for index in range(1 + number % 5)
            ]
            assert batcher.ask(texts, settings) == [echo.answer(text, settings) for text in texts]

    for future in [begin(client, number) for number in range(32)]:
        future.result(60)
    assert len(echo.threads) == 1
    assert max(map(len, echo.batches)) == 8
    assert sum(map(len, echo.batches)) == sum(20 * (1 + number % 5) for number in range(32))


def test_only_equal_settings_and_like_lengths_share_a_batch():
    echo = Echo()
    batcher = Batcher(echo, batch_size=2)
    held = echo.hold(batcher)
    requests = [("a" * 5, PLAIN), ("b" * 90, PLAIN), ("c" * 6, PLAIN), ("d" * 5, OTHER), ("e" * 91, PLAIN)]
    futures = ask_behind(batcher, *([[text], settings] for text, settings in requests))
    echo.gate.set()
    assert [f.result(20)[0].summary for f in futures] == [f"{asked.max_new_tokens} {text}" for text, asked in requests]
    held.result(20)
    assert [sorted(text[0] for text in batch) for batch in echo.batches[1:]] == [["a", "c"], ["b", "e"], ["d"]]


@pytest.mark.parametrize("bad", ["poison", "memory", "too long"])
def test_a_bad_row_fails_alone(bad):
    echo = Echo()
    batcher = Batcher(echo, batch_size=16)
    held = echo.hold(batcher)
    good = ask_behind(batcher, *([[f"good {number}"], PLAIN] for number in range(5)))
    [wrong] = ask_behind(batcher, (["fine", bad, "fine too"], PLAIN))
    good += ask_behind(batcher, *([[f"more {number}"], PLAIN] for number in range(5)))
    echo.gate.set()
    assert len({future.result(20)[0].summary for future in good}) == 10
    with pytest.raises(DialogueFailedError, match="Dialogue 2 of 3") as failed:
        wrong.result(20)
    held.result(20)
    assert "secret" not in str(failed.value)
    assert isinstance(failed.value.__cause__, UserError) == (bad == "too long")
    assert batcher.ask(["next"], PLAIN) == [echo.answer("next", PLAIN)]


def test_a_full_queue_refuses_at_once_and_recovers():
    echo = Echo()
    batcher = Batcher(echo, batch_size=4, capacity=5)
    held = echo.hold(batcher)
    waiting = ask_behind(batcher, (["a", "b", "c", "d"], PLAIN))
    # The worker is held, so that a request that waited would never return.
    with pytest.raises(QueueFullError, match=r"\b5\b.*\b4\b.*\b2\b"):
        batcher.ask(["e", "f"], PLAIN)
    waiting += ask_behind(batcher, (["g"], PLAIN))
    echo.gate.set()
    assert [len(future.result(20)) for future in waiting] == [4, 1]
    held.result(20)
    # One that is alone is taken, or it could never be.
    assert len(batcher.ask([str(number) for number in range(20)], PLAIN)) == 20


def test_big_and_small_requests_do_not_block_each_other():
    echo = Echo()
    batcher = Batcher(echo, batch_size=4)
    held = echo.hold(batcher)
    [big] = ask_behind(batcher, ([f"big {number}" for number in range(40)], PLAIN))
    small = ask_behind(batcher, *([[f"small {number}"], PLAIN] for number in range(3)))
    odd = ask_behind(batcher, *([[f"odd {number}"], OTHER] for number in range(2)))
    echo.gate.set()
    assert [answer.summary for answer in big.result(20)] == [f"8 big {number}" for number in range(40)]
    assert all(future.result(20) for future in small + odd)
    held.result(20)
    kinds = [[text.split()[0] for text in batch] for batch in echo.batches[1:]]
    assert {kind for batch in kinds[:3] for kind in batch} == {"big", "small", "odd"}
    assert {kind for batch in kinds[3:] for kind in batch} == {"big"}
    assert "big" in kinds[0] and len(kinds) <= 12


def test_no_request_starves_behind_a_stream_of_others():
    echo = Echo(0.001)
    batcher = Batcher(echo, batch_size=2)
    stop = threading.Event()

    def stream(number: int) -> None:
        while not stop.is_set():
            batcher.ask(["네" * number], PLAIN)

    streams = [begin(stream, number) for number in range(1, 9)]
    started = len(echo.batches)
    # Of another length and other settings than all the others.
    assert len(begin(batcher.ask, ["긴 말 " * 40] * 6, OTHER).result(20)) == 6
    assert len(echo.batches) - started < 60
    stop.set()
    [future.result(20) for future in streams]


def test_the_wait_for_others_is_bounded_and_ends_with_a_full_batch():
    echo = Echo()
    started = time.monotonic()
    Batcher(echo, batch_size=3, max_wait=0.3).ask(["alone"], PLAIN)
    assert time.monotonic() - started >= 0.3
    batcher = Batcher(echo, batch_size=3, max_wait=3600)
    for future in [begin(batcher.ask, [text], PLAIN) for text in "abc"]:
        future.result(60)
    assert list(map(len, echo.batches)) == [1, 3]


def test_a_dead_worker_is_noticed_and_replaced():
    echo = Echo()
    batcher = Batcher(echo, batch_size=4)
    held = echo.hold(batcher)
    [dies] = ask_behind(batcher, (["exit"], PLAIN))
    [waits] = ask_behind(batcher, (["waits"], OTHER))
    echo.gate.set()
    with pytest.raises(WorkerDiedError, match="send it again"):
        dies.result(5)
    assert waits.result(5) == [echo.answer("waits", OTHER)]
    held.result(20)
    assert batcher.ask(["next"], PLAIN) == [echo.answer("next", PLAIN)]


def test_a_request_that_waited_too_long_fails_and_costs_nothing():
    echo = Echo()
    batcher = Batcher(echo, batch_size=1, timeout=3600)
    held = echo.hold(batcher)
    late = batcher.submit(["late"], PLAIN)
    late.deadline = time.monotonic()
    echo.gate.set()
    with pytest.raises(QueueTimeoutError, match="3600 s"):
        late.future.result(20)
    held.result(20)
    assert ["late"] not in echo.batches


def test_copies_and_pickles_have_their_own_threads():
    batcher = Batcher(len_of, batch_size=2, max_wait=0.001, capacity=7, timeout=3.0)
    assert batcher.ask(["네"], PLAIN)
    for copied in (copy.deepcopy(batcher), pickle.loads(pickle.dumps(batcher))):
        assert (copied.batch_size, copied.max_wait, copied.capacity, copied.timeout) == (2, 0.001, 7, 3.0)
        assert copied.ask(["네네"], PLAIN) == [Answer("2", False)]


def len_of(texts: list[str], settings: Generation) -> list[Answer]:
    return [Answer(str(len(text)), False) for text in texts]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_starts_with_its_own_queue_and_thread():
    echo = Echo()
    batcher = Batcher(echo, batch_size=2)
    held = echo.hold(batcher)
    [waits] = ask_behind(batcher, (["waits"], PLAIN))
    child = os.fork()
    if child == 0:
        empty = batcher.waiting == 0
        echo.gate.set()
        os._exit(0 if empty and batcher.ask(["own"], PLAIN) == [echo.answer("own", PLAIN)] else 1)
    assert os.waitpid(child, 0)[1] == 0
    echo.gate.set()
    assert held.result(20) and waits.result(20)


def test_an_idle_batcher_ends_its_thread_and_frees_its_model(monkeypatch):
    monkeypatch.setattr(batching, "IDLE", 0.05)
    before = set(threading.enumerate())
    echo = Echo()
    batcher = Batcher(echo, batch_size=2)
    batcher.ask(["네"], PLAIN)
    until(lambda: set(threading.enumerate()) <= before)
    assert batcher.ask(["again"], PLAIN)
    alive = weakref.ref(echo)
    del echo, batcher
    until(lambda: gc.collect() >= 0 and alive() is None)


def test_the_interpreter_ends_while_the_worker_waits_or_works():
    code = """
import threading, time
from yoyak.params import Generation
from yoyak.serving.batching import Answer, Batcher
def work(texts, settings):
    time.sleep(0 if texts == ["quick"] else 3600)
    return [Answer(text, False) for text in texts]
batcher = Batcher(work, batch_size=1)
batcher.ask(["quick"], Generation())
threading.Thread(target=batcher.ask, args=[["slow"], Generation()], daemon=True).start()
time.sleep(0.2)
print("end")
"""
    # The work takes an hour: if the interpreter waited for it, this would time out.
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert (completed.stdout, completed.stderr) == ("end\n", "")


def test_a_batch_that_nobody_waits_for_any_more_is_ended():
    steps = []

    def search(texts: list[str], settings: Generation) -> list[Answer]:
        while True:
            check_deadline()
            steps.append(texts)
            time.sleep(0.001)

    batcher = Batcher(search, batch_size=2, timeout=3600)
    both = [batcher.submit([text], PLAIN) for text in "ab"]
    until(lambda: steps)
    for request in both:
        request.deadline = time.monotonic()
    for request in both:
        with pytest.raises(QueueTimeoutError, match="3600 s"):
            request.future.result(20)
    batcher.work = Echo()
    assert batcher.ask(["next"], PLAIN)
    assert steps[-1] in (["a"], ["b"], ["a", "b"])


def test_a_request_that_is_withdrawn_leaves_the_queue_and_ends_only_its_own_search():
    begun, ended = threading.Event(), threading.Event()

    def search(texts: list[str], settings: Generation) -> list[Answer]:
        begun.set()
        try:
            while "patient" not in texts:
                check_deadline()
                time.sleep(0.001)
        finally:
            ended.set()
        return [Answer(text, False) for text in texts]

    batcher = Batcher(search, batch_size=1)
    leaving = batcher.submit(["leaving"], PLAIN)
    assert begun.wait(20)
    behind = batcher.submit(["behind", "behind too"], PLAIN)
    patient = batcher.submit(["patient"], PLAIN)
    assert batcher.waiting == 3
    batcher.withdraw(behind)
    assert batcher.waiting == 1
    assert not ended.is_set()
    batcher.withdraw(leaving)
    assert patient.future.result(20) == [Answer("patient", False)]


def test_a_batch_has_as_many_rows_as_fit():
    echo = Echo()
    batcher = Batcher(echo, batch_size=8, rows_at_once=lambda settings: 16 // settings.max_new_tokens)
    held = echo.hold(batcher)
    small, large = ask_behind(batcher, ([str(number) for number in range(5)], PLAIN), (["x", "y", "z"], OTHER))
    echo.gate.set()
    assert (len(small.result(20)), len(large.result(20)), len(held.result(20))) == (5, 3, 1)
    assert {len(batch) for batch in echo.batches[1:] if batch[0] in "xyz"} == {1}
    assert max(len(batch) for batch in echo.batches) == 2


def test_a_long_search_is_ended_once_others_have_waited_for_it_and_not_before():
    def search(texts: list[str], settings: Generation) -> list[Answer]:
        steps = 0
        while settings == OTHER and (steps < 300 or "endless" in texts):
            check_deadline()
            time.sleep(0.001)
            steps += 1
        return [Answer(text, False) for text in texts]

    limits = {PLAIN.max_new_tokens: float("inf"), OTHER.max_new_tokens: 0.1}
    batcher = Batcher(search, batch_size=2, patience=lambda settings: limits[settings.max_new_tokens])
    # Nobody waits but itself: it may take three times as long.
    assert len(batcher.ask(["a", "b", "c"], OTHER)) == 3
    long = batcher.submit(["endless"] * 5, OTHER)
    until(lambda: batcher.waiting == 3)
    assert batcher.ask(["normal"], PLAIN) == [Answer("normal", False)]
    with pytest.raises(QueueTimeoutError, match=r"ended after 0\.1 s of work, since others were waiting"):
        long.future.result(20)
    until(lambda: batcher.waiting == 0)
