"""Kiwi, the morphological analyser, configured to keep each mask as one token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from yoyak.korean.masks import MASK


def analyse(lines: Sequence[str]) -> Iterator[list[Any]]:
    """Yield Kiwi's tokens (``form``, ``tag``, ``start``, ``len``) of each line of NFC text, each mask a token."""
    return iter(_kiwi().tokenize(lines, pretokenized=_mask_spans) if lines else ())


def join(morphemes: Sequence[tuple[str, str]]) -> str:
    """Return the words that morphemes (form, tag) make: 듣 and 어서 make 들어서."""
    return str(_kiwi().join(morphemes))


def _mask_spans(line: str) -> list[tuple[int, int, str]]:
    """Return the masks as proper nouns, so that Kiwi reads a particle after one as a particle."""
    return [(*match.span(), "NNP") for match in MASK.finditer(line)]


@cache
def _kiwi() -> Any:
    from kiwipiepy import Kiwi

    # The multi-word dictionary normalizes names to Wikidata's spelling, and takes a second to load.
    return Kiwi(load_multi_dict=False)
