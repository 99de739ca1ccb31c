"""Korean particles (josa) whose form depends on the final consonant of the Hangul, digits, letters or mask before."""

from __future__ import annotations

import re

from yoyak.korean.masks import mask_at_end, split_mask

_RIEUL = 8
_CONSONANTS = {"ㄱ": 1, "ㄴ": 4, "ㄹ": _RIEUL, "ㅁ": 16, "ㅂ": 17, "ㅅ": 19, "ㅇ": 21}
"""Index of a final consonant in a precomposed syllable (its code point minus U+AC00, modulo 28)."""

_DIGITS = {"0": "ㅇ", "1": "ㄹ", "3": "ㅁ", "6": "ㄱ", "7": "ㄹ", "8": "ㄹ"}
_ENGLISH_DIGITS = {"1": "ㄴ", "7": "ㄴ", "8": "ㅅ", "9": "ㄴ"}
_ZEROS = {1: "ㅂ", 2: "ㄱ", 3: "ㄴ", 4: "ㄴ", 5: "ㅂ", 6: "ㄱ", 7: "ㄴ", 8: "ㄱ"}
"""십, 백, 천, 만, 십만, 백만, 천만, 억 by the number of trailing zeros."""
_LETTERS = {"l": "ㄹ", "m": "ㅁ", "n": "ㄴ", "r": "ㄹ"}
_READ_AS_WORDS = {"kg": "ㅁ", "km": "", "cm": "", "mm": "", "gb": "", "mb": "", "email": "ㄹ", "ssn": "ㄴ"}
"""Abbreviations read as words, not letter by letter: units, and words in mask names that end in a consonant."""

_NUMBER = re.compile(r"\d[\d,]*$")
_LATIN = re.compile(r"[A-Za-z]+$")
_SILENT = " .,!?…~\"'()[]“”‘’%"

_PAIRS = {
    "은": ("은", "는"),
    "을": ("을", "를"),
    "과": ("과", "와"),
    "아": ("아", "야"),
    "이": ("이", "가"),
    "이야": ("이야", "야"),
    "이에요": ("이에요", "예요"),
    "이었": ("이었", "였"),
}
_AFTER_CONSONANT = {"는": "은", "가": "이", "를": "을", "와": "과", "로": "으로", "랑": "이랑"}
"""Maps the form of a particle after a vowel to that after a consonant."""
PARTICLE = rf"(?:{'|'.join(sorted({*_AFTER_CONSONANT, *_AFTER_CONSONANT.values()}, key=len, reverse=True))})(?![가-힣])"
"""Pattern of a particle that changes with the final consonant before it.

It ends its word, or else it is the beginning of something longer, such as 이야기.
"""


def final_consonant(text: str) -> int:
    """Return the index (0 to 27) of the final consonant that ``text`` ends with when read aloud; 0 means a vowel.

    Digits are read in Sino-Korean (3 is 삼, 100 is 백), the number in a mask in English (``#Person1#`` is 퍼슨원),
    mask names and Latin words by letter, except for units and names that have a Korean reading of their own.
    """
    if mask := mask_at_end(text):
        name, number = split_mask(mask)
        if number:
            return _CONSONANTS.get(_ENGLISH_DIGITS.get(number[-1], ""), 0)
        last_word = name.lower().rpartition("_")[2]
        return _CONSONANTS.get(_READ_AS_WORDS.get(last_word, ""), 0)
    # A percent sign is read 퍼센트, which ends in a vowel; all other marks are silent.
    if text.rstrip(" ").endswith("%"):
        return 0
    text = text.rstrip(_SILENT)
    if not text:
        return 0
    last = text[-1]
    if "가" <= last <= "힣":
        return (ord(last) - ord("가")) % 28
    if number_match := _NUMBER.search(text):
        digits = number_match.group().replace(",", "")
        zeros = len(digits) - len(digits.rstrip("0"))
        if zeros and zeros < len(digits):
            return _CONSONANTS[_ZEROS.get(zeros, "ㄱ")]
        return _CONSONANTS.get(_DIGITS.get(last, ""), 0)
    if latin := _LATIN.search(text):
        lowered = latin.group().lower()
        return _CONSONANTS.get(_READ_AS_WORDS.get(lowered, _LETTERS.get(lowered[-1], "")), 0)
    return 0


def particle(text: str, form: str) -> str:
    """Return the form that a particle takes after ``text``.

    ``form`` is its form after a consonant: 은, 이, 을, 과, 아, 으로, 이에요, 이야, 이었, or anything else that
    begins with 이 and only loses it after a vowel (이랑, 이라고, 이나, 이죠, and 이는, 이도 of given names) or with 으
    (으로서, 으면).
    """
    final = final_consonant(text)
    if form in _PAIRS:
        return _PAIRS[form][0 if final else 1]
    if form.startswith("으로"):
        return form if final not in (0, _RIEUL) else form[1:]
    if form.startswith(("이", "으")):
        return form if final else form[1:]
    raise ValueError(f"'{form}' is not a particle that changes with the final consonant.")


def agree(text: str, form: str) -> str:
    """Return a particle of `PARTICLE`, given in either form, in the one that it takes after ``text``."""
    return particle(text, _AFTER_CONSONANT.get(form, form))


class Word(str):
    """A string that takes particles in a format string: ``"{name:은}".format(name=Word("사과"))`` is 사과는."""

    __slots__ = ()

    def __format__(self, spec: str) -> str:
        return str(self) + particle(self, spec) if spec else str(self)
