"""Which columns of a cache belong to which of the texts that share it.

Each step writes one column for each text of a dialogue. Columns that no text continues any more are removed every
`PERIOD` tokens of the dialogue, however many others are beside it: what a dialogue's columns hold, and in which order,
depends on it alone, and so do sums over them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from yoyak.decoding.onnx.options import NEVER, Floats, Ints

PERIOD = 8
"""Tokens after which unused columns are removed."""
MULTIPLE = 16
"""Widths of caches are multiples of it: no vector of the processor is filled in part, whatever is beside a dialogue."""


class Columns:
    """The columns of some dialogues, with equally many texts each."""

    def __init__(self, dialogues: int, texts: int) -> None:
        self.bias: Floats = np.full((dialogues, 1, texts, 0), NEVER)
        """0 for the columns that belong to a text, else very low [dialogues, 1, texts, columns]."""
        self.lengths: Ints = np.zeros((dialogues, 0), dtype=np.int64)
        """How many tokens come before that of each column [dialogues, columns]."""
        self.written: Ints = np.zeros(dialogues, dtype=np.int64)
        """How many columns of each dialogue are written; these are the first ones."""

    @property
    def capacity(self) -> int:
        """How many columns each dialogue has room for."""
        return int(self.bias.shape[3])

    def add(self, dialogues: int) -> None:
        """Add dialogues after the others, without any columns that are written."""
        self.bias = np.concatenate([self.bias, np.full((dialogues, *self.bias.shape[1:]), NEVER)])
        self.lengths = np.concatenate([self.lengths, np.zeros((dialogues, self.capacity), dtype=np.int64)])
        self.written = np.concatenate([self.written, np.zeros(dialogues, dtype=np.int64)])

    def keep(self, dialogues: Ints) -> None:
        """Keep only these dialogues, in this order."""
        self.bias, self.lengths = self.bias[dialogues], self.lengths[dialogues]
        self.written = self.written[dialogues]

    def follow(self, parents: Ints) -> None:
        """Let each text have the columns of the text of its dialogue that it continues [dialogues, texts]."""
        self.bias = np.take_along_axis(self.bias, parents[:, None, :, None], 2)

    def compact(self, tokens: Ints) -> Iterator[tuple[int, int, Ints]]:
        """Remove the columns that no text has, of the dialogues that are due: ``tokens`` is how many were written.

        Yields a dialogue, its first column that moves, and where it and those after it were: the caches' columns have
        to be moved alike.
        """
        for row in np.flatnonzero(tokens % PERIOD == 0).tolist():
            used = np.flatnonzero((self.bias[row, 0] == 0).any(axis=0))
            if len(used) == self.written[row]:
                continue
            first = int((used == np.arange(len(used))).argmin()) if len(used) else 0
            moved, after = used[first:], slice(first, len(used))
            if len(moved) and moved[0] == first:
                # Only the last ones were unused.
                moved, after = moved[:0], slice(len(used), len(used))
            self.bias[row, :, :, after] = self.bias[row][:, :, moved]
            self.bias[row, :, :, len(used) :] = NEVER
            self.lengths[row, after] = self.lengths[row, moved]
            self.written[row] = len(used)
            if len(moved):
                yield row, first, moved

    def reserve(self) -> bool:
        """Make room for a column of each text, and some more; return whether there was too little."""
        texts = self.bias.shape[2]
        if int(self.written.max(initial=0)) + texts <= self.capacity:
            return False
        self.enlarge(PERIOD * texts)
        return True

    def enlarge(self, count: int) -> None:
        """Make room for ``count`` more columns of each dialogue."""
        size = -(-(int(self.written.max(initial=0)) + count) // MULTIPLE) * MULTIPLE
        added = size - self.capacity
        self.bias = np.concatenate([self.bias, np.full((*self.bias.shape[:3], added), NEVER)], axis=3)
        self.lengths = np.pad(self.lengths, ((0, 0), (0, added)))

    def append(self, lengths: Ints) -> Ints:
        """Give each text a column, and return their indices [dialogues, texts].

        ``lengths`` is how many tokens each dialogue's texts have.
        """
        texts = self.bias.shape[2]
        columns: Ints = self.written[:, None] + np.arange(texts)
        np.put_along_axis(self.bias, columns[:, None, :, None], np.float32(0), 3)
        np.put_along_axis(self.lengths, columns, lengths[:, None], 1)
        # A text that begins has a single column, that of the first text, which all texts then continue.
        self.written = self.written + np.where(lengths == 0, 1, texts)
        return columns

    def distances(self, lengths: Ints) -> Ints:
        """Return how many tokens ago each column was written; 0 for those that are not written yet."""
        return np.maximum(lengths[:, None] - self.lengths, 0)
