"""Views: versions of a dialogue that say the same a little differently, for a member to summarize as well.

A view leaves out turns that say nothing, and spells marks and spaces as another writer would. Turns keep their order
and labels; numbers, names and masks such as ``#Person1#`` are as they were.
"""

from __future__ import annotations

import random
import re

from yoyak.korean.masks import find_masks

TRIES = 100
"""Draws after which there seems to be no further view."""
CHANCE = 0.5
"""Of a change, wherever it can be made."""

_WORDS = (
    *("네", "넵", "넹", "네네", "예", "응", "응응", "어", "아", "아아", "오", "와", "음", "흠", "아하", "저기", "자"),
    *("그렇군요", "그렇군", "그렇구나", "그러게", "그러게요", "그러네요", "그러시군요", "아이고", "여보세요"),
    *("안녕", "안녕하세요", "안녕하십니까", "안녕히 가세요", "안녕히 계세요", "반가워", "반가워요", "반갑습니다"),
    *("고마워", "고마워요", "고맙습니다", "감사해요", "감사합니다", "천만에요", "별말씀을요", "수고하세요"),
    *("수고하셨습니다", "잘 가", "잘 가요", "또 봐", "또 봐요", "또 봬요", "좋은 하루 보내세요", "좋은 하루 되세요"),
    *("okay", "ok", "uh-huh", "uh huh", "mm-hmm", "mhm", "mm", "hmm", "hm", "um", "uh", "oh", "ah", "yeah", "yes"),
    *("right", "i see", "sure", "well", "wow", "hello", "hi", "hey", "bye", "goodbye", "bye-bye", "see you"),
    *("good morning", "good afternoon", "good evening", "thanks", "thank you", "thanks a lot", "thank you so much"),
    *("thank you very much", "you're welcome", "have a nice day", "have a good day", "nice to meet you"),
)
"""Backchannels and small talk: a turn of nothing else can go."""

_LAUGHTER = re.compile(r"\s?[ㅋㅎ]{2,}")
_MARK = r"[\s.,!?~…^]"
_ONE = "|".join(re.escape(word) for word in sorted(_WORDS, key=len, reverse=True))
_FILLER = re.compile(rf"{_MARK}*(?:(?:{_ONE})(?:{_MARK}+|$))*", re.IGNORECASE)
_LABEL = re.compile(r"(?:(?=[^\s:：]*[^\W\d])[^\s:：]{1,40}\s?[:：]\s*)?")
_QUESTION = re.compile(r"[?？]\W*$")
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")

_END = r"(?:(?<=[가-힣])|(?<=[a-z]{2}))"
_EDITS: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = (
    (_LAUGHTER, ("",)),
    (re.compile(r"([!?~])\1+"), (r"\1",)),
    (re.compile(r"(?<![\d.…])(?:…+|\.{2,})(?![\d.…])"), ("…", "...", " ")),
    (re.compile(r"^(네|예|응|음|아|아니요|아뇨|yes|yeah|no|okay|oh|well), ", re.IGNORECASE), (r"\1 ",)),
    (re.compile(r"(?<=[가-힣][.!?]) (?=[가-힣])"), ("",)),
    (re.compile(rf"{_END}\.$"), ("",)),
    (re.compile(rf"{_END}$"), (".",)),
)
"""What is found in a turn, and what may stand in its place."""


def views(dialogue: str, count: int, seed: int) -> list[str]:
    """Return up to ``count`` views of a dialogue, all different and none the dialogue itself.

    There are fewer where little can be changed. They depend on nothing but the arguments, and fewer of them are the
    first ones of more. A speaker with nothing but filler turns keeps them, and so does an answer to a question.
    """
    turns = [_split(line) for line in dialogue.split("\n")]
    fillers = _fillers(turns)
    # A text as seed gives the same draws in every process and on every machine.
    draw = random.Random(f"{seed}\n{dialogue}")
    found = [dialogue]
    while len(found) <= count:
        tries = (_view(turns, fillers, draw) for _ in range(TRIES))
        new = next((view for view in tries if view not in found), None)
        if new is None:
            break
        found.append(new)
    return found[1:]


def _split(line: str) -> tuple[str, str]:
    """Return the speaker's label, empty where there is none, and what is said."""
    match = _LABEL.match(line)
    end = match.end() if match else 0
    return line[:end], line[end:]


def _fillers(turns: list[tuple[str, str]]) -> set[int]:
    """Return the places of turns that can go."""
    empty = {place for place, (_, said) in enumerate(turns) if _FILLER.fullmatch(_LAUGHTER.sub(" ", said))}
    speaking = {label for place, (label, _) in enumerate(turns) if place not in empty}
    return {
        place
        for place in empty
        if turns[place][0] in speaking
        # What is a backchannel elsewhere says yes to a question.
        and (place == 0 or place - 1 in empty or not _QUESTION.search(turns[place - 1][1]))
    }


def _view(turns: list[tuple[str, str]], fillers: set[int], draw: random.Random) -> str:
    lines = []
    for place, (label, said) in enumerate(turns):
        if place in fillers and draw.random() < CHANCE:
            continue
        lines.append(label + _respelled(said, draw))
    return "\n".join(lines)


def _respelled(said: str, draw: random.Random) -> str:
    text = said
    for pattern, choices in _EDITS:
        if pattern.search(text) and draw.random() < CHANCE:
            changed = " ".join(pattern.sub(draw.choice(choices), text).split())
            # A laugh between two digits, or inside what would be a mask without it, stays where it is.
            if _facts(changed) == _facts(text) and any(character.isalnum() for character in changed):
                text = changed
    return text


def _facts(text: str) -> tuple[list[str], list[str]]:
    return find_masks(text), _NUMBER.findall(text)
