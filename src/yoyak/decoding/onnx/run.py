"""Dialogues that are summarized together although they did not start together: others join between any two steps.

    run = Run(summarizer, settings, room=32)
    run.add([run.read("#Person1#: …")])
    while len(run):
        for reading, finished in run.step():
            ...

It writes the same tokens as `OnnxSummarizer.summarize`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from yoyak.decoding.candidates import WHOLE
from yoyak.decoding.onnx.decoder import run_encoder
from yoyak.decoding.onnx.joining import JoiningDecoder
from yoyak.decoding.onnx.options import Ints
from yoyak.decoding.onnx.states import SearchState, Written
from yoyak.models.steps import finish_summary
from yoyak.models.text import decode

if TYPE_CHECKING:
    import onnxruntime as ort

    from yoyak.decoding.onnx.options import Search
    from yoyak.models.spec import ModelSpec
    from yoyak.models.text import Encoded
    from yoyak.params import Generation


class Model(Protocol):
    """What a run needs of an `OnnxSummarizer`."""

    encoder: ort.InferenceSession | None
    decoder: ort.InferenceSession
    spec: ModelSpec
    manifest: Any
    tokenizer: Any

    def encode(self, dialogues: Sequence[str]) -> Encoded:
        """Return dialogues in tokens."""

    def check_window(self, inputs: Sequence[list[int]], new_tokens: int) -> None:
        """Raise UserError if it has no positions for so many tokens."""

    def pad(self, inputs: Sequence[list[int]]) -> tuple[Ints, Ints]:
        """Return ids and attention mask, padded to the longest row."""

    def search(self, settings: Generation) -> Search:
        """Return the options of a search."""


@dataclass(frozen=True, eq=False, slots=True)
class Reading:
    """A dialogue in tokens; each is only equal to itself."""

    dialogue: str
    ids: list[int]
    cut: bool
    """Whether a part was left out, because it does not fit into the model's window."""


@dataclass(frozen=True, slots=True)
class Finished:
    """What became of a dialogue."""

    summary: str
    cut: bool
    read: str
    """How it was read, as in `Summaries.read`."""


class Run:
    """The dialogues that a model summarizes at the moment, with the same settings."""

    def __init__(self, summarizer: Model, settings: Generation, *, room: int) -> None:
        """Have no dialogues yet; ``room`` is how many may be there at once. The model `is_joinable`.

        Raises UserError if the model has no positions for that many tokens.
        """
        self.summarizer, self.settings, self.room = summarizer, settings, room
        self.state = SearchState(summarizer.search(settings), start=1)
        self.readings: list[Reading] = []
        self.tokens = np.zeros((0, self.state.texts), dtype=np.int64)
        """The last token of each text, which the decoder has not read yet."""
        self.parents = np.zeros((0, self.state.texts), dtype=np.int64)
        """Which text of its dialogue each continues."""
        self.decoder = self._make_decoder()

    def __len__(self) -> int:
        return len(self.readings)

    def read(self, dialogue: str) -> Reading:
        """Return a dialogue in tokens. Raises UserError if the model has no positions for all tokens."""
        encoded = self.summarizer.encode([dialogue])
        self.summarizer.check_window(encoded.input_ids, self.settings.max_new_tokens)
        return Reading(dialogue, encoded.input_ids[0], encoded.cut[0])

    def add(self, readings: Sequence[Reading]) -> None:
        """Let dialogues join: this runs the encoder. If it fails, none has joined."""
        summarizer, texts = self.summarizer, self.state.texts
        assert summarizer.encoder is not None
        # The encoder takes dialogues of similar length at once.
        readings = sorted(readings, key=lambda reading: -len(reading.ids))
        ids, mask = summarizer.pad([reading.ids for reading in readings])
        cross = run_encoder(summarizer.encoder, ids, mask)
        prompt = np.full((len(ids), 1), summarizer.manifest.decoder_start_token_id, dtype=np.int64)
        self.decoder.add(cross, mask)
        self.state.add(prompt)
        self.tokens = np.concatenate([self.tokens, np.repeat(prompt, texts, axis=1)])
        self.parents = np.concatenate([self.parents, np.broadcast_to(np.arange(texts), (len(ids), texts))])
        self.readings += readings

    def step(self) -> list[tuple[Reading, Finished]]:
        """Append a token to each text, and return the dialogues that are finished, which have left."""
        count, texts = self.tokens.shape
        tokens, parents = self.state.step(self.decoder.step(self.tokens, self.parents))
        self.tokens = tokens.reshape(count, texts)
        if parents is not None:
            self.parents = parents
        done = self.state.done
        found = [(self.readings[row], self._finish(row)) for row in np.flatnonzero(done).tolist()]
        if found:
            self._remove(done)
        return found

    def drop(self, readings: Collection[Reading]) -> None:
        """Let dialogues leave that nobody waits for."""
        leaving = set(readings)
        gone = np.array([reading in leaving for reading in self.readings], dtype=bool)
        if gone.any():
            self._remove(gone)

    def _finish(self, row: int) -> Finished:
        written: list[Written] = self.state.written(row)
        reading, spec = self.readings[row], self.summarizer.spec
        [text] = decode(self.summarizer.tokenizer, [written[0].tokens])
        summary = finish_summary(text, reading.dialogue, spec.preprocessing, self.settings.postprocessing)
        return Finished(summary, reading.cut, spec.truncate if reading.cut else WHOLE)

    def _remove(self, gone: np.ndarray) -> None:
        remaining = _fill_gaps(gone)
        self.readings = [self.readings[row] for row in remaining]
        self.tokens, self.parents = self.tokens[remaining], self.parents[remaining]
        self.state.keep(remaining)
        if self.readings:
            self.decoder.keep(remaining)
        else:
            # Its caches are as large as the largest that were there.
            self.decoder = self._make_decoder()

    def _make_decoder(self) -> JoiningDecoder:
        return JoiningDecoder(self.summarizer.decoder, texts=self.state.texts, room=self.room)


def _fill_gaps(gone: np.ndarray) -> Ints:
    """Return the rows that stay, where the last ones take the places of those that leave: the fewest moves."""
    staying = np.flatnonzero(~gone)
    rows = np.arange(len(staying))
    rows[gone[: len(rows)]] = staying[staying >= len(rows)]
    return rows
