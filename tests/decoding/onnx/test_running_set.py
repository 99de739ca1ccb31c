"""Dialogues that join and leave a run are summarized as if each were alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnx_models import VOCABULARY, save_model
from yoyak.decoding.onnx import columns, joining
from yoyak.decoding.onnx.run import Finished, Reading, Run
from yoyak.decoding.onnx.runtime import OnnxSummarizer
from yoyak.errors import UserError
from yoyak.export.folder import export_model
from yoyak.models.steps import finish_summary
from yoyak.models.text import decode
from yoyak.params import Generation
from yoyak.params.deploy import Export


@pytest.fixture(scope="module", params=["bart", "t5"])
def summarizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> OnnxSummarizer:
    folder = tmp_path_factory.mktemp("run")
    export_model(save_model(request.param, folder / "model"), folder / "export", Export(precision="fp32"))
    loaded = OnnxSummarizer.load(folder / "export", threads=1)
    assert loaded.is_joinable
    return loaded


def make_readings(count: int, seed: int = 0) -> list[Reading]:
    chance = np.random.default_rng(seed)
    sizes = chance.integers(1, 40, size=count)
    return [Reading(str(size), chance.integers(3, VOCABULARY, size=size).tolist(), cut=False) for size in sizes]


def write_alone(summarizer: OnnxSummarizer, settings: Generation, reading: Reading) -> str:
    [[best, *_]] = summarizer.write([reading.ids], summarizer.search(settings))
    [text] = decode(summarizer.tokenizer, [best.tokens])  # type: ignore[arg-type]
    return finish_summary(text, reading.dialogue, summarizer.spec.preprocessing, settings.postprocessing)


OPTIONS: list[dict[str, Any]] = [
    {"num_beams": 1},
    {"num_beams": 1, "repetition_penalty": 1.4, "min_new_tokens": 4},
    {"num_beams": 4},
    {"num_beams": 3, "no_repeat_ngram_size": 2, "length_penalty": 0.5, "min_new_tokens": 5},
    {"num_beams": 2, "no_repeat_ngram_size": 1, "repetition_penalty": 0.8, "length_penalty": 2.0},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("seed", range(2))
def test_when_they_join_does_not_matter(
    summarizer: OnnxSummarizer, options: dict[str, Any], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Caches are enlarged again and again, and unused columns are removed from them.
    monkeypatch.setattr(columns, "MULTIPLE", 4)
    monkeypatch.setattr(joining, "MULTIPLE", 4)
    monkeypatch.setattr(columns, "PERIOD", 4)
    settings = Generation(max_new_tokens=14, num_return_sequences=1, **options)
    readings, chance = make_readings(20, seed), np.random.default_rng(seed)
    # A token that texts often have is the end mark: they end at different steps.
    monkeypatch.setattr(
        summarizer, "manifest", replace(summarizer.manifest, eos_token_id=common_token(summarizer, settings))
    )
    run, waiting, steps = Run(summarizer, settings, room=6), list(readings), []
    left: list[Reading] = []
    found: dict[Reading, Finished] = {}
    while waiting or len(run):
        count = min(int(chance.integers(0, 4)), len(waiting), 6 - len(run))
        entering = [waiting.pop() for _ in range(count)]
        if entering:
            run.add(entering)
        if not len(run):
            continue
        if chance.random() < 0.1:
            left.append(run.readings[chance.integers(len(run))])
            run.drop(left[-1:])
            continue
        before = len(run)
        finished = dict(run.step())
        steps.append(before)
        found |= finished
        assert len(run) == before - len(finished)
    assert {reading for reading in readings if reading not in left} == set(found)
    assert len(set(steps)) > 3 and len(found) > 10
    for reading, finished_one in found.items():
        assert finished_one == Finished(write_alone(summarizer, settings, reading), cut=False, read="whole")


def common_token(summarizer: OnnxSummarizer, settings: Generation) -> int:
    texts = summarizer.write([reading.ids for reading in make_readings(20, 99)], summarizer.search(settings))
    tokens = [token for text in texts for token in set(text[0].tokens[2:])]
    return max(set(tokens), key=tokens.count)


def test_a_run_reads_dialogues_as_a_batch_does(summarizer: OnnxSummarizer) -> None:
    settings = Generation(max_new_tokens=8, num_beams=2, num_return_sequences=1)
    dialogues = ["#Person1#: 내일 봐요.\n#Person2#: 네.", "#Person1#: " + "아주 긴 이야기예요. " * 40]
    run = Run(summarizer, settings, room=2)
    run.add([run.read(dialogue) for dialogue in dialogues])
    found: dict[str, Finished] = {}
    while len(run):
        found |= {reading.dialogue: result for reading, result in run.step()}
    expected = summarizer.summarize(dialogues, generation=settings)
    assert [found[one].summary for one in dialogues] == expected.texts
    assert [found[one].cut for one in dialogues] == expected.cut == [False, True]
    assert [found[one].read for one in dialogues] == expected.read


def test_more_tokens_than_it_has_positions_are_refused(summarizer: OnnxSummarizer) -> None:
    if summarizer.manifest.positions is None:
        pytest.skip("T5 has positions for any number of tokens")
    run = Run(summarizer, Generation(max_new_tokens=200, num_beams=1, num_return_sequences=1), room=1)
    with pytest.raises(UserError, match="lower max_new_tokens"):
        run.read("#Person1#: 네?")


def test_decoder_only_models_do_not_let_dialogues_join(tmp_path: Path) -> None:
    export_model(save_model("gpt2", tmp_path / "model"), tmp_path / "export", Export(precision="fp32"))
    assert not OnnxSummarizer.load(tmp_path / "export", threads=1).is_joinable
