"""Scenarios of the sample corpus, and the parser of the compact notation of the topic modules.

A scenario is a header followed by lines whose first character gives their kind:

    = key | topic | setting | slot=list ... | flags
    > opening      one of these begins the dialogue
    - core         all of these, in this order (in any order with the flag `swap`); they contain the facts
    + extra        any number of these, in any order, between core blocks
    < closing      one of these ends the dialogue
    ^ brief        optional: a complete dialogue in two turns
    . summary      exactly three wordings of the same facts, the most common one first

A line is a block of turns, `A: … / B: …`; an indented line continues the previous one. In a text, `[a|b]` picks one
alternative and `{slot:을}` is a slot with its particle. The flag `fix=slot` names a slot that may be
corrected: within the turn that has `{~slot}` or, with a plus sign (`fix=slot+`), also by an exchange after the core.
The flag `unseen` excludes the scenario from train and dev.
"""

from __future__ import annotations

from dataclasses import dataclass

Block = tuple[tuple[str, str], ...]
"""Turns as (role, template); roles are A, B and C."""

REFERENCES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One kind of everyday conversation with a stable outcome."""

    key: str
    topic: str
    setting: str
    """Source of small talk: a key of `yoyak.data.samples.talk.SMALL_TALK`."""
    slots: tuple[tuple[str, str], ...]
    """(name in the templates, name of the list of values)."""
    openings: tuple[Block, ...]
    core: tuple[Block, ...]
    extras: tuple[Block, ...]
    closings: tuple[Block, ...]
    briefs: tuple[Block, ...]
    summaries: tuple[str, ...]
    fix: str = ""
    """Slot that may be corrected; empty if none may."""
    late_fix: bool = False
    """Whether the correction may also be a separate exchange after the core."""
    swap: bool = False
    unseen: bool = False


def parse_block(text: str) -> Block:
    """Return the turns of ``A: … / B: …``."""
    turns = (turn.strip().partition(": ") for turn in text.split(" / "))
    return tuple((role, words) for role, _, words in turns)


def parse_scenarios(text: str) -> tuple[Scenario, ...]:
    """Return all scenarios of one topic module."""
    scenarios = []
    for chunk in text.strip().removeprefix("= ").split("\n= "):
        header, *lines = chunk.strip().split("\n")
        parts: dict[str, list[str]] = {mark: [] for mark in ">-+<^."}
        mark = ">"
        for line in lines:
            if line.startswith(" "):
                parts[mark][-1] += " " + line.strip()
            elif line:
                mark = line[0]
                parts[mark].append(line[2:])
        scenarios.append(_build(header, parts))
    return tuple(scenarios)


def _build(header: str, parts: dict[str, list[str]]) -> Scenario:
    key, topic, setting, slots, flags = (part.strip() for part in f"{header} ".split("|"))
    options = dict(flag.partition("=")[::2] for flag in flags.split())
    if len(parts["."]) != REFERENCES:
        raise ValueError(f"Scenario '{key}' has {len(parts['.'])} summaries, but needs {REFERENCES}.")
    blocks = {mark: tuple(parse_block(line) for line in parts[mark]) for mark in ">-+<^"}
    return Scenario(
        key=key,
        topic=topic,
        setting=setting,
        slots=tuple((name, values) for name, _, values in (slot.partition("=") for slot in slots.split())),
        openings=blocks[">"],
        core=blocks["-"],
        extras=blocks["+"],
        closings=blocks["<"],
        briefs=blocks["^"],
        summaries=tuple(parts["."]),
        fix=options.get("fix", "").rstrip("+"),
        late_fix=options.get("fix", "").endswith("+"),
        swap="swap" in options,
        unseen="unseen" in options,
    )
