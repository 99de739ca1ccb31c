"""The scores of all systems on all dialogues, on disk: 8 bytes each, far too many to hold for a large test set."""

from __future__ import annotations

import os
import tempfile
import weakref

import numpy as np


class ScoreTable:
    """F1 as [system, granularity, protocol, metric, dialogue] in a file without a name; NaN where it was not written.

    It is written for some dialogues at a time, and read for one system or one of its rows.
    """

    def __init__(self, systems: int, granularities: int, protocols: int, metrics: int, dialogues: int) -> None:
        self.shape = (systems, granularities, protocols, metrics)
        self.dialogues = dialogues
        self._file, path = tempfile.mkstemp(prefix="yoyak-scores-")
        os.unlink(path)  # noqa: PTH108
        weakref.finalize(self, os.close, self._file)

    def write(self, start: int, values: np.ndarray) -> None:
        """Write the scores of consecutive dialogues, the first of which is ``start``; shaped as the table is."""
        rows = np.ascontiguousarray(values, float).reshape(-1, values.shape[-1])
        for number, row in enumerate(rows):
            os.pwrite(self._file, row.tobytes(), 8 * (number * self.dialogues + start))

    def read(self, row: int, start: int = 0, end: int | None = None) -> np.ndarray:
        """Return the scores of a row, counted as if the table were [rows, dialogues], for some or all dialogues."""
        end = self.dialogues if end is None else end
        return np.frombuffer(os.pread(self._file, 8 * (end - start), 8 * (row * self.dialogues + start)))

    def row(self, system: int, granularity: int, protocol: int, metric: int) -> int:
        """Return the number of a row."""
        return int(np.ravel_multi_index((system, granularity, protocol, metric), self.shape))
