"""Kiwi, the morphological analyser, with masks kept whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from yoyak.korean.masks import MASK


def analyse(lines: Sequence[str]) -> Iterator[list[Any]]:
    """Return Kiwi's tokens (``form``, ``tag``, ``start``, ``len``) of each line of NFC text, masks whole."""
    return iter(_kiwi().tokenize(lines, pretokenized=_names) if lines else ())


def _names(line: str) -> list[tuple[int, int, str]]:
    """Return the spans of masks for Kiwi to take as proper nouns, so that a particle after one is a particle."""
    return [(*match.span(), "NNP") for match in MASK.finditer(line)]


@cache
def _kiwi() -> Any:
    from kiwipiepy import Kiwi

    # The dictionary of names of several words rewrites a name into Wikidata's form of it and takes a second to load.
    return Kiwi(load_multi_dict=False)
