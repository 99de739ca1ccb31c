"""Long dialogues: two people talk about one thing after the other, with small talk in between.

The summaries of the conversations, one after the other, are the summary of the dialogue, and its facts are theirs.
Each conversation by itself belongs to the split that is asked for: who has been trained on the short dialogues of train
has seen no part of a long one of test.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence

from yoyak.data.facts import KnownFacts
from yoyak.data.records import Dialogue
from yoyak.data.samples.compose import Sample, compose, render_block
from yoyak.data.samples.scenario import Scenario
from yoyak.data.samples.talk import SMALL_TALK

BINS = (100, 200, 300)
"""Ends of the bins of turns, which are slices."""
_TALK_COUNTS = (0, 1, 1, 2, 3)
"""Exchanges of small talk between two conversations."""


def draw_long(
    n: int,
    seed: int,
    turns: tuple[int, int],
    scenarios: Sequence[Scenario],
    belongs: Callable[[bytes], bool],
    split: str,
) -> Iterator[tuple[Dialogue, KnownFacts]]:
    """Stream ``n`` distinct dialogues with their facts; the number of turns is uniform in ``turns``, ends included.

    Args:
        belongs: Whether a conversation with this digest is of the split.
        split: The beginning of each row's identifier.
    """
    rng = random.Random(f"yoyak long samples {seed} {split} {turns[0]} {turns[1]}")
    settings = sorted({scenario.setting for scenario in scenarios})
    by_setting = {name: [scenario for scenario in scenarios if scenario.setting == name] for name in settings}
    sizes = [len(by_setting[name]) for name in settings]
    seen: set[bytes] = set()
    while len(seen) < n:
        [setting] = rng.choices(settings, sizes)
        lines, samples = _talk(by_setting[setting], rng.randint(*turns), belongs, rng)
        dialogue = "\n".join(lines)
        digest = hashlib.blake2b(dialogue.encode(), digest_size=8).digest()
        if not samples or digest in seen:
            continue
        seen.add(digest)
        end = next((end for end in BINS if len(lines) <= end), None)
        row = Dialogue(
            fname=f"{split}_{len(seen) - 1}",
            dialogue=dialogue,
            summaries=tuple(" ".join(texts) for texts in zip(*(sample.references for sample in samples), strict=True)),
            topic=", ".join(dict.fromkeys(sample.scenario.topic for sample in samples)),
            slice=f"over {BINS[-1]} turns" if end is None else f"up to {end} turns",
        )
        yield row, _join_facts(samples)


def _talk(
    scenarios: Sequence[Scenario], turns: int, belongs: Callable[[bytes], bool], rng: random.Random
) -> tuple[list[str], list[Sample]]:
    """Return exactly ``turns`` lines, and the conversations among them: each scenario once before any repeats."""
    lines: list[str] = []
    samples: list[Sample] = []
    deck: list[Scenario] = []
    while True:
        deck = deck or rng.sample(list(scenarios), len(scenarios))
        sample = _draw_sample(deck.pop(), belongs, rng)
        own = sample.dialogue.split("\n")
        if len(lines) + len(own) > turns:
            break
        lines += own
        samples.append(sample)
        lines += _small_talk(scenarios[0].setting, rng.choice(_TALK_COUNTS), rng)[: turns - len(lines)]
    while len(lines) < turns:
        lines += _small_talk(scenarios[0].setting, 1, rng)[: turns - len(lines)]
    return lines, samples


def _draw_sample(scenario: Scenario, belongs: Callable[[bytes], bool], rng: random.Random) -> Sample:
    while True:
        sample = compose(scenario, rng)
        if belongs(hashlib.blake2b(sample.dialogue.encode(), digest_size=8).digest()):
            return sample


def _small_talk(setting: str, count: int, rng: random.Random) -> list[str]:
    """Return exchanges of the first two speakers."""
    speakers = {"A": "#Person1#", "B": "#Person2#"}
    blocks = rng.sample(SMALL_TALK[setting], min(count, len(SMALL_TALK[setting])))
    return [f"{speakers[role]}: {text}" for block in blocks for role, text in render_block(block, rng)]


def _join_facts(samples: Sequence[Sample]) -> KnownFacts:
    """Return what all conversations state; what one takes back is only wrong if no other one's summary says it."""
    stated = tuple(dict.fromkeys(fact for sample in samples for fact in sample.facts.stated))
    references = [text for sample in samples for text in sample.references]
    wrong = dict.fromkeys(text for sample in samples for text in sample.facts.wrong)
    return KnownFacts(stated, tuple(text for text in wrong if not any(text in other for other in references)))
