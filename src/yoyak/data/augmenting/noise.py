"""Noise: punctuation, spaces and fillers that a dialogue does not need, and mistyped words.

Masks, numbers, names and labels of turns stay as they are.
"""

from __future__ import annotations

import random
import re
import unicodedata
from itertools import pairwise

from yoyak.data.augmenting.edits import Source, edit_places
from yoyak.data.augmenting.turns import Word, is_korean, split_words, stem
from yoyak.data.records import Dialogue

MARKS = (".", ";", "?", ":", "!", ",")
"""Those of AEDA."""
FILLERS = ("음", "어", "그", "저", "뭐", "아")
ENGLISH_FILLERS = ("um", "uh", "er", "well", "you know", "I mean")

_INITIALS = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
_VOWELS = "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"
_FINALS = "ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"
_NEAR = {
    "ㄱ": "ㄲㅅㄷ", "ㄲ": "ㄱ", "ㄴ": "ㅁㅇ", "ㄷ": "ㄸㅈㄱ", "ㄸ": "ㄷ", "ㄹ": "ㅇㅎ", "ㅁ": "ㄴ", "ㅂ": "ㅃㅈ",
    "ㅃ": "ㅂ", "ㅅ": "ㅆㄱ", "ㅆ": "ㅅ", "ㅇ": "ㄴㄹ", "ㅈ": "ㅉㅂㄷ", "ㅉ": "ㅈ", "ㅊ": "ㅌㅍ", "ㅋ": "ㅌ",
    "ㅌ": "ㅋㅊ", "ㅍ": "ㅊ", "ㅎ": "ㄹ", "ㅏ": "ㅓㅣㅑ", "ㅐ": "ㅔㅒ", "ㅑ": "ㅕㅏ", "ㅒ": "ㅐ", "ㅓ": "ㅗㅏㅕ",
    "ㅔ": "ㅐㅖ", "ㅕ": "ㅛㅑㅓ", "ㅖ": "ㅔ", "ㅗ": "ㅓㅛ", "ㅘ": "ㅏ", "ㅙ": "ㅚㅞ", "ㅚ": "ㅙㅞ", "ㅛ": "ㅕㅗ",
    "ㅜ": "ㅠㅡ", "ㅝ": "ㅓ", "ㅞ": "ㅙㅚ", "ㅟ": "ㅣ", "ㅠ": "ㅜ", "ㅡ": "ㅜ", "ㅢ": "ㅡㅣ", "ㅣ": "ㅏ", "ㄳ": "ㄱ",
    "ㄵ": "ㄴ", "ㄶ": "ㄴ", "ㄺ": "ㄱ", "ㄻ": "ㅁ", "ㄼ": "ㄹ", "ㄾ": "ㄹ", "ㅀ": "ㄹ", "ㅄ": "ㅂ",
}  # fmt: skip
"""By jamo: those beside it on a keyboard, with and without shift, and those that sound alike."""
_SYLLABLE = re.compile("[가-힣]")
_KOREAN_WORD = re.compile(r"[가-힣]{2,}[.,!?~…]*")
_ENGLISH_WORD = re.compile(r"[a-z]{5,}[.,!?]*")
_CLAUSE = re.compile(r"(?:^|(?<=[,.!?] ))(?=[^\s.,!?~…])")
_LETTER = re.compile(r"[^\W\d_]")


def insert_punctuation(source: Source, rate: float, rng: random.Random) -> Dialogue | str:
    """Insert marks between words: ``내일 만나요`` becomes ``내일 ; 만나요``."""

    def find(words: str, source: Source) -> list[tuple[int, int, str]]:
        return [(left.end, left.end, f" {rng.choice(MARKS)}") for left, _ in _open_gaps(words, source)]

    return edit_places(source, find, rate, rng)


def change_spacing(source: Source, rate: float, rng: random.Random) -> Dialogue | str:
    """Leave out spaces between words, and put some into Korean words of three syllables or more."""

    def find(words: str, source: Source) -> list[tuple[int, int, str]]:
        # Only between letters: a full stop and the next sentence are views' business.
        gaps = [
            (left.end, right.start, "")
            for left, right in _open_gaps(words, source)
            if _LETTER.fullmatch(left.text[-1]) and _LETTER.fullmatch(right.text[0])
        ]
        cuts = []
        for word in split_words(words, source.literals):
            length = len(re.match("[가-힣]*", word.text).group())  # type: ignore[union-attr]  # matches anything.
            if length >= 3 and _is_free(word, source):
                position = word.start + rng.randrange(1, length)
                cuts.append((position, position, " "))
        return [*gaps, *cuts]

    return edit_places(source, find, rate, rng)


def mistype(source: Source, rate: float, rng: random.Random) -> Dialogue | str:
    """Mistype words: a jamo in Korean ones (``괜찮아`` becomes ``괜찬아``), two letters in English ones."""

    def find(words: str, source: Source) -> list[tuple[int, int, str]]:
        places = []
        for word in split_words(words, source.literals):
            if not _is_free(word, source):
                continue
            if _KOREAN_WORD.fullmatch(word.text):
                places.append((word.start, word.end, _mistype_korean(word.text, rng)))
            elif _ENGLISH_WORD.fullmatch(word.text):
                places.append((word.start, word.end, _swap_letters(word.text, rng)))
        return places

    return edit_places(source, find, rate, rng)


def insert_fillers(source: Source, rate: float, rng: random.Random) -> Dialogue | str:
    """Insert fillers before turns and clauses: ``음, 내일 만나요``, or ``um, see you`` where there is no Hangul."""
    korean = is_korean(source.row.dialogue)

    def find(words: str, _: Source) -> list[tuple[int, int, str]]:
        places = []
        for match in _CLAUSE.finditer(words):
            filler = rng.choice(FILLERS if korean else ENGLISH_FILLERS)
            begins = match.start() == 0 or words[match.start() - 2] != ","
            places.append((match.start(), match.start(), f"{filler[0].upper() + filler[1:] if begins else filler}, "))
        return places

    return edit_places(source, find, rate, rng)


def _open_gaps(words: str, source: Source) -> list[tuple[Word, Word]]:
    """Return the neighbours of each gap between two words that do not have to stay as they are."""
    found = split_words(words, source.literals)
    return [(left, right) for left, right in pairwise(found) if not left.fixed and not right.fixed]


def _is_free(word: Word, source: Source) -> bool:
    """Return whether a word may be spelled otherwise: it is no fact, and the summaries do not have it either."""
    return not word.fixed and stem(word.text) not in source.summary_stems


def _mistype_korean(word: str, rng: random.Random) -> str:
    positions = [match.start() for match in _SYLLABLE.finditer(word)]
    position = rng.choice(positions)
    return word[:position] + mistype_syllable(word[position], rng) + word[position + 1 :]


def mistype_syllable(syllable: str, rng: random.Random) -> str:
    """Return a syllable with one jamo that is near the right one, or without its final consonant."""
    jamo = unicodedata.normalize("NFD", syllable)
    versions = []
    for index, (names, first) in enumerate(((_INITIALS, 0x1100), (_VOWELS, 0x1161), (_FINALS, 0x11A8))[: len(jamo)]):
        for near in _NEAR.get(names[ord(jamo[index]) - first], ""):
            if near in names:
                versions.append(jamo[:index] + chr(first + names.index(near)) + jamo[index + 1 :])
    if len(jamo) == 3:
        versions.append(jamo[:2])
    return unicodedata.normalize("NFC", rng.choice(versions)) if versions else syllable


def _swap_letters(word: str, rng: random.Random) -> str:
    pairs = [index for index in range(1, len(word) - 1) if word[index : index + 2].isalpha()]
    position = rng.choice([index for index in pairs if word[index] != word[index + 1]] or pairs)
    return word[:position] + word[position + 1] + word[position] + word[position + 2 :]
