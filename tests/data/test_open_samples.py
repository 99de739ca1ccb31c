"""Rows for pretraining: any values, scenarios composed from parts, and nothing of what models are tested on."""

from __future__ import annotations

import random
import re

import pytest

from yoyak.behaviour.accuracy import check_facts
from yoyak.behaviour.accuracy_results import EVERY
from yoyak.data.records import Dialogue
from yoyak.data.samples import generate, generate_open, scenarios
from yoyak.data.samples.compose import Sample, compose
from yoyak.data.samples.details import DETAILS
from yoyak.data.samples.parts import FRAMES, draw_scenario
from yoyak.data.samples.scenario import Block, Scenario
from yoyak.data.samples.situations import draw_situation
from yoyak.data.samples.slots import SLOTS
from yoyak.data.samples.vocabulary import OpenVocabulary


def _blocks(scenario: Scenario) -> tuple[Block, ...]:
    return (*scenario.openings, *scenario.core, *scenario.extras)


@pytest.fixture(scope="module")
def rows() -> list[Dialogue]:
    return list(generate_open(1500, 1))


@pytest.fixture(scope="module")
def composed() -> list[Sample]:
    rng = random.Random(2)
    vocabulary = OpenVocabulary(rng)
    return [compose(draw_scenario(rng), rng, vocabulary) for _ in range(800)]


@pytest.fixture(scope="module")
def situations() -> list[Sample]:
    rng = random.Random(4)
    vocabulary = OpenVocabulary(rng)
    return [compose(draw_situation(rng), rng, vocabulary) for _ in range(1500)]


def test_the_same_seed_gives_the_same_distinct_rows(rows: list[Dialogue]) -> None:
    assert list(generate_open(50, 1)) == rows[:50]
    assert [row.dialogue for row in generate_open(50, 2)] != [row.dialogue for row in rows[:50]]
    assert len({row.dialogue for row in rows}) == len({row.fname for row in rows}) == 1500


def test_nothing_that_models_are_tested_on_is_among_them(rows: list[Dialogue]) -> None:
    texts = "\n".join(row.dialogue for row in rows)
    for scenario in scenarios():
        if scenario.unseen:
            turns = [text for block in _blocks(scenario) for _, text in block if not re.search(r"[{\[]", text)]
            seen = {text for other in scenarios() if not other.unseen for block in _blocks(other) for _, text in block}
            # Greetings are shared.
            assert not [text for text in {*turns} - seen if len(text) > 12 and text in texts], scenario.key
    tested = {row.dialogue for split in ("dev", "test") for row in generate(200, 20, split=split)}
    assert not tested & {row.dialogue for row in rows}


def test_every_frame_and_detail_is_used_in_many_combinations(composed: list[Sample], situations: list[Sample]) -> None:
    keys = {sample.scenario.key for sample in composed}
    assert {key.partition(":")[0] for key in keys} == {frame.key for frame in FRAMES}
    assert len(keys) > 250
    other_keys = {sample.scenario.key for sample in situations}
    assert {name for key in keys | other_keys for name in key.partition(": ")[2].split()} == set(DETAILS)
    assert len(other_keys) > 1400


def test_situations_are_spoken_of_in_korean(situations: list[Sample]) -> None:
    texts = [text for sample in situations for text in (sample.dialogue, *sample.references)]
    # Single consonants are what is left of an ending that did not join its verb.
    assert not [text for text in texts if re.search(r"[{}~\u1100-\u11ffㄱ-ㅣ]|  ", text)]
    said = [sample.values["other" if "other" in sample.values else "what"] for sample in situations]
    assert all(word in sample.references[0] for word, sample in zip(said, situations, strict=True))
    # The verb, which nothing else says, is in the dialogue too.
    stated = sum(len({*sample.references[0].split()[-3:]} & {*sample.dialogue.split()}) > 0 for sample in situations)
    assert stated > len(situations) // 3


def test_their_references_state_every_fact_of_the_dialogue(composed: list[Sample]) -> None:
    rows = [
        Dialogue(fname=str(number), dialogue=sample.dialogue, summaries=sample.references)
        for number, sample in enumerate(composed)
    ]
    for number in range(3):
        results = check_facts(
            [sample.references[number] for sample in composed], rows, [sample.facts for sample in composed]
        )
        assert sum(result[EVERY] for result in results) > 0.9 * len(results)
    assert not [
        text for sample in composed for text in (sample.dialogue, *sample.references) if re.search(r"[{}~]|  ", text)
    ]


def test_vocabularies_are_open_where_something_has_to_be_copied() -> None:
    vocabulary = OpenVocabulary(random.Random(3))
    for name in {name for scenario in scenarios() for _, name in scenario.slots} | {
        list_name for frame in FRAMES for _, list_name in frame.slots
    }:
        assert len({value.reported for _ in range(20) for value in vocabulary[name]}) > 1, name
    for name in ("thing", "name", "price", "date", "restaurant"):
        drawn = {value.reported for _ in range(200) for value in vocabulary[name]}
        assert len(drawn) > 10 * len(SLOTS.get(name, ())), name
        assert len(drawn) > 100
