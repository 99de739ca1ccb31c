"""Scenarios composed from parts, for pretraining: what somebody wants, and details that may come with it.

A frame is a purpose, such as renting something, with its openings and the verbs of a summary. A detail is something
that is asked and answered, such as a day, with the words that it becomes in a summary. A scenario is a frame with a few
of its details in any order, so that there are hundreds of thousands; none of them is one of the topic modules', which
the test set is made of.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from yoyak.data.samples.details import ALTERNATIVES, ATTACHED, CAUSES, COUNTS, DETAILS, LEADING, ORDER
from yoyak.data.samples.frames import TEXT
from yoyak.data.samples.scenario import Block, Scenario, parse_block

_DETAIL_COUNTS = (1, 2, 2, 3, 3, 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A purpose of a conversation."""

    key: str
    topic: str
    setting: str
    slots: tuple[tuple[str, str], ...]
    """What it is about: (name in the templates, name of the list of values)."""
    details: tuple[str, ...]
    asks: str
    """What A does, in a summary."""
    answers: str
    """What B does."""
    openings: tuple[Block, ...]
    core: tuple[Block, ...] = ()
    extras: tuple[Block, ...] = ()
    closings: tuple[Block, ...]
    is_owned: bool = False
    """Whether what it is about is A's in a summary of what B does: 오후 3시에 #Person1#의 의자를 고쳐 준다."""


def _parse(chunk: str) -> Frame:
    header, *lines = chunk.strip().split("\n")
    key, topic, setting, what, details, asks, answers = (part.strip() for part in header.split("|"))
    blocks = {mark: tuple(parse_block(line[2:]) for line in lines if line[0] == mark) for mark in "><"}
    return Frame(
        key=key,
        topic=topic,
        setting=setting,
        slots=(("what", what),),
        details=tuple(details.split()),
        asks=asks,
        answers=answers,
        is_owned=True,
        openings=blocks[">"],
        closings=blocks["<"],
    )


FRAMES = tuple(_parse(chunk) for chunk in TEXT.strip().removeprefix("= ").split("\n= "))


def draw_scenario(rng: random.Random) -> Scenario:
    """Return a frame with one to four of its details, as a scenario for `compose`."""
    return add_details(rng.choice(FRAMES), rng)


def add_details(frame: Frame, rng: random.Random) -> Scenario:
    """Return a scenario of a frame with one to four of its details, one of which may be corrected."""
    casual = frame.setting == "friends"
    usable = [name for name in frame.details if DETAILS[name].casual or not casual]
    chosen = rng.sample(usable, min(len(usable), rng.choice(_DETAIL_COUNTS)))
    for group in ALTERNATIVES:
        for name in [name for name in chosen if name in group][1:]:
            chosen.remove(name)
    slots = list(frame.slots)
    core = []
    for name in chosen:
        detail = DETAILS[name]
        slots.append((name, rng.choice(detail.lists)))
        core.append(parse_block(rng.choice(detail.casual if casual else detail.polite).replace("_", name)))
    fix = rng.choice([*(name for name in chosen if any(f"~{name}" in text for block in core for _, text in block)), ""])
    # Only the slot that may be corrected has a mention that can hold a correction.
    core = [*frame.core, *(_without_corrections(block, fix) for block in core)]
    return Scenario(
        key=f"{frame.key}: {' '.join(sorted(chosen))}",
        topic=frame.topic,
        setting=frame.setting,
        slots=tuple(slots),
        openings=frame.openings,
        core=tuple(core),
        extras=frame.extras,
        closings=frame.closings,
        briefs=(),
        summaries=_summaries(frame, chosen),
        fix=fix,
        late_fix=rng.random() < 0.5,
        swap=True,
    )


def _without_corrections(block: Block, fix: str) -> Block:
    return tuple((role, text if fix and f"~{fix}" in text else text.replace("~", "")) for role, text in block)


def _summaries(frame: Frame, chosen: Sequence[str]) -> tuple[str, ...]:
    """Return three wordings: of what A does twice, with the details in two orders, and of what B does."""
    ordered = [name for name in ORDER if name in chosen]
    leading = [_phrase(name) for name in LEADING if name in chosen]
    attached = [_phrase(name) for name in ordered if name in ATTACHED]
    before = [name for name in ordered if name not in ATTACHED]
    count = next((_phrase(name) for name in COUNTS if name in chosen), "")

    def sentence(subject: str, details: Sequence[str], verb: str) -> str:
        if count:
            # 의자를 두 개 산다, 기차 표를 두 장 끊는다
            verb = re.sub(r"(:을}|표를) ", rf"\1 {count} ", verb, count=1)
        whom, what, rest = verb.partition("{what")
        return " ".join([subject, *whom.split(), *details, *attached, what + rest]) + "."

    others = [name for name in before if name not in CAUSES]
    causes = [name for name in before if name in CAUSES]
    phrases, reordered = (_phrases(names) for names in (before, [*others, *causes]))
    subject = " ".join([*leading, "{A:은}"])
    return (
        sentence(subject, phrases, frame.asks),
        sentence(subject, reordered, frame.asks),
        sentence("{B:은}", [*phrases, "{A}의"] if frame.is_owned and not attached else phrases, frame.answers),
    )


def _phrases(names: Sequence[str]) -> list[str]:
    """Return the phrases of details; a date before a time is 토요일 오후 3시에, not 토요일에 오후 3시에."""
    return [
        "{date}" if name == "date" and "time" in names[number + 1 : number + 2] else _phrase(name)
        for number, name in enumerate(names)
    ]


def _phrase(name: str) -> str:
    return DETAILS[name].phrase.replace("_", name)
