"""Choosing the examples of a few-shot prompt from a pool of training dialogues."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from yoyak.data.keys import dialogue_key
from yoyak.files import read_json_lines
from yoyak.models.prompts import Example
from yoyak.params.endpoint import FewShot

NGRAMS = (2, 4)
"""Lengths of the character n-grams: of morphemes, whatever the language, without an analyser."""


class ExamplePool:
    """Training dialogues with their summaries, to choose from."""

    def __init__(self, rows: Sequence[Example], settings: FewShot, seed: int) -> None:
        self.rows, self.settings, self.seed = rows, settings, seed
        self._keys = [dialogue_key(row.dialogue) for row in rows]

    @classmethod
    def read(cls, path: Path, settings: FewShot, seed: int) -> ExamplePool:
        """Read the pool that was saved with a member."""
        return cls([Example(**row) for row in read_json_lines(path)], settings, seed)

    def choose(self, dialogues: Sequence[str]) -> list[list[Example]]:
        """Return the examples for each dialogue, the most similar one last, next to the dialogue.

        A dialogue is never an example for itself, nor for one that differs only in letter case and whitespace.
        """
        orders: list[list[int]] = [self._at_random(dialogue) for dialogue in dialogues]
        if self.settings.choice == "similar":
            orders = self._by_similarity(dialogues)
        chosen = []
        for dialogue, order in zip(dialogues, orders, strict=True):
            key = dialogue_key(dialogue)
            others = [index for index in order if self._keys[index] != key]
            chosen.append([self.rows[index] for index in reversed(others[: self.settings.examples])])
        return chosen

    @cached_property
    def _index(self) -> tuple[Any, Any]:
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=NGRAMS, sublinear_tf=True, dtype=np.float32)
        return vectorizer, vectorizer.fit_transform([row.dialogue for row in self.rows])

    def _by_similarity(self, dialogues: Sequence[str]) -> list[list[int]]:
        if not dialogues:
            return []
        vectorizer, matrix = self._index
        # Rounded, so that machines whose arithmetic differs in the last bit ask the same.
        similarity = (vectorizer.transform(dialogues) @ matrix.T).toarray().round(5)
        orders: list[list[int]] = np.argsort(-similarity, axis=1, kind="stable").tolist()
        return orders

    def _at_random(self, dialogue: str) -> list[int]:
        digest = hashlib.sha256(f"{self.seed} {dialogue}".encode()).digest()
        return Random(digest).sample(range(len(self.rows)), len(self.rows))
