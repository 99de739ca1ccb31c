"""Composing one dialogue of a scenario with its three references."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from yoyak.data.facts import Fact, KnownFacts
from yoyak.data.samples.scenario import Block, Scenario
from yoyak.data.samples.slots import KINDS, SLOTS, Value
from yoyak.data.samples.talk import (
    FAREWELLS,
    FIXES,
    INLINE_FIXES,
    INTERRUPTIONS,
    NAMED_CALLS,
    POLITE_FIXES,
    POLITE_INLINE_FIXES,
    SMALL_TALK,
)
from yoyak.korean.josa import Word
from yoyak.korean.masks import find_masks

Vocabulary = Mapping[str, Sequence[Value]]
"""Values by the name of their list."""

MAX_TURNS = 20

_ANSWER = re.compile(r"^(?:네|응|그래|알겠어요|알겠습니다|알았어|좋아|아)[,.] (?=.)")
_ALTERNATIVES = re.compile(r"\[([^\]]*)\]")
_P_BRIEF = 0.2
_P_FIX = 0.4
_P_LONG = 0.06
_P_INTERRUPTED = 0.08
_P_FAREWELL = 0.1
_P_UNANSWERED_CLOSING = 0.5
_P_CALLED_BY_NAME = 0.25
_EXTRA_COUNTS = (0, 0, 0, 1, 1)
_TALK_COUNTS = (0, 0, 0, 1)
_LONG_TALK_COUNTS = (2, 3, 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One generated dialogue with its references and facts."""

    scenario: Scenario
    dialogue: str
    references: tuple[str, ...]
    values: Mapping[str, str]
    """Words of each slot in the references."""
    corrected: tuple[str, str] | None
    """The mistaken value and its correction, as worded in references."""

    @property
    def facts(self) -> KnownFacts:
        """What every one of its references states."""
        lists = dict(self.scenario.slots)
        stated = [
            Fact(KINDS.get(lists[name], "thing"), (text,))
            for name, text in self.values.items()
            if all(re.search(rf"{{{name}[:}}]", summary) for summary in self.scenario.summaries)
        ]
        masks = set.intersection(*({*find_masks(summary)} for summary in self.scenario.summaries))
        stated += [Fact("mask", (mask,)) for mask in sorted(masks)]
        return KnownFacts(tuple(stated), self.corrected[:1] if self.corrected else ())


class _Words(dict[str, Word]):
    """Words for a template; a key ``x_list`` draws a meaningless distractor from that list."""

    def __init__(self, words: Mapping[str, str], rng: random.Random) -> None:
        super().__init__((key, Word(word)) for key, word in words.items())
        self._rng = rng

    def __missing__(self, key: str) -> Word:
        prefix, _, values = key.partition("_")
        if prefix != "x":
            raise KeyError(key)
        self[key] = word = Word(self._rng.choice(SLOTS[values]).spoken)
        return word


def compose(scenario: Scenario, rng: random.Random, vocabulary: Vocabulary = SLOTS, *, p_fix: float = _P_FIX) -> Sample:
    """Draw one dialogue of ``scenario``: values, turns, small talk and references.

    ``p_fix`` is the probability that a value is corrected where the scenario allows it.
    """
    values = _draw_values(scenario, rng, vocabulary)
    reported = {name: value.reported for name, value in values.items()}
    spoken = {name: value.spoken for name, value in values.items()}
    if scenario.briefs and rng.random() < _P_BRIEF:
        plan, corrected = [(rng.choice(scenario.briefs), spoken)], None
    else:
        plan, corrected = _plan(scenario, values, spoken, rng, vocabulary, p_fix)
    turns = _render(plan, rng)
    roles = {role: f"#Person{number}#" for number, role in enumerate(dict.fromkeys(role for role, _ in turns), 1)}
    words = _Words(reported | roles, rng)
    return Sample(
        scenario=scenario,
        dialogue="\n".join(f"{roles[role]}: {text}" for role, text in turns),
        references=tuple(summary.format_map(words) for summary in scenario.summaries),
        values=reported,
        corrected=corrected,
    )


def _draw_values(scenario: Scenario, rng: random.Random, vocabulary: Vocabulary) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for name, list_name in scenario.slots:
        # Slots of a scenario must differ, or the summary would repeat a value.
        choices = [value for value in vocabulary[list_name] if value not in values.values()]
        values[name] = rng.choice(choices)
    return values


def _draw_mistake(
    scenario: Scenario, values: Mapping[str, Value], rng: random.Random, vocabulary: Vocabulary
) -> Value | None:
    """Draw a mistaken value for the first mention that no summary contains."""
    summary = " ".join(scenario.summaries) + " ".join(value.reported for value in values.values())
    right = values[scenario.fix]
    choices = [
        value
        for value in vocabulary[dict(scenario.slots)[scenario.fix]]
        if value.reported not in summary and right.reported not in value.reported
    ]
    return rng.choice(choices) if choices else None


def _plan(
    scenario: Scenario,
    values: Mapping[str, Value],
    spoken: dict[str, str],
    rng: random.Random,
    vocabulary: Vocabulary,
    p_fix: float,
) -> tuple[list[tuple[Block, dict[str, str]]], tuple[str, str] | None]:
    """Return the blocks in order, each with the words that apply at that point of the dialogue."""
    core = list(scenario.core)
    if scenario.swap:
        rng.shuffle(core)
    is_long = rng.random() < _P_LONG
    extras = list(scenario.extras)
    rng.shuffle(extras)
    if not is_long:
        del extras[rng.choice(_EXTRA_COUNTS) :]
    talk = rng.sample(SMALL_TALK[scenario.setting], rng.choice(_LONG_TALK_COUNTS if is_long else _TALK_COUNTS))
    if rng.random() < _P_INTERRUPTED:
        talk.append(rng.choice(INTERRUPTIONS[scenario.setting]))

    fix_block: Block | None = None
    corrected = None
    words = dict(spoken)
    mistake = None
    if scenario.fix and rng.random() < p_fix:
        mistake = _draw_mistake(scenario, values, rng, vocabulary)
    if mistake:
        right = values[scenario.fix]
        corrected = (mistake.reported, right.reported)
        words["old"], words["new"] = mistake.spoken, right.spoken
        if scenario.late_fix and rng.random() < 0.5:
            words[scenario.fix] = mistake.spoken
            fix_block = rng.choice(FIXES.get(scenario.setting, POLITE_FIXES))
        else:
            form = rng.choice(INLINE_FIXES.get(scenario.setting, POLITE_INLINE_FIXES))
            words[f"~{scenario.fix}"] = form.format(old=Word(mistake.spoken), new=Word(right.spoken))
    if scenario.fix:
        words.setdefault(f"~{scenario.fix}", words[scenario.fix])

    middle: list[tuple[Block, dict[str, str]]] = [(block, words) for block in core]
    asides = extras + talk
    rng.shuffle(asides)
    # Nothing is inserted before the first fact, which often answers a question in the opening.
    positions = sorted(rng.choices(range(1, len(middle) + 1), k=len(asides)), reverse=True)
    for position, block in zip(positions, asides, strict=True):
        middle.insert(position, (block, words))
    if fix_block:
        middle.append((fix_block, words))
    opening = rng.choice(scenario.openings)
    if rng.random() < _P_CALLED_BY_NAME and scenario.setting in NAMED_CALLS:
        (role, text), *rest = opening
        # Someone addressed by title is not called by name as well.
        if "님" not in text:
            opening = ((role, rng.choice(NAMED_CALLS[scenario.setting]) + text), *rest)
    closing = rng.choice(scenario.closings)
    if rng.random() < _P_UNANSWERED_CLOSING:
        closing = closing[:1]
    blocks = [(opening, words), *middle, (closing, spoken)]
    if len(closing) > 1 and scenario.setting in FAREWELLS and rng.random() < _P_FAREWELL:
        blocks.append((rng.choice(FAREWELLS[scenario.setting]), spoken))
    while _count_turns(blocks) > MAX_TURNS:
        blocks.pop(next(index for index, (block, _) in enumerate(blocks) if block in asides))
    return blocks, corrected


def _count_turns(blocks: list[tuple[Block, dict[str, str]]]) -> int:
    roles = [role for block, _ in blocks for role, _ in block]
    return 1 + sum(left != right for left, right in itertools.pairwise(roles))


def render_block(block: Block, rng: random.Random) -> list[tuple[str, str]]:
    """Return the turns of a block of small talk as (role, text)."""
    return _render([(block, {})], rng)


def _render(blocks: list[tuple[Block, dict[str, str]]], rng: random.Random) -> list[tuple[str, str]]:
    """Return turns as (role, text), merging consecutive turns of the same speaker."""
    turns: list[tuple[str, str]] = []
    for block, words in blocks:
        slot_words = _Words(words, rng)
        for role, template in block:
            chosen = _ALTERNATIVES.sub(lambda match: rng.choice(match.group(1).split("|")), template)
            text = chosen.format_map(slot_words)
            if turns and turns[-1][0] == role:
                # Speakers do not answer themselves, so the answer word is removed.
                turns[-1] = (role, f"{turns[-1][1]} {_ANSWER.sub('', text)}")
            else:
                turns.append((role, text))
    return turns
