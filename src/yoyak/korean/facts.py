"""What a text states that can be compared: masks, numbers and names, and which of them a summary makes up.

A summary is held to what it surely says, and the dialogue counts with all that it may say: where it is unclear whether
something is a number or a name, the summary is not blamed. docs/behaviour.md has how often references are.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from yoyak.korean.kiwi import analyse
from yoyak.korean.masks import MASK, find_masks, find_stray_hashes
from yoyak.korean.numbers import Number, english_numbers, korean_numbers

Kind = Literal["masks", "numbers", "names"]
KINDS: tuple[Kind, ...] = ("masks", "numbers", "names")

_HANGUL = re.compile("[가-힣]")
_NUMERALS = r"\d일이삼사오육칠팔구십백천만억열스서마쉰예흔"
_LATIN_NAME = re.compile(r"[A-Z][A-Za-z]+")
_SENTENCE = re.compile(r"(?<=[.!?])[\"'”’)]*\s+|\n+")
_ENGLISH_WORD = re.compile(r"[A-Za-z][A-Za-z'’.]*")
_NO_NAMES = {
    "i", "mr", "mrs", "ms", "dr", "ok", "tv", "am", "pm", "a.m", "p.m", "monday", "tuesday", "wednesday", "thursday",
    "friday", "saturday", "sunday", "january", "february", "march", "april", "may", "june", "july", "august",
    "september", "october", "november", "december",
}  # fmt: skip
"""Capitalized English words that are not names, and days and months, which are numbers here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The masks, numbers and names of a text."""

    masks: frozenset[str]
    """Also broken ones, such as ``#Person1``."""
    numbers: tuple[Number, ...]
    names: frozenset[str]

    @property
    def content(self) -> tuple[frozenset[str], frozenset[tuple[float, str]], frozenset[str]]:
        """What has to be equal for two summaries to state the same; unsure numbers do not count."""
        numbers = frozenset((number.value, number.unit) for number in self.numbers if number.sure)
        return self.masks, numbers, frozenset(map(_squeeze, self.names))


def find_facts(texts: Sequence[str], names: Sequence[str] = ()) -> list[Facts]:
    """Return the facts of each text: Korean where there is Hangul, else English.

    ``names`` is a vocabulary: each is a name wherever it occurs.
    """
    texts = [unicodedata.normalize("NFC", text) for text in texts]
    # Several systems often write the same.
    distinct = list(dict.fromkeys(texts))
    analysed = analyse([text for text in distinct if _HANGUL.search(text)])
    facts = {
        text: _facts(text, next(analysed) if _HANGUL.search(text) else None, [name for name in names if name in text])
        for text in distinct
    }
    return [facts[text] for text in texts]


def find_made_up(
    summaries: Sequence[str], dialogues: Sequence[str], names: Sequence[str] = (), stated: Sequence[Facts] | None = None
) -> list[dict[Kind, list[str]]]:
    """Return what each summary has and its dialogue has not, by kind and as it is written.

    ``stated`` are the summaries' facts, for a caller that has found them before.
    """
    dialogues = [unicodedata.normalize("NFC", dialogue) for dialogue in dialogues]
    facts = find_facts(summaries, names) if stated is None else stated
    # Analysing a dialogue takes long, and most numbers of a summary are in it letter by letter.
    open_numbers = [
        [number for number in own.numbers if number.sure and not _is_quoted(number.text, dialogue)]
        for own, dialogue in zip(facts, dialogues, strict=True)
    ]
    unclear = [dialogue for dialogue, numbers in zip(dialogues, open_numbers, strict=True) if numbers]
    known = dict(zip(unclear, find_facts(unclear), strict=True))
    found: list[dict[Kind, list[str]]] = []
    for own, dialogue, numbers in zip(facts, dialogues, open_numbers, strict=True):
        missing = [n.text for n in numbers if not any(n.matches(other) for other in known[dialogue].numbers)]
        squeezed = _squeeze(dialogue)
        found.append({
            "masks": sorted(own.masks - {*find_masks(dialogue), *find_stray_hashes(dialogue)}),
            "numbers": list(dict.fromkeys(missing)),
            "names": sorted(name for name in own.names if not _occurs(name, squeezed)),
        })  # fmt: skip
    return found


def _is_quoted(number: str, dialogue: str) -> bool:
    """Return whether a dialogue has a number as it is written, and certainly not as a part of a larger one."""
    spaced = r"\s?".join(map(re.escape, "".join(number.split())))
    before = rf"(?<![{_NUMERALS}.,:])(?<![{_NUMERALS}]\s)"
    return re.search(rf"{before}{spaced}(?!\s?[{_NUMERALS}]|[.:]\d)", dialogue) is not None


def _facts(text: str, tokens: Sequence[Any] | None, vocabulary: Sequence[str]) -> Facts:
    if tokens is None:
        unmasked = MASK.sub(" ", text)
        numbers, names = english_numbers(unmasked), _english_names(text)
    else:
        spans = {match.start() for match in MASK.finditer(text)}
        tokens = [token for token in tokens if token.start not in spans]
        numbers, names = korean_numbers(MASK.sub(lambda mask: " " * len(mask.group()), text), tokens), _names(tokens)
    masks = frozenset([*find_masks(text), *find_stray_hashes(text)])
    return Facts(masks=masks, numbers=tuple(numbers), names=frozenset([*names, *vocabulary]))


def _names(tokens: Sequence[Any]) -> list[str]:
    """Return what Kiwi takes for proper nouns, of two syllables or more, and capitalized Latin words."""
    return [
        token.form
        for token in tokens
        if (token.tag == "NNP" and len(token.form) > 1)
        or (token.tag == "SL" and _LATIN_NAME.fullmatch(token.form) and token.form.lower() not in _NO_NAMES)
    ]


def _english_names(text: str) -> list[str]:
    """Return the capitalized words, except the first of each sentence, where a capital says nothing."""
    names = []
    for sentence in _SENTENCE.split(text):
        label, colon, rest = sentence.partition(":")
        # The label of a turn is a name, and the word after it begins a sentence.
        words = _ENGLISH_WORD.findall(MASK.sub("x", rest if colon and " " not in label.strip() else sentence))
        words = [re.sub(r"['’]\w*$", "", word).rstrip(".'’") for word in words]
        names += [word for word in words[1:] if word[:1].isupper() and word.lower() not in _NO_NAMES]
    return [name for name in names if len(name) > 1]


def _occurs(name: str, known: str) -> bool:
    """Return whether a text has a name; Kiwi may keep the 이 that given names take (유진이)."""
    squeezed = _squeeze(name)
    return squeezed in known or (len(squeezed) > 2 and squeezed.endswith("이") and squeezed[:-1] in known)


def _squeeze(text: str) -> str:
    return "".join(text.split()).casefold()
