"""Tokenizers for ROUGE at four granularities, with rouge_score's Tokenizer interface.

- ``eojeol``: words between spaces, without punctuation at their edges.
- ``morpheme``: Kiwi's morphemes in their dictionary form, as in the Korean competitions on this data.
- ``syllable``: individual letters (a Hangul syllable is one), with runs of ASCII letters or of digits as one token.
- ``english``: rouge_score's default tokenizer with its stemmer, token for token.

Masks such as ``#Person1#`` are one token at every Korean granularity, and what follows them (``은`` in
``#Person1#은``) is analysed as after a name; without this, Kiwi would read ``#은`` as a hashtag. Korean text is first
normalized to Unicode NFC; English is not, as in rouge_score.

Tokens without a letter or digit are dropped at all granularities. ROUGE has always ignored punctuation (ROUGE-1.5.5,
rouge_score), so this keeps scores comparable between languages; and the full stop at the end of every summary would be
a trivial match. Scores are therefore slightly lower than those of scripts that count punctuation.

Lines are tokenized separately, so the tokens of turns joined by line breaks are the tokens of the turns.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache

from tqdm import tqdm

from yoyak.errors import UserError, nearest
from yoyak.korean.kiwi import analyse
from yoyak.korean.masks import MASK

CACHE_LINES = 50_000
"""Lines whose tokens are kept, some 30 MB: those of a few thousand dialogues, which are scored again and again."""

_COUNTED = re.compile(rf"{MASK.pattern}|[^\W_]")
_SYLLABLE = re.compile(rf"{MASK.pattern}|[A-Za-z]+|[0-9]+|[^\W_]")


class LineTokenizer:
    """A rouge_score tokenizer that analyses lines in batches and caches them.

    Evaluation tokenizes the same references repeatedly, so each line is analysed only once, until the cache reaches
    ``cache_lines`` and is cleared. Callers must not modify the returned lists.
    """

    def __init__(
        self, name: str, split: Callable[[Sequence[str]], Iterable[list[str]]], cache_lines: int = CACHE_LINES
    ) -> None:
        """Wrap ``split``, which returns the tokens of each line, in order."""
        self.name = name
        self.cache_lines = cache_lines
        self._split = split
        self._lines: dict[str, list[str]] = {}

    def tokenize(self, text: str) -> list[str]:
        """Return the tokens of one text."""
        return self.tokenize_all([text])[0]

    def tokenize_all(self, texts: Sequence[str]) -> list[list[str]]:
        """Return the tokens of each text; new lines are analysed in one batch."""
        parts = [text.split("\n") for text in texts]
        needed = dict.fromkeys(line for lines in parts for line in lines)
        new = [line for line in needed if line not in self._lines]
        if len(self._lines) + len(new) > self.cache_lines:
            self._lines.clear()
            new = list(needed)
        if new:
            self._analyse(new)
        return [self._lines[lines[0]] if len(lines) == 1 else self._join(lines) for lines in parts]

    def _analyse(self, new: list[str]) -> None:
        split = tqdm(self._split(new), f"{self.name} tokens", len(new), unit="line", delay=3, leave=False)
        for line, tokens in zip(new, split, strict=True):
            self._lines[line] = [sys.intern(token) for token in tokens]

    def _join(self, lines: list[str]) -> list[str]:
        return [token for line in lines for token in self._lines[line]]


def tokenizer(granularity: str, cache_lines: int = CACHE_LINES) -> LineTokenizer:
    """Return the tokenizer of a granularity, the same object each time. Raises UserError for an unknown one."""
    if granularity not in _SPLITS:
        raise UserError(f"There is no granularity '{granularity}'{nearest(granularity, _SPLITS)}.")
    return _tokenizer(granularity, cache_lines)


@cache
def _tokenizer(granularity: str, cache_lines: int) -> LineTokenizer:
    return LineTokenizer(granularity, _SPLITS[granularity], cache_lines)


def _strip_punctuation(token: str) -> str:
    """Return ``token`` from its first to its last letter, digit or mask; empty if it has none."""
    if token.isalnum():
        return token
    counted = list(_COUNTED.finditer(token))
    return token[counted[0].start() : counted[-1].end()] if counted else ""


def _split_eojeols(lines: Sequence[str]) -> Iterator[list[str]]:
    for line in lines:
        words = unicodedata.normalize("NFC", line).split()
        yield [token for word in words if (token := _strip_punctuation(word))]


def _split_syllables(lines: Sequence[str]) -> Iterator[list[str]]:
    for line in lines:
        yield _SYLLABLE.findall(unicodedata.normalize("NFC", line))


def _split_morphemes(lines: Sequence[str]) -> Iterator[list[str]]:
    for tokens in analyse([unicodedata.normalize("NFC", line) for line in lines]):
        yield [form for token in tokens if (form := _strip_punctuation(token.form))]


class _Stemmer:
    """rouge_score's Porter stemmer with a cache: stemming dominates the time to score English."""

    def __init__(self) -> None:
        # Imported here because it imports nltk and SciPy, which takes more than a second.
        from rouge_score import tokenizers

        self.stem = cache(tokenizers.DefaultTokenizer(use_stemmer=True)._stemmer.stem)


def _split_english(lines: Sequence[str]) -> Iterator[list[str]]:
    from rouge_score import tokenize as rouge_tokenize

    stemmer = _stemmer()
    for line in lines:
        yield rouge_tokenize.tokenize(line, stemmer)


@cache
def _stemmer() -> _Stemmer:
    return _Stemmer()


_SPLITS: dict[str, Callable[[Sequence[str]], Iterable[list[str]]]] = {
    "eojeol": _split_eojeols,
    "morpheme": _split_morphemes,
    "syllable": _split_syllables,
    "english": _split_english,
}
