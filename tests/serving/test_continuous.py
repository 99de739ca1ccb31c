"""Dialogues join and leave while others are written, and nobody's answer depends on who else is there."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from yoyak.decoding.onnx.run import Finished, Reading, Run
from yoyak.decoding.onnx.runtime import OnnxSummarizer
from yoyak.errors import UserError
from yoyak.params import Generation
from yoyak.serving.continuous import ContinuousBatcher
from yoyak.serving.engine import Engine
from yoyak.serving.queued import (
    Answer,
    DialogueFailedError,
    QueueFullError,
    QueueTimeoutError,
    Request,
    WorkerDiedError,
)

SHORT = Generation(max_new_tokens=2, num_beams=1, num_return_sequences=1)
LONG = Generation(max_new_tokens=110, min_new_tokens=110, num_beams=1, num_return_sequences=1)
BEAMS = Generation(max_new_tokens=12, num_beams=3, num_return_sequences=1)
DIALOGUES = [f"#Person1#: {number} 시에 봐요.{' 늦지 마세요.' * (number % 7)}\n#Person2#: 네." for number in range(40)]


class Fragile(Run):
    """Fails where a dialogue says so."""

    def read(self, dialogue: str) -> Reading:
        if "unreadable" in dialogue:
            raise UserError("The model has no room for it.")
        if "exit" in dialogue:
            raise SystemExit(3)
        return super().read(dialogue)

    def add(self, readings: Sequence[Reading]) -> None:
        if any("unencodable" in reading.dialogue for reading in readings):
            raise RuntimeError("secret of the encoder")
        super().add(readings)

    def step(self) -> list[tuple[Reading, Finished]]:
        if any("poison" in reading.dialogue for reading in self.readings):
            raise RuntimeError("secret of the decoder")
        return super().step()


class Bench:
    """A batcher of a real model, with what its steps were."""

    def __init__(self, summarizer: OnnxSummarizer, pause: float = 0.0, **options: Any) -> None:
        self.summarizer, self.pause = summarizer, pause
        self.counts: list[int] = []
        """Dialogues of each step."""
        self.batches: list[list[str]] = []
        """What was summarized in batches, since it failed in a run."""
        self.batcher = ContinuousBatcher(
            self.work,
            open_run=lambda settings, room: Fragile(summarizer, settings, room=room),
            observe=self.observe,
            **{"batch_size": 8, **options},
        )

    def work(self, texts: list[str], settings: Generation) -> list[Answer]:
        self.batches.append(texts)
        if any(word in text for text in texts for word in ("poison", "unencodable")):
            raise RuntimeError("secret of the model")
        return self.expect(texts, settings)

    def expect(self, texts: list[str], settings: Generation) -> list[Answer]:
        found = [self.summarizer.summarize([text], generation=settings) for text in texts]
        return [Answer(one.texts[0], one.cut[0], one.read[0]) for one in found]

    def observe(self, count: int, seconds: float, answers: Sequence[Answer]) -> None:
        self.counts.append(count)
        time.sleep(self.pause)

    def begin(self, texts: list[str], settings: Generation) -> Request:
        return self.batcher.submit(texts, settings)

    def begin_and_wait(self, texts: list[str], settings: Generation) -> Request:
        """Ask, and return once the first token is written."""
        request, before = self.begin(texts, settings), len(self.counts)
        until(lambda: len(self.counts) > before)
        return request


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.fixture(scope="module")
def summarizer(tiny_export: Path) -> Iterator[OnnxSummarizer]:
    yield OnnxSummarizer.load(tiny_export, threads=1)


def test_each_gets_its_own_answers(summarizer: OnnxSummarizer) -> None:
    bench = Bench(summarizer, capacity=1000)

    def client(number: int) -> None:
        for turn in range(6):
            texts = [DIALOGUES[(7 * number + 3 * turn + index) % 40] for index in range(1 + number % 3)]
            settings = BEAMS if number % 2 else SHORT
            assert bench.batcher.ask(texts, settings) == bench.expect(texts, settings)

    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            client(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors
    assert 1 < max(bench.counts) <= 8
    assert not bench.batches


@pytest.mark.parametrize("batching", ["continuous", "static"])
def test_a_setting_chooses_it(tiny_export: Path, batching: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YOYAK_SERVING_BATCHING", batching)
    engine = Engine(tiny_export, served=True)
    assert isinstance(engine.batcher, ContinuousBatcher) == (batching == "continuous")
    answers = engine.ask(*engine.prepare(DIALOGUES[:3], {"num_beams": 2}))
    assert [answer.summary for answer in answers] == [
        engine.summarizer.summarize([text], generation=engine.prepare([text], {"num_beams": 2})[1]).texts[0]
        for text in DIALOGUES[:3]
    ]


def test_a_short_request_overtakes_a_long_one(summarizer: OnnxSummarizer) -> None:
    bench = Bench(summarizer, 0.002)
    long = bench.begin_and_wait(DIALOGUES[:5], LONG)
    assert bench.batcher.ask(DIALOGUES[5:6], SHORT) == bench.expect(DIALOGUES[5:6], SHORT)
    assert not long.future.done()
    assert long.future.result(30) == bench.expect(DIALOGUES[:5], LONG)


def test_it_joins_a_run_of_the_same_settings(summarizer: OnnxSummarizer) -> None:
    bench = Bench(summarizer, 0.001)
    first = bench.begin_and_wait(DIALOGUES[:1], LONG)
    second = bench.begin_and_wait(DIALOGUES[1:2], LONG)
    assert [*first.future.result(30), *second.future.result(30)] == bench.expect(DIALOGUES[:2], LONG)
    assert 2 in bench.counts and len(bench.counts) < 220


def test_rows_take_turns(summarizer: OnnxSummarizer) -> None:
    bench = Bench(summarizer, batch_size=1, capacity=1000)
    big = bench.begin_and_wait(DIALOGUES, SHORT)
    small = bench.begin(DIALOGUES[:1], SHORT)
    small.future.result(30)
    assert not big.future.done()
    big.future.result(30)


def test_a_client_that_leaves_makes_room(summarizer: OnnxSummarizer) -> None:
    bench = Bench(summarizer, 0.005, batch_size=1)
    long = bench.begin_and_wait(DIALOGUES[:1], LONG)
    waiting = bench.begin(DIALOGUES[1:2], SHORT)
    bench.batcher.withdraw(long)
    assert waiting.future.result(30) == bench.expect(DIALOGUES[1:2], SHORT)
    assert len(bench.counts) < 100


def test_a_request_that_times_out_is_ended(summarizer: OnnxSummarizer) -> None:
    bench = Bench(summarizer, 0.01, timeout=0.1)
    with pytest.raises(QueueTimeoutError, match=r"within 0\.1 s"):
        bench.begin(DIALOGUES[:2], LONG).future.result(30)
    written = len(bench.counts)
    assert written < 60
    time.sleep(0.05)
    assert len(bench.counts) == written


def test_a_long_one_ends_where_others_wait_for_too_long(summarizer: OnnxSummarizer) -> None:
    bench = Bench(summarizer, 0.01, batch_size=1, patience=lambda settings: 0.1 if settings == LONG else 99.0)
    long = bench.begin_and_wait(DIALOGUES[:1], LONG)
    waiting = bench.begin(DIALOGUES[1:2], SHORT)
    with pytest.raises(QueueTimeoutError, match="others were waiting"):
        long.future.result(30)
    assert waiting.future.result(30) == bench.expect(DIALOGUES[1:2], SHORT)


def test_the_turns_of_others_do_not_count_as_its_own(summarizer: OnnxSummarizer) -> None:
    # Each works for 0.3 s, and all of them for 2.4 s.
    bench = Bench(summarizer, 0.01, patience=lambda settings: 1.5)
    kinds = [
        Generation(max_new_tokens=30, min_new_tokens=30, num_beams=1, num_return_sequences=1, length_penalty=1 + kind)
        for kind in range(8)
    ]
    running = [bench.begin(DIALOGUES[:1], settings) for settings in kinds]
    waiting = bench.begin(DIALOGUES[1:2], SHORT)
    for request, settings in zip(running, kinds, strict=True):
        assert request.future.result(30) == bench.expect(DIALOGUES[:1], settings)
    assert waiting.future.result(30) == bench.expect(DIALOGUES[1:2], SHORT)


def test_no_more_are_written_at_once_than_fit(summarizer: OnnxSummarizer) -> None:
    bench = Bench(summarizer, 0.001, rows_at_once=lambda settings: 1 if settings == LONG else 3)
    requests = [
        bench.begin(DIALOGUES[:8], BEAMS),
        bench.begin(DIALOGUES[8:10], LONG),
        bench.begin(DIALOGUES[:4], BEAMS),
    ]
    for request in requests:
        request.future.result(30)
    assert max(bench.counts) == 3
    # One that takes all of the room is alone.
    assert bench.counts.count(1) >= 220


@pytest.mark.parametrize("word", ["unreadable", "unencodable", "poison"])
def test_a_dialogue_that_fails_is_alone(summarizer: OnnxSummarizer, word: str) -> None:
    bench = Bench(summarizer, 0.001)
    others = [bench.begin_and_wait(DIALOGUES[:2], LONG), bench.begin(DIALOGUES[2:4], LONG)]
    bad = bench.begin([DIALOGUES[4], f"#Person1#: {word}"], LONG)
    with pytest.raises(DialogueFailedError, match=r"Dialogue 2 of 2") as caught:
        bad.future.result(30)
    assert "secret" not in str(caught.value)
    assert [*others[0].future.result(30), *others[1].future.result(30)] == bench.expect(DIALOGUES[:4], LONG)


def test_a_worker_that_dies_is_replaced(summarizer: OnnxSummarizer) -> None:
    bench = Bench(summarizer, 0.001)
    long = bench.begin_and_wait(DIALOGUES[:1], LONG)
    with pytest.raises(WorkerDiedError):
        bench.batcher.ask(["#Person1#: exit"], SHORT)
    with pytest.raises(WorkerDiedError):
        long.future.result(30)
    assert bench.batcher.ask(DIALOGUES[:1], SHORT) == bench.expect(DIALOGUES[:1], SHORT)


def test_the_queue_is_bounded(summarizer: OnnxSummarizer) -> None:
    bench = Bench(summarizer, 0.005, batch_size=1, capacity=2)
    first = bench.begin_and_wait(DIALOGUES[:1], LONG)
    bench.begin(DIALOGUES[:2], LONG)
    with pytest.raises(QueueFullError):
        bench.begin(DIALOGUES[:1], LONG)
    bench.batcher.withdraw(first)
