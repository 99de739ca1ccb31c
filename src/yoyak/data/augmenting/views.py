"""Views, at test time and for the training of one member: slightly varied versions of a dialogue, same content.

A view drops turns without content, and varies punctuation and spacing. Turns keep their order and labels; numbers,
names and masks such as ``#Person1#`` do not change.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import replace

from yoyak.data.augmenting.turns import split_label
from yoyak.data.records import Dialogue
from yoyak.korean.masks import find_masks

MAX_DRAWS = 100
"""Consecutive draws without a new view after which the search ends."""
CHANGE_PROBABILITY = 0.5
"""Probability of applying each possible change."""

_FILLERS = (
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
"""Backchannels and small talk: a turn of nothing else can be dropped."""

_LAUGHTER = re.compile(r"\s?[ㅋㅎ]{2,}")
_PUNCTUATION = r"[\s.,!?~…^]"
_ANY_FILLER = "|".join(re.escape(filler) for filler in sorted(_FILLERS, key=len, reverse=True))
_FILLER_TURN = re.compile(rf"{_PUNCTUATION}*(?:(?:{_ANY_FILLER})(?:{_PUNCTUATION}+|$))*", re.IGNORECASE)
_QUESTION = re.compile(r"[?？]\W*$")
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")

_WORD_END = r"(?:(?<=[가-힣])|(?<=[a-z]{2}))"
_EDITS: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = (
    (_LAUGHTER, ("",)),
    (re.compile(r"([!?~])\1+"), (r"\1",)),
    (re.compile(r"(?<![\d.…])(?:…+|\.{2,})(?![\d.…])"), ("…", "...", " ")),
    (re.compile(r"^(네|예|응|음|아|아니요|아뇨|yes|yeah|no|okay|oh|well), ", re.IGNORECASE), (r"\1 ",)),
    (re.compile(r"(?<=[가-힣][.!?]) (?=[가-힣])"), ("",)),
    (re.compile(rf"{_WORD_END}\.$"), ("",)),
    (re.compile(rf"{_WORD_END}$"), (".",)),
)
"""Patterns in a turn, and their possible replacements."""


def make_views(dialogue: str, count: int, seed: int) -> list[str]:
    """Return up to ``count`` distinct views of a dialogue, none of them the dialogue itself.

    There are fewer if little can be changed. They depend only on the arguments, and a larger ``count`` only appends
    further views. A speaker who has only filler turns keeps them, and answers to questions are kept as well.
    """
    turns = [split_label(line) for line in dialogue.split("\n")]
    removable = _find_removable(turns)
    # A string seed gives the same draws in every process and on every machine.
    rng = random.Random(f"{seed}\n{dialogue}")
    texts = [dialogue]
    while len(texts) <= count:
        draws = (_draw_view(turns, removable, rng) for _ in range(MAX_DRAWS))
        new_view = next((view for view in draws if view not in texts), None)
        if new_view is None:
            break
        texts.append(new_view)
    return texts[1:]


def augment(rows: Sequence[Dialogue], views: int, seed: int) -> list[Dialogue]:
    """Return each row followed by up to ``views`` views of it, which have its summaries."""
    return [
        version
        for row in rows
        for version in (
            row,
            *(
                replace(row, fname=f"{row.fname}~{number}", dialogue=view)
                for number, view in enumerate(make_views(row.dialogue, views, seed), 1)
            ),
        )
    ]


def _find_removable(turns: list[tuple[str, str]]) -> set[int]:
    """Return the indices of turns that can be dropped."""
    fillers = {index for index, (_, words) in enumerate(turns) if _FILLER_TURN.fullmatch(_LAUGHTER.sub(" ", words))}
    speaking = {label for index, (label, _) in enumerate(turns) if index not in fillers}
    return {
        index
        for index in fillers
        if turns[index][0] in speaking
        # After a question, a backchannel may be the answer.
        and (index == 0 or index - 1 in fillers or not _QUESTION.search(turns[index - 1][1]))
    }


def _draw_view(turns: list[tuple[str, str]], removable: set[int], rng: random.Random) -> str:
    lines = []
    for index, (label, words) in enumerate(turns):
        if index in removable and rng.random() < CHANGE_PROBABILITY:
            continue
        lines.append(label + _vary_spelling(words, rng))
    return "\n".join(lines)


def _vary_spelling(words: str, rng: random.Random) -> str:
    for pattern, replacements in _EDITS:
        if pattern.search(words) and rng.random() < CHANGE_PROBABILITY:
            changed = " ".join(pattern.sub(rng.choice(replacements), words).split())
            # Removing laughter must not join two numbers or create a mask.
            if _facts(changed) == _facts(words) and any(character.isalnum() for character in changed):
                words = changed
    return words


def _facts(text: str) -> tuple[list[str], list[str]]:
    return find_masks(text), _NUMBER.findall(text)
